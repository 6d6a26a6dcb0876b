"""From the sources' official files to one table of records: `read_records` (requirements S1-S5).

Reading happens in DuckDB, file by file and, for lines of JSON, in bounded chunks, so that memory does not grow with the data.
No row is lost: `rows_read == count(raw_records) + count(quarantine)`. What DuckDB's JSON reader cannot take (lone surrogates,
broken lines) it would turn into NULL rows without a word; those lines go through Python's `json`, and what still fails is
quarantined with file, line, reason and text.

What belongs here: what all sources share: running a layout's SQL over its file.
What does not: the SQL of a source (the module of its name), dropping records (`filtering/rules/`), bytes (`files.py`), telling
layouts (`layouts.py`), the macros that the SQL is written with (`text_macros.py`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.sources import files
from humanllm_assets.sources.layouts import CutRow, Cutter, FoundLayout, Layout, Shape, detect_layout, load_files
from humanllm_assets.sources.text_macros import create_macros
from humanllm_assets.sql import literal
from humanllm_assets.tables import RECORDS

RECORD_COLUMNS = {column.name: column.type for column in RECORDS}
# What only the rules need. `row_no` orders the slice's rows over all its files and is unique in the slice; it comes from the
# files' order and line numbers, so reading the same files again gives the same numbers.
RULE_COLUMNS = {
    "file": "VARCHAR",
    "line": "BIGINT",
    "row_no": "BIGINT",
    "text_key": "UBIGINT",
    "score": "BIGINT",
    "num_comments": "BIGINT",
    "distinguished": "VARCHAR",
    "removed": "BOOLEAN",  # no text of the writer is left
    "withdrawn": "BOOLEAN",  # it was taken away after the dump had read it
    "age": "INTEGER",
    "context_user_id": "VARCHAR",  # who wrote the context, where the file says so
}
RAW_COLUMNS = RECORD_COLUMNS | RULE_COLUMNS

CHUNK_BYTES = 64 << 20
BATCH_ROWS = 20_000
RAW_CHARS = 500  # of a quarantined row


@dataclass
class ReadReport:
    """What was read: `rows_read` = rows of `raw_records` + `unreadable` (rows of `quarantine`).

    `layouts`: layout by file name, context files included. `context_rows`: posts or items found for the records;
    `context_unreadable`: rows of context files that could not be read (they are no records, so they are not in `rows_read`).
    """

    rows_read: int = 0
    unreadable: int = 0
    layouts: dict[str, str] = field(default_factory=dict)
    context_rows: int = 0
    context_unreadable: int = 0


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return con.execute(sql).fetchall()[0][0]  # fetchall, because an open result would block the connection


def _prepare(con: duckdb.DuckDBPyConnection) -> None:
    create_macros(con)
    con.execute("SET preserve_insertion_order = true")  # line numbers are the rows' positions
    columns = ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TABLE raw_records ({columns})")
    con.execute("CREATE OR REPLACE TABLE quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")


def read_records(
    con: duckdb.DuckDBPyConnection,
    source: str,
    slice_name: str,
    record_files: Sequence[Path],
    context_files: Sequence[Path],
    workdir: Path,
) -> ReadReport:
    """Read one slice into the tables `raw_records` (columns `RAW_COLUMNS`) and `quarantine` (file, line, reason, raw) of `con`.

    Texts come out with HTML entities unescaped, line ends as `\\n`, zero-width and NUL characters left out, and trimmed;
    `n_chars` counts characters. A reddit text is the title, a blank line and the body; a removed body (`[removed]`,
    `[deleted]`) is left out and flagged in `removed`. Times are UTC. Context (the post a comment answers, the item a review is
    about) is joined by id; a record whose context is not in `context_files` keeps NULLs.

    Args:
        source: a name in `resources/sources.py`.
        record_files, context_files: as `find_files` gives them; each must be in one of the source's layouts.
        workdir: folder for one temporary chunk file of about 64 MB.

    Raises:
        SourceError: a file is missing, cut off, or in another layout.
    """
    report = ReadReport()
    of_source = load_files(source)
    layouts = {path: detect_layout(of_source.records, path) for path in record_files}
    contexts = {path: detect_layout(of_source.context, path) for path in context_files} if of_source.context else {}
    report.layouts = {path.name: str(found) for path, found in (*layouts.items(), *contexts.items())}
    _prepare(con)
    for path, found in layouts.items():
        lines_before = _one(con, "SELECT coalesce(max(row_no), 0) FROM raw_records")
        for _ in _chunks(con, found, path, workdir, "quarantine"):
            _insert_records(con, source, slice_name, found.layout.shape, path, lines_before)
    report.unreadable = _one(con, "SELECT count(*) FROM quarantine")
    report.rows_read = _one(con, "SELECT count(*) FROM raw_records") + report.unreadable
    if of_source.context:
        _join_context(con, contexts, workdir, report)
    con.execute("DROP VIEW IF EXISTS chunk")
    for table in ("parsed", "reread", "cut_rows"):
        con.execute(f"DROP TABLE IF EXISTS {table}")
    return report


def _insert_records(
    con: duckdb.DuckDBPyConnection, source: str, slice_name: str, shape: Shape, path: Path, lines_before: int
) -> None:
    given = {
        **shape.columns,
        "source": literal(source),
        "slice": literal(slice_name),
        "file": literal(path.name),
        "line": "line",
        "row_no": "line",
        "n_chars": "0",
    }
    columns = ", ".join(f"CAST({given.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in RAW_COLUMNS.items())
    con.execute(f"""
        INSERT INTO raw_records
        SELECT * REPLACE (length(text) AS n_chars, md5_number_lower(text) AS text_key, row_no + {lines_before} AS row_no)
        FROM (SELECT {columns} FROM chunk WHERE ({shape.problem}) IS NULL)
    """)


def _chunks(con: duckdb.DuckDBPyConnection, found: FoundLayout, path: Path, workdir: Path, quarantine: str) -> Iterator[None]:
    """Make the view `chunk` (line, the layout's fields as VARCHAR) for one part of the file after another, and put every row
    that cannot be used into the table `quarantine`: unreadable ones, and those that the shape's `problem` names."""
    layout, shape = found.layout, found.layout.shape
    if layout.cutter:
        parts: Iterable[None] = _cut_chunks(con, path, layout.cutter, quarantine)
    elif found.container == "parquet":
        parts = _parquet_chunk(con, layout, path)
    else:
        parts = _json_chunks(con, layout, path, workdir, quarantine)
    for _ in parts:
        con.execute(
            f"INSERT INTO {quarantine} SELECT ?, line, {shape.problem}, left(CAST(to_json(chunk) AS VARCHAR), {RAW_CHARS}) "
            f"FROM chunk WHERE ({shape.problem}) IS NOT NULL",
            [path.name],
        )
        yield


def _parquet_chunk(con: duckdb.DuckDBPyConnection, layout: Layout, path: Path) -> Iterator[None]:
    scan = f"read_parquet({literal(path)}, file_row_number = true)"
    found = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    fields = ", ".join(f"CAST({_name(f) if f in found else 'NULL'} AS VARCHAR) AS {_name(f)}" for f in layout.fields)
    con.execute(f"CREATE OR REPLACE TEMP VIEW chunk AS SELECT file_row_number + 1 AS line, {fields} FROM {scan}")
    yield


def _name(column: str) -> str:
    return f'"{column}"'


def _cut_chunks(con: duckdb.DuckDBPyConnection, path: Path, cutter: Cutter, quarantine: str) -> Iterator[None]:
    for batch in _batches(cutter.rows(path)):
        broken = [(path.name, row.line, row.problem, (row.raw or "")[:RAW_CHARS]) for row in batch if row.problem]
        if broken:
            con.executemany(f"INSERT INTO {quarantine} VALUES (?, ?, ?, ?)", broken)
        good = [{"line": row.line, **row.values} for row in batch if row.values is not None]
        _load_rows(con, "cut_rows", good, cutter.fields)
        con.execute("CREATE OR REPLACE TEMP VIEW chunk AS SELECT * FROM cut_rows")
        yield


def _batches(rows: Iterator[CutRow]) -> Iterator[list[CutRow]]:
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield batch


def _load_rows(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], fields: Sequence[str]) -> None:
    """Replace the temporary `table` by these rows: `line` and the given fields as VARCHAR."""
    import pyarrow as pa

    schema = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in fields)])
    con.register("rows_to_load", pa.Table.from_pylist(rows, schema=schema))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM rows_to_load")
    con.unregister("rows_to_load")


def _json_chunks(con: duckdb.DuckDBPyConnection, layout: Layout, path: Path, workdir: Path, quarantine: str) -> Iterator[None]:
    key = layout.shape.key
    names = ", ".join(_name(f) for f in layout.fields)
    columns = ", ".join(f"{literal(f)}: 'VARCHAR'" for f in layout.fields)
    for part in files.chunks(path, workdir, CHUNK_BYTES):
        again = _read_again_everything(part)
        if _parse_json(con, part, columns):
            # one row per line: a row without its key is a line that DuckDB could not take
            rejected = con.execute(f"SELECT rowid FROM parsed WHERE {_name(key)} IS NULL").fetchall()
            again = {row[0] for row in rejected}
            con.execute(f"DELETE FROM parsed WHERE {_name(key)} IS NULL")
        else:
            con.execute("DELETE FROM parsed")
        _read_again(con, part, again, layout, path, quarantine)
        con.execute(
            "CREATE OR REPLACE TEMP VIEW chunk AS "
            f"SELECT rowid + {part.first_line} AS line, {names} FROM parsed UNION ALL SELECT line, {names} FROM reread"
        )
        yield


def _read_again_everything(part: files.Chunk) -> set[int]:
    return set(range(part.rows))


def _parse_json(con: duckdb.DuckDBPyConnection, part: files.Chunk, columns: str) -> bool:
    """Load a chunk into the table `parsed`; False when its rows do not stand for its lines one by one (blank or giant lines)."""
    scan = f"read_json({literal(part.path)}, format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true)"
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE parsed AS SELECT * FROM {scan}")
    except duckdb.InvalidInputException:
        con.execute(f"CREATE OR REPLACE TEMP TABLE parsed AS SELECT * FROM {scan} LIMIT 0")
        return False
    return _one(con, "SELECT count(*) FROM parsed") == part.rows


def _read_again(
    con: duckdb.DuckDBPyConnection, part: files.Chunk, positions: set[int], layout: Layout, path: Path, quarantine: str
) -> None:
    """Read the lines at these positions (0-based, in the chunk) with Python's json: into `reread`, or quarantined."""
    good: list[dict[str, Any]] = []
    broken: list[tuple[str, int, str, str]] = []
    if positions:
        for in_chunk, line in files.record_lines(part.path):
            if in_chunk - 1 not in positions:
                continue
            number = part.first_line + in_chunk - 1
            row, problem = _parse_line(line)
            if row is None:
                broken.append((path.name, number, problem, line.decode("utf-8", "replace")[:RAW_CHARS]))
            else:
                good.append({"line": number} | {name: _as_text(row.get(name)) for name in layout.fields})
    if broken:
        con.executemany(f"INSERT INTO {quarantine} VALUES (?, ?, ?, ?)", broken)
    _load_rows(con, "reread", good, layout.fields)


def _parse_line(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except (json.JSONDecodeError, RecursionError) as e:
        return None, f"not JSON: {e}"
    return (row, "") if isinstance(row, dict) else (None, "not a JSON object")


def _as_text(value: Any) -> str | None:
    """As DuckDB reads a JSON value into VARCHAR; a lone surrogate, which no UTF-8 text can hold, becomes U+FFFD."""
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _join_context(
    con: duckdb.DuckDBPyConnection, contexts: Mapping[Path, FoundLayout], workdir: Path, report: ReadReport
) -> None:
    """Fill `context_title`, `context_text` and `context_user_id` from the context files; of several rows with one id the first is taken."""
    con.execute("CREATE OR REPLACE TEMP TABLE wanted AS SELECT DISTINCT context_id FROM raw_records")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE context
        (context_id VARCHAR, context_title VARCHAR, context_text VARCHAR, context_user_id VARCHAR, file_no INTEGER, line BIGINT)
    """)
    con.execute("CREATE OR REPLACE TEMP TABLE context_quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")
    for file_no, (path, found) in enumerate(contexts.items()):
        shape = found.layout.shape
        columns = ", ".join(f"{sql} AS {name}" for name, sql in shape.columns.items())
        for _ in _chunks(con, found, path, workdir, "context_quarantine"):
            con.execute(
                f"INSERT INTO context SELECT context_id, context_title, context_text, context_user_id, {file_no}, line "
                f"FROM (SELECT {columns}, line FROM chunk WHERE ({shape.problem}) IS NULL) SEMI JOIN wanted USING (context_id)"
            )
    con.execute("""
        CREATE OR REPLACE TEMP TABLE context AS SELECT context_id, context_title, context_text, context_user_id FROM context
        QUALIFY row_number() OVER (PARTITION BY context_id ORDER BY file_no, line) = 1
    """)
    report.context_rows = _one(con, "SELECT count(*) FROM context")
    report.context_unreadable = _one(con, "SELECT count(*) FROM context_quarantine")
    con.execute("""
        CREATE OR REPLACE TABLE raw_records AS
        SELECT r.* REPLACE (
            c.context_title AS context_title, c.context_text AS context_text, c.context_user_id AS context_user_id)
        FROM raw_records r LEFT JOIN context c USING (context_id)
    """)
    for table in ("wanted", "context", "context_quarantine"):
        con.execute(f"DROP TABLE {table}")
