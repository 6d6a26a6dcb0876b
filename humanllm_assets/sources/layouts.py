"""Which official layout a source file has, told from its name, its header and its first rows.

A layout says which fields the rows have, and which SQL makes columns of them; a container how the rows are stored. What layouts
a source has is declared as `FILES` in the module of its name, beside the SQL.

What belongs here: what a layout is, telling it, and counting a file's rows. What does not: SQL, and the layouts themselves: this
module is part of what raw_* is made by, which an edit of a reader's SQL must leave alone.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from humanllm_assets.sources import files
from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.registry import load_part

SNIFFED_LINES = 1000
SNIFFED_BYTES = 8 << 20
HEADER_BYTES = 1 << 16  # of a CSV


@dataclass(frozen=True)
class Shape:
    """How a layout's fields become columns of records; SQL over a row's fields, each a VARCHAR."""

    key: str
    """A field that a readable row nearly always has: a row without it is read again by Python."""
    problem: str
    """Says why a row cannot be used, or NULL."""
    columns: Mapping[str, str]
    """Column name -> expression."""


class CutRow(NamedTuple):
    """One row as a cutter found it. `problem` says why it cannot be used; `raw` then holds its source text."""

    line: int
    values: Mapping[str, str | None] | None = None
    problem: str | None = None
    raw: str | None = None


@dataclass(frozen=True)
class Cutter:
    """How files that are neither lines of JSON nor Parquet fall into rows. Stands in a module of its own, away from any SQL."""

    rows: Callable[[Path], Iterator[CutRow]]
    fields: tuple[str, ...]
    """Names of a row's values."""
    count: Callable[[Path], int]
    """Counts a file's rows, unreadable ones included, without the code that cuts them: what `rows` gives must be as many."""
    check: Callable[[Path], None] | None = None
    """Raises SourceError for a file of another kind, where the columns do not tell."""


@dataclass(frozen=True)
class Layout:
    """The rows of one kind of file."""

    name: str
    needed: tuple[str, ...]
    """Fields that tell it from other kinds."""
    shape: Shape
    optional: tuple[str, ...] = ()
    """Fields that are read where they exist."""
    containers: tuple[str, ...] = ("ndjson", "ndjson.gz", "zst")
    """How the rows may be stored; the unpacked form first. Lines of JSON may also be packed in any other way that is read."""
    cutter: Cutter | None = None
    times: tuple[str, ...] = ()
    """Fields that are a point in time: where rows are stored with types, these may be timestamps or dates."""

    @property
    def fields(self) -> tuple[str, ...]:
        return self.needed + self.optional

    @property
    def is_lines(self) -> bool:
        """Are the rows lines of JSON? Whether they may be packed, `containers` need not say."""
        return self.containers[0] in ("ndjson", "jsonl", "json")

    @property
    def recognition(self) -> dict[str, Any]:
        """What decides whether a file has this layout and how it falls into rows, as plain data."""
        cutter = self.cutter.rows.__name__ if self.cutter else None
        return {"name": self.name, "needed": self.needed, "containers": self.containers, "cutter": cutter}


@dataclass(frozen=True)
class SourceFiles:
    """Which layouts a source's record files and context files may have, in the order in which they are tried."""

    records: tuple[Layout, ...]
    context: tuple[Layout, ...] = ()

    @property
    def cutting_modules(self) -> tuple[str, ...]:
        """The modules of the cutters."""
        return tuple(sorted({x.cutter.rows.__module__ for x in (*self.records, *self.context) if x.cutter}))


class FoundLayout(NamedTuple):
    """A file's layout and how its rows are stored."""

    layout: Layout
    container: str

    def __str__(self) -> str:
        return f"{self.layout.name}-{self.container}"


def load_files(source: str) -> SourceFiles:
    """The layouts of a source, `FILES` of its module.

    Raises:
        MissingPart: the source has no such module.
    """
    return load_part("humanllm_assets.sources", source, "FILES", SourceFiles)


def detect_layout(layouts: tuple[Layout, ...], path: Path) -> FoundLayout:
    """Which of the layouts a file has; as text such as `pushshift-zst` or `amazon-2023-jsonl.gz`.

    Raises:
        SourceError: none of them; says what was found and what was expected.
    """
    files.check_packing(path)
    inner, packing = files.split_suffix(path)
    if inner == ".parquet":
        return _one_of(layouts, f"parquet{packing}", path, set(_parquet_columns(path)), "the columns")
    if inner == ".csv":
        return _checked(_one_of(layouts, f"csv{packing}", path, set(read_csv_header(path).columns), "the columns"), path)
    if inner == ".xml":
        return _checked(_one_of(layouts, f"xml{packing}", path, set(), "an XML file; fields"), path)
    fields = _json_fields(path)
    for layout in layouts:
        if layout.is_lines and any(set(layout.needed) <= row for row in fields):
            return FoundLayout(layout, _json_container(layout, packing))
    widest = max(fields, key=len)
    what = "lines of JSON, but no row with all needed fields; the widest row has the fields"
    raise _wrong(layouts, path, widest, what if any(x.is_lines for x in layouts) else "lines of JSON with the fields")


def count_rows(path: Path, found: FoundLayout) -> int:
    """Rows of a file, unreadable ones included, counted by code that reading them does not use.

    Raises:
        SourceError: the file cannot be read.
    """
    if found.layout.cutter:
        return found.layout.cutter.count(path)
    if found.container == "parquet":
        return _parquet_metadata(path).num_rows
    return files.count_record_lines(path)


def _json_container(layout: Layout, packing: str) -> str:
    return "zst" if packing == ".zst" and "zst" in layout.containers else layout.containers[0] + packing


def _checked(found: FoundLayout, path: Path) -> FoundLayout:
    if found.layout.cutter and found.layout.cutter.check:
        found.layout.cutter.check(path)
    return found


def _one_of(layouts: tuple[Layout, ...], container: str, path: Path, found: set[str], what: str) -> FoundLayout:
    for layout in layouts:
        if container in layout.containers and set(layout.needed) <= found:
            return FoundLayout(layout, container)
    raise _wrong(layouts, path, found, what)


def _wrong(layouts: tuple[Layout, ...], path: Path, found: set[str], what: str) -> SourceError:
    shown = ", ".join(name[:50] for name in sorted(found)[:25]) or "none"
    expected = "; or ".join(
        f"{'/'.join(f.containers)} with {', '.join(f.needed)}" if f.needed else "/".join(f.containers) for f in layouts
    )
    return SourceError(f"{path} cannot be read: found {what} {shown}; expected {expected}; give the slice a file in that layout")


def _parquet_metadata(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise SourceError(f"{path} is not a valid Parquet file ({_first_line(e)}); download it again") from e


def _parquet_columns(path: Path) -> list[str]:
    metadata = _parquet_metadata(path)
    try:
        return metadata.schema.to_arrow_schema().names
    except (ValueError, OSError, NotImplementedError) as e:  # of PyArrow, whose errors derive from these
        raise SourceError(f"{path} is not a valid Parquet file ({_first_line(e)}); download it again") from e


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class CsvHeader(NamedTuple):
    """What stands between a CSV's columns, and their names in small letters."""

    delimiter: str
    columns: tuple[str, ...]


def read_csv_header(path: Path) -> CsvHeader:
    """The first line of a CSV; the delimiter is the one of `,`, `;` and tab that cuts it into the most columns.

    Raises:
        SourceError: the file is missing or damaged.
    """
    head = b""
    for block in files.blocks(path):
        head += block
        if b"\n" in head or len(head) > HEADER_BYTES:
            break
    line = head.removeprefix(files.UTF8_BOM).partition(b"\n")[0][:HEADER_BYTES]
    text = files.decode(line).replace("\r", " ")
    rows = {delimiter: next(csv.reader([text], delimiter=delimiter), []) for delimiter in ",;\t"}
    delimiter = max(rows, key=lambda delimiter: len(rows[delimiter]))
    return CsvHeader(delimiter, tuple(name.strip().lower() for name in rows[delimiter]))


def _json_fields(path: Path) -> list[set[str]]:
    """The field names of the first JSON objects of a file of lines; unreadable lines are skipped here (the reader keeps them)."""
    rows: list[set[str]] = []
    seen = read = in_array = 0
    for _, line in itertools.islice(files.record_lines(path), SNIFFED_LINES):
        seen, read = seen + 1, read + len(line)
        row = _object(line)
        if row is not None:
            rows.append(set(row))
        elif line.lstrip().startswith(b"[") or _object(line.strip().strip(b",")) is not None:
            in_array += 1
        if read > SNIFFED_BYTES:
            break
    if not seen:
        raise SourceError(f"{path} is empty; download it again or take it out of the slice's `files`")
    if in_array > len(rows):
        raise SourceError(
            f"{path} cannot be read: it is a JSON array; expected one object per line, without brackets and commas around them: "
            f"convert it, such as with `jq -c '.[]'`"
        )
    if not rows:
        raise SourceError(
            f"{path} cannot be read: none of its first {seen} lines is a JSON object; expected one per line; convert it or give "
            "the slice another file"
        )
    return rows


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
