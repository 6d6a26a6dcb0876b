"""Whatever a file holds ends in rows, in quarantined rows, or in one sentence: seeded damages of every kind to files of every format.

`HUMANLLM_FILE_DAMAGES=2000` tries so many files of each format.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.layouts import count_rows, detect_layout, load_files
from humanllm_assets.sources.readers import ReadReport, read_parts
from humanllm_assets_tests.sources import rows

FILES_OF_A_FORMAT = int(os.environ.get("HUMANLLM_FILE_DAMAGES", "100"))
Damage = Callable[[random.Random, bytes], bytes]


# ---- undamaged files -------------------------------------------------------------------------------------------------


def json_lines() -> bytes:
    lines = [
        json.dumps(rows.submission(id=f"a{i}", selftext=f"a day {i} &amp; a night " * 5, score=i)).encode() for i in range(30)
    ]
    lines[3:3] = [b"", b"  \t", json.dumps(rows.submission(id="s", title="\ud83d")).encode(), b'{"id": "half']
    return b"\n".join(lines) + b"\n"


def parquet(given: list[dict[str, object]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(given), out, row_group_size=10)
    return out.getvalue()


def blog_csv() -> bytes:
    posts = [f'{100 + i},male,30,Arts,Leo,"{1 + i},May,2004","  I said ""hi"", and\nleft {i}  "' for i in range(25)]
    return "\n".join(["id,gender,age,topic,sign,date,text", *posts, ""]).encode()


def blog_xml() -> bytes:
    posts = "".join(f"<date>{1 + i},May,2004</date>\r\n<post>\r\n a caf\xe9 & more {i}\r\n</post>\r\n" for i in range(25))
    return f"<Blog>\r\n{posts}</Blog>".encode("cp1252")


# ---- damages ---------------------------------------------------------------------------------------------------------


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 30))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut_off(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def take_out(rng: random.Random, data: bytes) -> bytes:
    begin = rng.randrange(len(data))
    return data[:begin] + data[begin + rng.randrange(1, 200) :]


def splice(rng: random.Random, data: bytes) -> bytes:
    begin, at = rng.randrange(len(data)), rng.randrange(len(data))
    return data[:at] + data[begin : begin + rng.randrange(1, 400)] + data[at:]


def put_in_noise(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 50)) + data[at:]


def repeat_all(rng: random.Random, data: bytes) -> bytes:
    return data * 2


def add_rubbish(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"\x00" * 100, b"rubbish", rng.randbytes(100)))


ON_BYTES: tuple[Damage, ...] = (flip_bits, cut_off, take_out, splice, put_in_noise, repeat_all, add_rubbish)

VALUES = (
    "null", "true", "NaN", "-Infinity", "inf", "1e400", "9" * 5000, "-1", "1.5", '""', '"\\ud83d"', '"\\u0000"', "[1, [2]]", '{"a": {}}',
    "[" * 60_000 + "]" * 60_000, '"&#' + "1" * 5000 + ';"', '"2020-01-01T00:00:00Z"', '"infinity"', '"' + "x" * 300_000 + '"', "'x'", "",
    '"1600000000"', "99999999999999999999", "0x10",
)  # fmt: skip
PIECES = (
    b"\n", b"\r", b"\r\n\r\n", b" ", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\xed\xa0\x80", b'"', b",", b"}{", b"[", b"\\", b"&#1;",
    b"\x0b", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8", b"<date>", b"</post>", b"<post>", b"</blog>", b'""', b"\n,\n",
)  # fmt: skip


def swap_value(rng: random.Random, data: bytes) -> bytes:
    """Another value, or a second one, for one field of a line of JSON."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    key = rng.choice(list(rows.submission()))
    value = rng.choice(VALUES)
    try:
        row = {name: json.dumps(old) for name, old in json.loads(lines[at]).items()}
    except ValueError:
        return data
    fields = [f'"{name}": {value if name == key else old}' for name, old in row.items()]
    if rng.random() < 0.3:
        fields.insert(rng.randrange(len(fields)), f'"{key}": {row.get(key, "1")}')
    lines[at] = ("{" + ", ".join(fields) + "}").encode()
    return b"\n".join(lines)


def put_in_piece(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(PIECES) * rng.choice((1, 1, 2)) + data[at:]


def join_lines(rng: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", rng.choice((b" ", b"", b"\r", b",\n")), rng.choice((1, 2, -1)))


ON_TEXT: tuple[Damage, ...] = (swap_value, swap_value, swap_value, put_in_piece, put_in_piece, join_lines)


# ---- formats ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """Files of one kind: the text is damaged, then packed, then the packed bytes may be damaged."""

    source: str
    name: str
    make: Callable[[], bytes]
    pack: Callable[[bytes], bytes] = bytes
    on_text: tuple[Damage, ...] = ON_TEXT


def pack_zstd(data: bytes) -> bytes:
    half = len(data) // 2
    packer = zstandard.ZstdCompressor(write_checksum=True)
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"  # a frame without content
    return skipped + packer.compress(data[:half]) + packer.compress(data[half:])


def pack_gzip(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


def posts_with_types() -> bytes:
    given = [rows.submission(id=f"a{i}", selftext=b"a text \xe9" if i == 5 else b"a text", score=float(i)) for i in range(40)]
    return parquet(given)


FORMATS = {
    "ndjson": Format("reddit", "a.ndjson", json_lines),
    "gz": Format("reddit", "a.ndjson.gz", json_lines, pack_gzip),
    "zst": Format("reddit", "a.zst", json_lines, pack_zstd),
    "bz2": Format("reddit", "a.bz2", json_lines, bz2.compress),
    "xz": Format("reddit", "a.xz", json_lines, lzma.compress),
    "parquet": Format("reddit", "a.parquet", posts_with_types, on_text=()),
    "tweets": Format("twitter", "a.parquet", lambda: parquet([rows.tweet(id=i) for i in range(40)]), on_text=()),
    "csv": Format("blogger", "b.csv", blog_csv, on_text=(put_in_piece, join_lines)),
    "xml": Format("blogger", "7.male.26.indUnk.Virgo.xml", blog_xml, on_text=(put_in_piece,)),
}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def account_for(con: duckdb.DuckDBPyConnection, source: str, path: Path) -> tuple[int, int] | SourceError:
    """Rows read and rows quarantined, or why the file was refused."""
    report = ReadReport()
    usable = 0
    try:
        counted = count_rows(path, detect_layout(load_files(source).records, path))
        for _ in read_parts(con, source, "s", [path], path.parent / "work", report):
            con.execute("CREATE OR REPLACE TEMP TABLE part AS SELECT * FROM raw_part")
            usable += con.execute("SELECT count(*) FROM part").fetchall()[0][0]
    except SourceError as e:
        assert str(path) in str(e) and "\n" not in str(e)
        return e
    quarantined = con.execute("SELECT count(*) FROM quarantine WHERE line >= 1 AND reason <> ''").fetchall()[0][0]
    assert report.rows_by_file[path] == report.rows_read == usable + quarantined == counted
    return usable, quarantined


@pytest.mark.timeout(120 + FILES_OF_A_FORMAT)
@pytest.mark.parametrize("name", FORMATS)
def test_every_row_of_a_damaged_file_is_accounted_for(name: str, tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    kind, whole = FORMATS[name], FORMATS[name].make()
    path = tmp_path / kind.name
    outcomes = {"read": 0, "in part": 0, "refused": 0}
    for seed in range(FILES_OF_A_FORMAT):
        rng = random.Random(seed)
        text, damages = whole, []
        if kind.on_text and rng.random() < 0.6:
            damages = rng.choices(kind.on_text, k=rng.randint(1, 3))
        for damage in damages:
            text = damage(rng, text)
        packed = kind.pack(text)
        if not damages or rng.random() < 0.1:
            damage = rng.choice(ON_BYTES)
            packed = damage(rng, packed)
            damages.append(damage)
        path.write_bytes(packed)
        try:
            found = account_for(con, kind.source, path)
        except Exception as e:
            raise AssertionError(f"seed {seed} of {name}: {', '.join(damage.__name__ for damage in damages)}") from e
        outcomes["refused" if isinstance(found, SourceError) else "in part" if found[1] else "read"] += 1
    assert outcomes["refused"] < FILES_OF_A_FORMAT and sum(outcomes.values()) == FILES_OF_A_FORMAT, outcomes


def test_an_undamaged_file_of_every_format_is_read(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    for kind in FORMATS.values():
        path = tmp_path / kind.name
        path.write_bytes(kind.pack(kind.make()))
        found = account_for(con, kind.source, path)
        assert not isinstance(found, SourceError) and found[0] > found[1], kind.name
