"""Writing the rows of a query in the order of a column, also where they are more than memory holds.

DuckDB spills the column that it sorts by, but holds long texts beside it, so that it can sort fewer of them than it has memory. What
belongs here: this one way of writing. What does not: what is written."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb

from humanllm_assets.sql import literal, parquet

_RANGE_SHARE = 0.125  # of DuckDB's memory, for the rows that are sorted at once; their sizes differ
_SAMPLED = 20_000  # rows, of which the ranges are told
_LEAST_GROUP_ROWS = 2_048
_GROUP_ROWS = 20_480  # of a Parquet file: every thread holds so many until they are written, and a row can be a whole text


def copy_sorted(con: duckdb.DuckDBPyConnection, query: str, key: str, target: Path) -> None:
    """Write the rows of a query as one Parquet file, sorted by a column, nulls last.

    The query is asked again where its result is too large to be sorted at once.
    """
    try:
        _copy(con, f'from ({query}) order by "{key}"', target)
    except duckdb.OutOfMemoryException:
        _copy_in_ranges(con, query, f'"{key}"', target)


def _copy(con: duckdb.DuckDBPyConnection, query: str, target: Path, compression: str = "zstd", group: int = _GROUP_ROWS) -> None:
    con.execute(f"copy ({query}) to {literal(target)} (format parquet, compression {compression}, row_group_size {group})")


def _copy_in_ranges(con: duckdb.DuckDBPyConnection, rows: str, key: str, target: Path) -> None:
    """Write rows sorted by a column, one range of its values after the other, each small enough to be sorted."""
    unsorted = target.with_suffix(".unsorted")
    _copy(con, rows, unsorted, "snappy", _LEAST_GROUP_ROWS)
    there = parquet([unsorted])
    size, count = con.execute(
        f"select sum(total_uncompressed_size), (select count(*) from {there}) from parquet_metadata({literal(unsorted)})"
    ).fetchall()[0]
    limit = _RANGE_SHARE * con.execute("select parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0][0]
    shares = [i * limit / size for i in range(1, math.ceil(size / limit))]
    sample = f"select {key} from {there} using sample reservoir({_SAMPLED} rows) repeatable (1)"
    ends = sorted({*con.execute(f"select quantile_disc({key}, {shares}) from ({sample})").fetchall()[0][0]}) if shares else []
    place = " + ".join(["0", *(f"({key} >= {literal(end)})::integer" for end in ends)])  # number of a row's range
    ranges = [target.with_suffix(f".range{i}") for i in range(len(ends) + 1)]
    for i, path in enumerate(ranges):
        within = f"coalesce({place}, {len(ends)}) = {i}"  # nulls come last
        _copy(con, f"from {there} where {within} order by {key}", path, "snappy", _LEAST_GROUP_ROWS)
    unsorted.unlink()
    _copy(con, f"from {parquet(ranges)}", target, group=max(_LEAST_GROUP_ROWS, min(_GROUP_ROWS, int(limit * count / size))))
    for path in ranges:
        path.unlink()
