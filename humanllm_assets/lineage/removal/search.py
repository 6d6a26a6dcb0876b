"""Searching bytes: whether anything of a forgotten user is left in a file, whatever the file says about itself.

A takedown trusts no index, no column and no name: before it says that it is done, every file of the data home is read, Parquet,
SQLite, DuckDB and compressed files also as what they hold, and what is looked for is looked for in every spelling that JSON, HTML,
URLs and Python give it.

What belongs here: what is looked for, and finding it. What does not: deleting it (`takedown.py`), taking ids out of text (`scrub.py`).
"""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import duckdb

from humanllm_assets.sql import parquet

PASSAGE_CHARS = 28  # at least; shorter ones say nothing about who wrote them
_CHUNK = 2**22  # bytes read at once
_KEY = 8  # bytes by whose hash a place is a candidate
_TABLE_BITS = 20
_MIX = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: spreads keys over the table
_SAY_EVERY_S = 2.0
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") | frozenset(range(128, 256))
_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda s: json.dumps(s)[1:-1],
    lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    html.escape,
    lambda s: quote(s, safe=""),
    quote,
    quote_plus,
    lambda s: repr(s)[1:-1],
)


def spell(text: str) -> set[bytes]:
    """A text as UTF-8, and as up to two escapes after each other write it (JSON in JSON, JSON in HTML)."""
    forms = {text}
    for _ in range(2):
        forms |= {escape(form) for form in forms for escape in _ESCAPES}
    return {form.encode("utf-8", "surrogatepass") for form in forms}


def split_passages(text: str) -> list[str]:
    """A text in passages of a few words each; an end that is too short to be told from others' words is left out."""
    found, start = [], None
    for word in re.finditer(r"\S+", text):
        start = word.start() if start is None else start
        if word.end() - start >= PASSAGE_CHARS:
            found.append(text[start : word.end()])
            start = None
    return found


class Needle(NamedTuple):
    """One spelling. `name`: the id or passage that it spells; `is_id`: matters as a whole only: `reddit/al` is not `reddit/alice`."""

    spelling: bytes
    name: str
    is_id: bool


class Found(NamedTuple):
    """What a search met. `whole`: not as the beginning of a longer id."""

    name: str
    whole: bool


class Haystack:
    """Looks for many byte strings at once: numpy hashes the last bytes of every place, few of which have to be compared."""

    def __init__(self, ids: Iterable[str], passages: Iterable[str] = ()) -> None:
        import numpy as np

        needles = {Needle(s, i, True) for i in ids for s in spell(i)} | {Needle(s, p, False) for p in passages for s in spell(p)}
        self.longest = max((len(n.spelling) for n in needles), default=0)
        self._by_end: dict[bytes, list[Needle]] = {}
        for needle in needles:
            self._by_end.setdefault(needle.spelling[-_KEY:].rjust(_KEY, b"\0"), []).append(needle)
        self._table = np.zeros(2**_TABLE_BITS, dtype=bool)
        keys = np.frombuffer(b"".join(self._by_end), dtype="<u8")
        self._table[self._places(keys)] = True

    @staticmethod
    def _places(keys):
        import numpy as np

        return (keys * np.uint64(_MIX)) >> np.uint64(64 - _TABLE_BITS)

    def find(self, data: bytes) -> set[Found]:
        """What stands in the bytes."""
        import numpy as np

        found: set[Found] = set()
        for shift in range(_KEY):
            n = (len(data) - shift) // _KEY
            if n <= 0:
                break
            keys = np.frombuffer(data, dtype="<u8", count=n, offset=shift)
            for hit in np.flatnonzero(self._table[self._places(keys)]).tolist():
                end = shift + (hit + 1) * _KEY
                for needle in self._by_end.get(data[end - _KEY : end], ()):
                    if data.endswith(needle.spelling, 0, end):
                        whole = not needle.is_id or end == len(data) or data[end] not in _WORD
                        found.add(Found(needle.name, whole))
        return found

    def find_text(self, text: str) -> bool:
        """Whether something stands in a text as a whole."""
        return any(f.whole for f in self.find(text.encode("utf-8", "surrogatepass")))


# ---- what files hold -------------------------------------------------------------------------------------------------


def _read_raw(path: Path, overlap: int, opener: Callable[[Path], contextlib.AbstractContextManager]) -> Iterator[bytes]:
    with opener(path) as f:
        tail = b""
        while part := f.read(_CHUNK):
            yield tail + part
            tail = part[-overlap:] if overlap else b""


def _open_zstd(path: Path) -> contextlib.AbstractContextManager:
    import zstandard

    return zstandard.open(path, "rb")


def _read_rows(con: duckdb.DuckDBPyConnection, source: str) -> Iterator[bytes]:
    cursor = con.cursor().execute(f"select to_json(t)::varchar from {source} t")
    while rows := cursor.fetchmany(1000):
        yield "\n".join(text for (text,) in rows).encode("utf-8", "surrogatepass")


def read_tables(con: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> Iterator[bytes]:
    """The rows of Parquet files, as JSON."""
    for file in files:
        yield from _read_rows(con, parquet([file]))


def _read_duckdb(path: Path) -> Iterator[bytes]:
    with duckdb.connect(str(path), read_only=True) as con:
        query = "select schema_name, table_name from duckdb_tables() where not internal"
        for schema, table in con.execute(query).fetchall():
            yield from _read_rows(con, f'"{schema}"."{table}"')


def _read_sqlite(path: Path) -> Iterator[bytes]:
    """Every value of every table, by reading the tables and not their indexes; compressed values also as what they hold."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60, isolation_level=None)
    try:
        db.text_factory = bytes
        db.execute("PRAGMA query_only=ON")
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall():
            cursor = db.execute(f'SELECT * FROM "{table.decode()}" NOT INDEXED')
            while rows := cursor.fetchmany(500):
                values = [v for row in rows for v in row if isinstance(v, bytes)]
                yield b"\n".join(values)
                for value in values:
                    if value[:1] == b"\x78":
                        with contextlib.suppress(zlib.error):
                            yield zlib.decompress(value)
    finally:
        db.close()


def search_file(con: duckdb.DuckDBPyConnection, path: Path, haystack: Haystack) -> set[Found]:
    """What stands in a file: in its bytes, and in what a format holds.

    In the bytes of a database, a value may stand right before the next one, so that where an id ends is not seen; so an id that
    stands there counts unless the rows say that it is the beginning of another one.

    Raises:
        OSError, sqlite3.DatabaseError, duckdb.Error, EOFError, zstandard.ZstdError: the file cannot be read as what it is.
    """
    with path.open("rb") as f:
        head = f.read(16)
    raw = {f for part in _read_raw(path, haystack.longest, lambda p: p.open("rb")) for f in haystack.find(part)}
    readers: dict[bytes, Callable[[], Iterator[bytes]]] = {
        b"PAR1": lambda: read_tables(con, [path]),
        b"SQLite format 3\0": lambda: _read_sqlite(path),
        b"\x1f\x8b\x08": lambda: _read_raw(path, haystack.longest, gzip.GzipFile),
        b"\x28\xb5\x2f\xfd": lambda: _read_raw(path, haystack.longest, _open_zstd),
    }
    read = next((r for magic, r in readers.items() if head.startswith(magic)), None)
    if head[8:12] == b"DUCK":
        read = lambda: _read_duckdb(path)  # noqa: E731
    if read is None:
        return {f for f in raw if f.whole}
    held = {f for part in read() for f in haystack.find(part)}
    explained = {f.name for f in held}  # met in the rows, as a whole or not
    return {f for f in held if f.whole} | {Found(f.name, True) for f in raw if f.name not in explained or f.whole}


def search_files(
    root: Path, haystack: Haystack, leave_out: Collection[Path], say: Callable[[str], None] | None = None
) -> Iterator[tuple[Path, set[Found], str]]:
    """Files below a folder in which something stands, or which cannot be searched: file, what stands there, why not.

    Args:
        leave_out: folders that are not searched.
    """
    import zstandard

    said, seen = time.monotonic(), {root.resolve()}
    with duckdb.connect() as con:
        for folder, folders, files in os.walk(root, followlinks=True):  # what lies behind a link belongs to the home too
            here = Path(folder)
            folders[:] = sorted(n for n in folders if here / n not in leave_out and (here / n).resolve() not in seen)
            seen |= {(here / n).resolve() for n in folders}
            for path in sorted(here / name for name in files):
                if say and time.monotonic() - said > _SAY_EVERY_S:
                    said = time.monotonic()
                    say(f"searching {path.relative_to(root)}")
                try:
                    if found := search_file(con, path, haystack):
                        yield path, found, ""
                except FileNotFoundError:
                    continue  # a side file of SQLite, gone when the last connection closed
                except (OSError, sqlite3.DatabaseError, duckdb.Error, EOFError, zlib.error, zstandard.ZstdError) as e:
                    yield path, set(), f"it cannot be read ({str(e).splitlines()[0]})"
