"""A slice read whole and judged whole, in tables, where the assets go part by part: for tests of what comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from humanllm_assets.filtering.verdicts import SliceFilter
from humanllm_assets.sources.layouts import load_files
from humanllm_assets.sources.readers import RAW_COLUMNS, ReadReport, read_context, read_parts
from resources.strict import Strict


def read_records(
    con: duckdb.DuckDBPyConnection,
    source: str,
    slice_name: str,
    record_files: Sequence[Path],
    context_files: Sequence[Path],
    workdir: Path,
) -> ReadReport:
    """Read one slice into the tables `raw_records` (columns `RAW_COLUMNS`) and `quarantine` (file, line, reason, raw) of `con`.

    Context (the item a review is about) is joined by id; a record whose context is not in `context_files` keeps NULLs.

    Args:
        source: a name in `resources/sources.py`.
        record_files, context_files: as `find_files` gives them; each must be in one of the source's layouts.
        workdir: folder for one temporary file.

    Raises:
        SourceError: a file is missing, cut off, or in another layout.
    """
    report = ReadReport()
    parts = read_parts(con, source, slice_name, record_files, workdir, report)
    columns = ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TABLE raw_records ({columns})")
    for _ in parts:
        con.execute("INSERT INTO raw_records SELECT * FROM raw_part")
    if load_files(source).context:
        read_context(con, source, context_files, "raw_records", workdir, report)
        con.execute("""
            CREATE OR REPLACE TABLE raw_records AS
            SELECT r.* REPLACE (
                c.context_title AS context_title, c.context_text AS context_text)
            FROM raw_records r LEFT JOIN context c USING (context_id)
        """)
        con.execute("DROP TABLE context")
    return report


def apply_rules(
    con: duckdb.DuckDBPyConnection,
    source: str,
    thresholds: Strict,
    core_table: str = "core",
    forgotten: Collection[str] = (),
) -> dict[str, int]:
    """Split the table `raw_records` of a whole slice into the tables `kept` and `dropped`; see `SliceFilter`, also for what it returns.

    Args:
        core_table: only for a source with a core: the core of all slices, with a column slice.
    """
    with tempfile.TemporaryDirectory() as folder:
        core = f"(SELECT row_no, reason FROM {core_table} SEMI JOIN (SELECT slice FROM raw_records) USING (slice))"
        rules = SliceFilter(con, source, thresholds, Path(folder), core, forgotten)
        con.execute(
            "CREATE OR REPLACE TEMP MACRO raw_records_of(rows) AS TABLE FROM raw_records SEMI JOIN query_table(rows) USING (row_no)"
        )
        rules.take("raw_records")
        rules.gather()
        counts = rules.finish()
        for name in ("kept", "dropped"):
            con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {name}_rows")
    return counts
