"""From source files to rows of fields: file by file, in parts of bounded size, nothing interpreted yet.

The fields that a layout names are first written as Parquet into the work folder, each as the text that it has (or would have) in
JSON; so whatever a file holds shows while it is read here, and memory does not grow with it. How a row is read depends on its own
bytes alone, never on its neighbours:

- a line of JSON is read by DuckDB. A line that it cannot take (it makes NULLs of lone surrogates and broken lines without a word),
  or in which a field is `NaN` or `Infinity`, is read again by Python's `json`; what still fails is quarantined with file, line,
  reason and text. A key that stands twice has its first value either way, NaN and Infinity are no values.
- a column of Parquet is read by its type, and a type that a field cannot have is refused.
- rows of other files come from the layout's cutter.

What belongs here: containers. What does not: SQL of a source, dropping records, bytes (`files.py`), telling layouts (`layouts.py`).
"""

from __future__ import annotations

import glob
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from humanllm_assets.sources import files
from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.layouts import CutRow, FoundLayout, Layout
from humanllm_assets.sql import literal
from resources.home import machine_problem

CHUNK_BYTES = 256 << 20  # of unpacked lines for DuckDB at a time; to plan its queries takes as long as 10,000 rows
GROUP_ROWS = 20_480
PART_ROWS = 5 * GROUP_ROWS
BATCH_ROWS, BATCH_CHARS = 20_000, 32 << 20  # of a cutter
RAW_CHARS = 500  # of a quarantined row
LINE_BITS = 40  # of a row's number; the number of its file stands above them
_AGAIN = "read again by Python"

# Not numbers in JSON, but written by Python, pandas and others, and read by DuckDB as if they were texts.
_NO_VALUES = ("NaN", "nan", "NAN", "-nan", "Infinity", "-Infinity", "inf", "-inf", "INF", "-INF")
_PLAIN_TYPES = {
    *("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"),
    *("boolean", "decimal", "varchar", "uuid", "enum", "null", "sqlnull"),
}
_TIMES = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone", "date"}


class BadRow(NamedTuple):
    """A row that cannot be used. `line`: of its file, from 1 (a row's number in Parquet, a post's in XML)."""

    file: Path
    line: int
    reason: str
    raw: str


@dataclass
class Part:
    """Some rows of one or several files of one layout: the view `chunk` holds the usable ones (row_no and the layout's fields, each
    a VARCHAR); `bad` are the others. `row_no` orders the rows of all files and is unique."""

    layout: Layout
    usable: Counter[Path] = field(default_factory=Counter)
    bad: list[BadRow] = field(default_factory=list)


def stage_files(con: duckdb.DuckDBPyConnection, layouts: Mapping[Path, FoundLayout], workdir: Path) -> Iterator[Part]:
    """The rows of the files, part by part; the view `chunk` is that of the last part.

    Args:
        workdir: for temporary files: the fields of one file, and some `CHUNK_BYTES` of it.

    Raises:
        SourceError: a file cannot be read.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    stager = _Stager(con, workdir)
    numbered = [(number, path, found) for number, (path, found) in enumerate(layouts.items())]
    try:
        for layout, group in itertools.groupby(numbered, key=lambda x: x[2].layout):
            if layout.cutter:  # such files may be small and many: their rows are taken together
                yield from stager.cut(layout, [(number, path) for number, path, _ in group])
                continue
            for number, path, found in group:
                yield from (stager.read_typed if found.container == "parquet" else stager.read_lines)(layout, number, path)
    finally:
        stager.close()


class _Stager:
    def __init__(self, con: duckdb.DuckDBPyConnection, workdir: Path) -> None:
        self._con, self._fields, self._chunk = con, workdir / "fields.parquet", workdir / "chunk.ndjson"

    def close(self) -> None:
        self._fields.unlink(missing_ok=True)
        for view in ("chunk", "usable_loaded"):
            self._con.execute(f"DROP VIEW IF EXISTS {view}")
        self._con.execute("DROP TABLE IF EXISTS loaded")

    # ---- parts -------------------------------------------------------------------------------------------------------

    def cut(self, layout: Layout, numbered: Sequence[tuple[int, Path]]) -> Iterator[Part]:
        assert layout.cutter
        paths = dict(numbered)
        rows = ((number, row) for number, path in numbered for row in layout.cutter.rows(path))
        for batch in _batches(rows):
            part = Part(layout)
            part.bad = [BadRow(paths[n], row.line, row.problem, row.raw or "") for n, row in batch if row.problem]
            good = [((n << LINE_BITS) + row.line, row.values) for n, row in batch if row.values is not None]
            part.usable.update({paths[n]: rows for n, rows in Counter(row_no >> LINE_BITS for row_no, _ in good).items()})
            self._load(layout, good, layout.cutter.fields)
            self._con.execute("CREATE OR REPLACE TEMP VIEW chunk AS FROM usable_loaded")
            for row_no, reason, raw in self._problems(layout, "loaded"):
                path = paths[row_no >> LINE_BITS]
                part.usable[path] -= 1
                part.bad.append(BadRow(path, row_no & ((1 << LINE_BITS) - 1), reason, raw))
            yield part

    def read_typed(self, layout: Layout, number: int, path: Path) -> Iterator[Part]:
        """Rows of a Parquet file."""
        scan = f"read_parquet({_exactly(path)}, hive_partitioning = false)"
        found = self._describe(path, scan)
        columns, checks = [], []
        for name in layout.fields:
            sql, check = _typed_field(path, name, found.get(name), name in layout.times)
            columns.append(f"{sql} AS {_name(name)}")
            checks += [check] if check else []
        unread = f"CASE {' '.join(checks)} END" if checks else "CAST(NULL AS VARCHAR)"
        total = self._stage(path, layout, f"SELECT {', '.join(columns)}, {unread} AS unread FROM {scan}")
        for start in range(0, total, PART_ROWS):
            part, first = Part(layout), number << LINE_BITS
            rows = self._show(layout, start, first)
            bad = self._problems(layout, rows)
            part.bad = [BadRow(path, row_no - first, reason, raw) for row_no, reason, raw in bad]
            part.usable[path] = min(PART_ROWS, total - start) - len(bad)
            yield part

    def read_lines(self, layout: Layout, number: int, path: Path) -> Iterator[Part]:
        """Rows of a file of lines of JSON."""
        first = number << LINE_BITS
        if not files.split_suffix(path)[1] and not _has_mark(path):
            try:
                total = self._stage_lines(layout, path, path)
            except _LongLineFound:
                pass  # then DuckDB gets the file without its long lines
            else:
                yield from self._parts_of_lines(layout, path, files.Chunk(path, 1, 0), first, total)
                return
        for chunk in files.chunks(path, self._chunk, CHUNK_BYTES):
            if chunk.long:
                yield self._part_of_long_line(layout, path, chunk.first_line, chunk.long, first)
                first += 1
            else:
                total = self._stage_lines(layout, path, chunk.path)
                yield from self._parts_of_lines(layout, path, chunk, first, total)
                first += total

    def _stage_lines(self, layout: Layout, path: Path, lines: Path) -> int:
        """Args: `lines`: the file itself, or some of its lines."""
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in layout.fields)
        scan = (
            f"read_json({_exactly(lines)}, format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true, "
            "compression = 'uncompressed', hive_partitioning = false)"
        )
        # not IN, which DuckDB plans as a join when its list is long; and a join's rows come in any order
        is_none = " OR ".join(f"{_name(name)} = {literal(word)}" for name in layout.fields for word in _NO_VALUES)
        names = ", ".join(map(_name, layout.fields))
        unread = f"CASE WHEN {_name(layout.shape.key)} IS NULL OR coalesce({is_none}, false) THEN {literal(_AGAIN)} END"
        return self._stage(path, layout, f"SELECT {names}, {unread} AS unread FROM {scan}")

    def _parts_of_lines(self, layout: Layout, path: Path, chunk: files.Chunk, first: int, total: int) -> Iterator[Part]:
        """Args: `first`: number of the row before the first. `total`: of the staged rows."""
        lines = enumerate(files.record_lines(chunk.path), start=1)
        for start in range(0, total, PART_ROWS):
            part = Part(layout)
            rows = self._show(layout, start, first)
            found = {n: (reason, raw) for n, reason, raw in self._problems(layout, rows)}
            problems = {n: said for n, said in found.items() if said[0] != _AGAIN}
            good, where = list[tuple[int, dict[str, str | None]]](), dict[int, int]()
            for row_no, (line, data) in _pick(lines, found, first):
                where[row_no] = chunk.first_line + line - 1
                if row_no in problems:
                    continue
                row, problem = _parse_line(data, layout.fields)
                if row is None:
                    part.bad.append(BadRow(path, where[row_no], problem, data[: 4 * RAW_CHARS].decode("utf-8", "replace")))
                else:
                    good.append((row_no, row))
            if good:
                self._load(layout, good, layout.fields)
                self._show(layout, start, first, "usable_loaded")
                problems |= {n: (reason, raw) for n, reason, raw in self._problems(layout, "loaded")}
            part.bad += [BadRow(path, where[n], reason, raw) for n, (reason, raw) in problems.items()]
            part.usable[path] = min(PART_ROWS, total - start) - len(part.bad)
            yield part

    def _part_of_long_line(self, layout: Layout, path: Path, line: int, long: files.LongLine, first: int) -> Part:
        part = Part(layout)
        row, problem = _parse_line(long.data, layout.fields) if long.is_whole else (None, f"a line of {long.size:,} bytes")
        self._load(layout, [(first + 1, row)] if row else [], layout.fields)
        self._con.execute("CREATE OR REPLACE TEMP VIEW chunk AS FROM usable_loaded")
        problems = self._problems(layout, "loaded")
        if row is None:
            part.bad = [BadRow(path, line, problem, long.data[: 4 * RAW_CHARS].decode("utf-8", "replace"))]
        part.bad += [BadRow(path, line, reason, raw) for _, reason, raw in problems]
        part.usable[path] = 1 - len(part.bad)
        return part

    # ---- pieces ------------------------------------------------------------------------------------------------------

    def _describe(self, path: Path, scan: str) -> dict[str, Any]:
        try:
            relation = self._con.sql(f"SELECT * FROM {scan} LIMIT 0")
        except duckdb.Error as e:
            raise _refuse(path, e) from e
        return dict(zip(relation.columns, relation.types, strict=True))

    def _stage(self, path: Path, layout: Layout, query: str) -> int:
        """Write the rows of a query over a file, in the file's order, with what makes a row unusable; returns how many.

        The order is DuckDB's promise for scans (`preserve_insertion_order`) and holds for no query that joins.

        Args: `query`: the layout's fields, and `unread`, why they could not be read.

        Raises:
            SourceError: it names the file.
        """
        rows = f"SELECT * EXCLUDE (unread), coalesce(unread, {layout.shape.problem}) AS problem FROM ({query})"
        try:
            copied = self._con.execute(
                f"COPY ({rows}) TO {literal(self._fields)} (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {GROUP_ROWS})"
            )
            return copied.fetchall()[0][0]
        except duckdb.Error as e:
            if "maximum_object_size" in str(e):
                raise _LongLineFound from e
            if machine_problem(e, self._fields.parent):
                raise
            raise _refuse(path, e) from e

    def _show(self, layout: Layout, start: int, first: int, more: str = "") -> str:
        """Make the view `chunk` of the usable staged rows of one part; returns SQL for all staged rows of the part.

        Args: `start`: rows before the part. `first`: number of the row before the first staged one. `more`: rows to be added.
        """
        staged = f"read_parquet({_exactly(self._fields)}, file_row_number = true, hive_partitioning = false)"
        rows = (
            f"(SELECT *, file_row_number + {first + 1} AS row_no FROM {staged} "
            f"WHERE file_row_number >= {start} AND file_row_number < {start + PART_ROWS})"
        )
        names = ", ".join(["row_no", *map(_name, layout.fields)])
        added = f" UNION ALL SELECT {names} FROM {more}" if more else ""
        self._con.execute(f"CREATE OR REPLACE TEMP VIEW chunk AS SELECT {names} FROM {rows} WHERE problem IS NULL{added}")
        return rows

    def _problems(self, layout: Layout, relation: str) -> list[tuple[int, str, str]]:
        """Number, reason and start of the unusable rows."""
        query = f"SELECT row_no, problem, {_raw(layout)} FROM {relation} WHERE problem IS NOT NULL ORDER BY row_no"
        return self._con.execute(query).fetchall()

    def _load(self, layout: Layout, rows: Sequence[tuple[int, Mapping[str, str | None]]], fields: Sequence[str]) -> None:
        """Replace the temporary table `loaded` by these rows: `row_no`, the given fields as VARCHAR, and `problem`; the view
        `usable_loaded` has those that can be used."""
        import pyarrow as pa

        columns = {name: pa.array([values[name] for _, values in rows], pa.string()) for name in fields}
        self._con.register("rows_to_load", pa.table({"row_no": pa.array([n for n, _ in rows], pa.int64()), **columns}))
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE loaded AS SELECT *, CAST({layout.shape.problem} AS VARCHAR) AS problem FROM rows_to_load"
        )
        self._con.execute(
            "CREATE OR REPLACE TEMP VIEW usable_loaded AS SELECT * EXCLUDE (problem) FROM loaded WHERE problem IS NULL"
        )
        self._con.unregister("rows_to_load")


class _LongLineFound(Exception):
    """DuckDB takes no line of more than 32 MB, and no file that has one."""


def _refuse(path: Path, error: Exception) -> SourceError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return SourceError(f"{path} cannot be read: it is damaged or of another kind ({said[:200]}); download it again")


def _exactly(path: Path) -> str:
    """SQL for this file, whatever characters its name has: DuckDB takes `[`, `*` and `?` as patterns."""
    return literal(glob.escape(str(path.absolute())))


def _name(column: str) -> str:
    return f'"{column}"'


def _raw(layout: Layout) -> str:
    """SQL: the fields of a row that is quarantined."""
    fields = layout.cutter.fields if layout.cutter else layout.fields
    return f"left(CAST(to_json({{{', '.join(f'{literal(name)}: {_name(name)}' for name in fields)}}}) AS VARCHAR), {RAW_CHARS})"


def _batches(rows: Iterator[tuple[int, CutRow]]) -> Iterator[list[tuple[int, CutRow]]]:
    batch, chars = list[tuple[int, CutRow]](), 0
    for number, row in rows:
        batch.append((number, row))
        chars += sum(len(value or "") for value in row.values.values()) if row.values else len(row.raw or "")
        if len(batch) == BATCH_ROWS or chars > BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _has_mark(path: Path) -> bool:
    return next(files.blocks(path), b"").startswith(files.UTF8_BOM)


# ---- lines that DuckDB cannot take -----------------------------------------------------------------------------------


def _pick(
    lines: Iterator[tuple[int, tuple[int, bytes]]], row_numbers: Iterable[int], first: int
) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Line number and bytes of the rows with these numbers, which ascend."""
    for row_no in row_numbers:
        for number, found in lines:
            if first + number == row_no:
                yield row_no, found
                break


def _parse_line(line: bytes, fields: Sequence[str]) -> tuple[dict[str, str | None] | None, str]:
    """The fields of a line of JSON, or None and why there are none."""
    try:
        row = _DECODER.decode(line.decode("utf-8"))
        if not isinstance(row, dict):
            return None, "not a JSON object"
        return {name: _as_text(row.get(name)) for name in fields}, ""
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except json.JSONDecodeError as e:
        return None, f"not JSON: {e}"
    except RecursionError:
        return None, "nested too deeply"


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _parse_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _parse_int(text: str) -> int | None:
    return int(text) if len(text) < 4000 else None  # Python refuses to read more digits


_DECODER = json.JSONDecoder(
    object_pairs_hook=_first_of_each, parse_constant=lambda name: None, parse_float=_parse_float, parse_int=_parse_int
)


def _as_text(value: Any) -> str | None:
    """As DuckDB reads a JSON value into VARCHAR; a lone surrogate, which no UTF-8 text can hold, becomes U+FFFD."""
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ---- columns of Parquet ----------------------------------------------------------------------------------------------


def _typed_field(path: Path, name: str, kind: Any, is_time: bool) -> tuple[str, str]:
    """SQL of a column as the text that its value would have in JSON, and a WHEN of a CASE that says why a row has none.

    Raises:
        SourceError: the field cannot have this type.
    """
    column = _name(name)
    if kind is None:
        return "CAST(NULL AS VARCHAR)", ""
    if str(kind) == "JSON":
        return f"{column} ->> '$'", ""
    if kind.id == "blob":  # texts that the writer did not mark as such
        return f"TRY(decode({column}))", f"WHEN {column} IS NOT NULL AND TRY(decode({column})) IS NULL THEN 'not UTF-8: {name}'"
    if kind.id in _TIMES and is_time:
        moment = f"timezone('UTC', {column})" if kind.id == "timestamp with time zone" else f"CAST({column} AS TIMESTAMP)"
        return f"CASE WHEN isfinite({moment}) THEN strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ') END", ""
    if kind.id == "double" or (kind.id == "float" and not is_time):  # a float has seven digits, a time ten
        return f"CASE WHEN isfinite({column}) THEN CAST({column} AS VARCHAR) END", ""
    if kind.id in _PLAIN_TYPES:
        return f"CAST({column} AS VARCHAR)", ""
    if kind.id in ("list", "array", "struct") and _is_json(kind):
        return f"CAST(to_json({column}) AS VARCHAR)", ""
    raise SourceError(
        f"{path} cannot be read: its column {name} has the type {kind}, which has no meaning there; write the file with "
        f"{'a timestamp or seconds since 1970' if is_time else 'a text or a number'} in it"
    )


def _is_json(kind: Any) -> bool:
    if kind.id in ("list", "array", "struct"):
        return all(_is_json(child) for name, child in kind.children if name != "size")
    return kind.id in {*_PLAIN_TYPES, "double", "float"}
