"""From the sources' official files to records in one schema: `read_parts` (requirements S1-S5).

`staging.py` reads the files in parts; here each part's fields become columns, by the SQL of its layout. No row is lost: of every
file, rows read and rows quarantined are together as many as `count_rows` of `layouts.py` finds in it, which reads it in another way.

What belongs here: what all sources share: running a layout's SQL over its rows. What does not: reading files (`staging.py`), the SQL
of a source (the module of its name), the macros that it is written with (`text_macros.py`), dropping records (`filtering/rules/`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.sources.layouts import FoundLayout, Shape, detect_layout, load_files
from humanllm_assets.sources.staging import LINE_BITS, RAW_CHARS, BadRow, stage_files
from humanllm_assets.sources.text_macros import create_macros
from humanllm_assets.sql import literal
from humanllm_assets.tables import RECORDS

RECORD_COLUMNS = {column.name: column.type for column in RECORDS}
# What only the rules need. `row_no` orders the slice's rows over all its files and is unique in the slice; it comes from the
# files' order and the rows' in them, so reading the same files again gives the same numbers.
RULE_COLUMNS = {
    "line": "BIGINT",  # of its file; blank lines are not counted, and in a file of another kind it is the row or post
    "row_no": "BIGINT",
    "text_key": "UBIGINT",
    "score": "BIGINT",
    "num_comments": "BIGINT",
    "distinguished": "VARCHAR",
    "removed": "BOOLEAN",  # no text of the writer is left
    "withdrawn": "BOOLEAN",  # it was taken away after the dump had read it
    "age": "INTEGER",
    "subreddit": "VARCHAR",
}
RAW_COLUMNS = RECORD_COLUMNS | RULE_COLUMNS

PROGRESS_SECONDS = 15


@dataclass
class ReadReport:
    """What was read: `rows_read` = rows of `raw_records` + `unreadable` (rows of `quarantine`).

    `rows_by_file`: `rows_read` by file, record files only. `layouts`: layout by file name, context files included. `context_rows`: posts or items found for the records;
    `context_unreadable`: rows of context files that could not be read (they are no records, so they are not in `rows_read`).
    """

    rows_read: int = 0
    unreadable: int = 0
    rows_by_file: Counter[Path] = field(default_factory=Counter)
    layouts: dict[str, str] = field(default_factory=dict)
    context_rows: int = 0
    context_unreadable: int = 0


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return con.execute(sql).fetchall()[0][0]  # fetchall, because an open result would block the connection


def _prepare(con: duckdb.DuckDBPyConnection) -> None:
    create_macros(con)
    con.execute("SET preserve_insertion_order = true")  # rows are numbered by their positions
    con.execute("SET enable_progress_bar = false")
    con.execute("CREATE OR REPLACE TABLE quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")


def read_parts(
    con: duckdb.DuckDBPyConnection, source: str, slice_name: str, record_files: Sequence[Path], workdir: Path, report: ReadReport
) -> Iterator[None]:
    """One part of a slice after another as the view `raw_part` (columns `RAW_COLUMNS`, those of the context NULL), of bounded size.

    Texts come out with HTML entities unescaped, line ends as `\\n`, zero-width and NUL characters left out, and trimmed;
    `n_chars` counts characters. A reddit text is the title, a blank line and the body; a body or title that is gone is left out and
    flagged in `removed`. Times are UTC.

    `raw_part` is computed whenever it is read: read it once; the table macro `raw_part_of` takes the name of a relation with a column
    row_no and gives these rows alone, making no texts for the others. Unusable rows go to the table `quarantine`; `report` is complete after
    the last part. The layouts of all files are told, and refused, before the first part.

    Raises:
        SourceError: a file is missing, cut off, or in another layout.
    """
    layouts = {path: detect_layout(load_files(source).records, path) for path in record_files}
    report.layouts |= {path.name: str(found) for path, found in layouts.items()}
    _prepare(con)
    return _read_parts(con, source, slice_name, layouts, workdir, report)


def _read_parts(
    con: duckdb.DuckDBPyConnection,
    source: str,
    slice_name: str,
    layouts: Mapping[Path, FoundLayout],
    workdir: Path,
    report: ReadReport,
) -> Iterator[None]:
    for part in stage_files(con, layouts, workdir):
        _put_aside(con, part.bad, "quarantine")
        report.rows_by_file.update(part.usable)
        report.rows_by_file.update(row.file for row in part.bad)
        report.rows_read += part.usable.total()
        _define_part(con, source, slice_name, part.layout.shape)
        yield
        report.rows_read, report.unreadable = report.rows_read + len(part.bad), report.unreadable + len(part.bad)
    con.execute("DROP VIEW IF EXISTS raw_part")


def show_progress(parts: Iterator[None], report: ReadReport, expected: int, log: Callable[[str], None]) -> Iterator[None]:
    """The parts of `read_parts`, with a line now and then that says how far they are.

    Args:
        report: of these parts; it may begin with rows of earlier slices.
        expected: rows that there will be in `report` at the end, 0 where that is not known.
    """
    began, shown, before = time.monotonic(), time.monotonic(), report.rows_read
    for part in parts:
        yield part
        now, rows = time.monotonic(), report.rows_read
        if now - shown >= PROGRESS_SECONDS and before < rows < expected:
            minutes = (expected - rows) / (rows - before) * (now - began) / 60
            log(f"read {rows:,} of {expected:,} rows, about {minutes:.0f} min left")
            shown = now


def _define_part(con: duckdb.DuckDBPyConnection, source: str, slice_name: str, shape: Shape) -> None:
    given = {**shape.columns, "source": literal(source), "slice": literal(slice_name), "row_no": "row_no", "n_chars": "0"}
    given["line"] = f"row_no & {(1 << LINE_BITS) - 1}"
    columns = ", ".join(f"CAST({given.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in RAW_COLUMNS.items())
    for name, rows in (
        ("VIEW raw_part AS", "chunk"),
        ("MACRO raw_part_of(rows) AS TABLE", "chunk SEMI JOIN query_table(rows) USING (row_no)"),
    ):
        con.execute(f"""
            CREATE OR REPLACE TEMP {name}
            SELECT * REPLACE (length(text) AS n_chars, md5_number_lower(text) AS text_key) FROM (SELECT {columns} FROM {rows})
        """)


def _put_aside(con: duckdb.DuckDBPyConnection, bad: Sequence[BadRow], quarantine: str) -> None:
    import pyarrow as pa

    if bad:
        columns = {
            "file": [row.file.name for row in bad],
            "line": [row.line for row in bad],
            "reason": [row.reason for row in bad],
            "raw": [row.raw[:RAW_CHARS] for row in bad],
        }
        con.register("bad_rows", pa.table(columns))
        con.execute(f"INSERT INTO {quarantine} SELECT file, line, reason, raw FROM bad_rows")
        con.unregister("bad_rows")


def read_context(
    con: duckdb.DuckDBPyConnection, source: str, context_files: Sequence[Path], wanted: str, workdir: Path, report: ReadReport
) -> None:
    """Make the table `context` (context_id, context_title, context_text): what the rows of `wanted` refer to.

    Of several rows with one id the first is taken.

    Args:
        wanted: a relation with a column context_id; only what stands there is kept.
        report: gains the layouts of the context files and what was found in them.

    Raises:
        SourceError: a file is missing, cut off, or in another layout.
    """
    contexts = {path: detect_layout(load_files(source).context, path) for path in context_files}
    report.layouts |= {path.name: str(found) for path, found in contexts.items()}
    con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS SELECT DISTINCT context_id FROM {wanted}")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE found_context
        (context_id VARCHAR, context_title VARCHAR, context_text VARCHAR, row_no BIGINT)
    """)
    con.execute("CREATE OR REPLACE TEMP TABLE context_quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")
    for part in stage_files(con, contexts, workdir):
        _put_aside(con, part.bad, "context_quarantine")
        shape = part.layout.shape
        columns = ", ".join(f"{sql} AS {name}" for name, sql in shape.columns.items())
        con.execute(
            f"INSERT INTO found_context SELECT context_id, context_title, context_text, row_no "
            f"FROM (SELECT {columns}, row_no FROM chunk) SEMI JOIN wanted USING (context_id)"
        )
    con.execute("""
        CREATE OR REPLACE TEMP TABLE context AS SELECT context_id, context_title, context_text FROM found_context
        QUALIFY row_number() OVER (PARTITION BY context_id ORDER BY row_no) = 1
    """)
    report.context_rows = _one(con, "SELECT count(*) FROM context")
    report.context_unreadable = _one(con, "SELECT count(*) FROM context_quarantine")
    for table in ("wanted", "found_context", "context_quarantine"):
        con.execute(f"DROP TABLE {table}")
