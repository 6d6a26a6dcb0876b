"""Files as bytes: found or refused in one sentence, and cut into chunks without losing a line."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
from pathlib import Path

import pytest
import zstandard

from humanllm_assets.sources import files
from humanllm_assets.sources.files import (
    SourceError,
    check_packing,
    chunks,
    count_record_lines,
    find_files,
    find_hidden,
    lines,
    record_lines,
)


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


def test_hidden_files_are_left_out_and_listed_unless_they_are_named(tmp_path: Path) -> None:
    for name in ("a.xml", "._a.xml", ".cache/b.xml", "sub/c.xml", "sub/._c.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert find_files(tmp_path, ["**/*.xml"]) == [tmp_path / "a.xml", tmp_path / "sub/c.xml"]
    assert find_hidden(tmp_path, ["**/*.xml"]) == [tmp_path / "._a.xml", tmp_path / ".cache/b.xml", tmp_path / "sub/._c.xml"]
    assert find_files(tmp_path, ["._a.xml"]) == [tmp_path / "._a.xml"] and not find_hidden(tmp_path, ["._a.xml"])
    with pytest.raises(SourceError, match=r"no file in .* matches `\.cache2/\*`|no file"):
        find_files(tmp_path, [".cache2/*"])
    (tmp_path / "a.xml").unlink()
    with pytest.raises(SourceError, match=r"no file in .* matches `\*\.xml` but hidden ones such as \._a\.xml"):
        find_files(tmp_path, ["*.xml"])


def test_a_name_with_signs_of_a_pattern_is_that_file(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).write_text("x")
    assert find_files(tmp_path, ["a[1].csv"]) == [tmp_path / "a[1].csv"]
    assert find_files(tmp_path, ["a[0-9].csv"]) == [tmp_path / "a1.csv"]


def test_an_absolute_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(SourceError, match="is an absolute name, but files are named below .*; name it relative to that folder"):
        find_files(tmp_path, [str(tmp_path / "a.csv")])


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ndjson")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    for ask in (lambda: find_files(tmp_path, ["*.ndjson"]), lambda: check_packing(tmp_path / "pipe.ndjson")):
        with pytest.raises(SourceError, match=r"pipe\.ndjson is no regular file but a folder, pipe or device"):
            ask()
    with pytest.raises(SourceError, match=r"gone\.csv does not exist"):
        find_files(tmp_path, ["*.csv"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(SourceError, match=r"a\.csv may not be read by this user; change its permissions"):
        find_files(tmp_path, ["*.csv"])


LINES = b'{"id": 1}\n' * 60
TAR = b"a" * 257 + b"ustar" + b"a" * 300


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zst_blocks", b"anything", "packed with zst_blocks, which is not read here; unpack it"),
        ("a.ndjson.lz4", b"\x04\x22\x4d\x18", "packed with lz4, which is not read here; unpack it with `lz4 -d`"),
        ("a.ndjson", b"\x04\x22\x4d\x18 and more", "packed with lz4"),
        ("a.zip", b"PK\x03\x04", "packed with zip"),
        ("a.tar", TAR, "packed with tar"),
        ("a.tar.gz", gzip.compress(TAR), "holds a tar file"),
        ("a.gz", gzip.compress(gzip.compress(LINES)), "holds a gzip file; unpack it once"),
        ("a.ndjson", gzip.compress(LINES), r"is a gzip file, but its name does not end in \.gz; give it its right name"),
        ("a.gz", zstandard.ZstdCompressor().compress(LINES), "is a zstd file, but its name says gzip"),
        ("a.zst", LINES, "is not a zstd file as its name says"),
        ("a.bz2", LINES, "is not a bzip2 file as its name says"),
        ("a.parquet", LINES, "is not a Parquet file as its name says"),
        ("a.ndjson", b"PAR1 and so on", "is a Parquet file, but"),
        ("a.ndjson", LINES.decode().encode("utf-16"), "is UTF-16; store it in UTF-8"),
        ("a.ndjson", LINES.decode().encode("utf-16-le"), "is UTF-16"),
        ("a.ndjson.gz", gzip.compress(LINES.decode().encode("utf-16-be")), "is UTF-16"),
        ("a.xz", lzma.compress(LINES)[:-9], "is not a complete xz file .*; download it again"),
        ("a.bz2", bz2.compress(LINES)[:-9], "is not a complete bzip2 file .*; download it again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # packed bytes hold the time
)
def test_another_packing_is_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        check_packing(tmp_path / name)
        list(lines(tmp_path / name))
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_lines_are_counted_as_they_are_cut(tmp_path: Path) -> None:
    rng = random.Random(5)
    for n in range(300):
        pieces = rng.choices(
            [b"\n", b"\n", b" ", b"\r\n", b"\t", b"\x0b", b"x", b"\x1c", b"\xc2\xa0", b"a" * 40], k=rng.randint(0, 40)
        )
        data = (b"\xef\xbb\xbf" if n % 5 == 0 else b"") + b"".join(pieces)
        (tmp_path / "a").write_bytes(data)
        assert count_record_lines(tmp_path / "a") == len(list(record_lines(tmp_path / "a"))), data


def test_a_long_line_is_handed_over_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(files, "LONG_LINE_BYTES", 1000)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 3000)
    wanted = [b"a" * n for n in (5, 990, 1200, 0, 2999, 3001, 9000, 3)]
    (tmp_path / "a").write_bytes(b"\n".join(wanted))
    assert list(lines(tmp_path / "a")) == [line[:3000] for line in wanted]
    found = [
        (chunk.first_line, chunk.lines, chunk.long and chunk.long.size)
        for chunk in chunks(tmp_path / "a", tmp_path / "b", 10_000)
    ]
    assert found == [(1, 2, None), (3, 1, 1200), (4, 1, None), (5, 1, 2999), (6, 1, 3001), (7, 1, 9000), (8, 1, None)]
