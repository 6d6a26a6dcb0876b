"""Files as bytes: found or refused in one sentence, and cut into chunks without losing a line."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import zstandard

from humanllm_assets.sources.files import SourceError, chunks, find_files, lines


def pack(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data[: len(data) // 2]) + zstandard.ZstdCompressor().compress(
            data[len(data) // 2 :]
        )
    path.write_bytes(data)
    return path


def test_files_come_sorted_and_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("x")
    assert [p.name for p in find_files(tmp_path, ["*.csv", "b.*", "c.txt"])] == ["a.csv", "b.csv", "c.txt"]


def test_a_missing_folder_and_a_pattern_without_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source folder .* does not exist; put the files there or correct `folder`"):
        find_files(tmp_path / "nowhere", ["*"])
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(SourceError, match=r"no file in .* matches `\*\.zst`"):
        find_files(tmp_path, ["*.csv", "*.zst"])


@pytest.mark.parametrize("suffix", ["ndjson", "ndjson.gz", "zst"])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_chunks_hold_every_line_once(tmp_path: Path, suffix: str, ending: bytes) -> None:
    wanted = [b'{"id": "%d", "text": "%s"}' % (i, b"x" * (i % 700)) for i in range(9000)]
    path = pack(tmp_path / f"a.{suffix}", b"\xef\xbb\xbf" + b"\n".join(wanted) + ending)
    found: list[bytes] = []
    count = 0
    for chunk in chunks(path, tmp_path / "chunk", 1 << 20):
        assert chunk.first_line == len(found) + 1
        got = chunk.path.read_bytes().split(b"\n")[:-1]
        assert len(got) == chunk.lines
        found += got
        count += 1
    assert found == wanted == list(lines(path))
    assert count > 1
    assert not (tmp_path / "chunk").exists()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_off_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"a.ndjson{suffix}", hashlib.sha256(b"noise").digest() * 5000)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SourceError, match="download it again"):
        list(lines(path))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(b"plain text")
    with pytest.raises(SourceError, match="download it again"):
        list(lines(path))
