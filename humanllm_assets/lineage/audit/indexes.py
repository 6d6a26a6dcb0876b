"""Files that make audits quick: computed from snapshots, no part of any identity, safe to delete at any time.

    audit_index/<sha256 of a Parquet file>.parquet     ids of a large table and the rows that they stand in, sorted by id
    audit_index/<sha256 of a manifest>-totals.json     what a checkpoint consumed: the numbers that `audit checkpoint` prints
    audit_index/<two such>-diff.json                   records, users and samples that only one of two consumed

Each is named by the content that it was made from, so it cannot be out of date; it is made at the first question that needs it.
Where the data home cannot be written, questions are answered from the tables themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.lineage.manifests import Snapshot
from humanllm_assets.sql import literal, parquet
from resources.files import write_atomically

INDEX_FROM_ROWS = 10_000  # smaller tables are read whole in less time than an index takes to open
# Columns that hold ids of records, items and samples; equal ids mean the same thing wherever they stand.
ID_COLUMNS = ("record_id", "record_ids", "item_id", "item_ids", "sample_id", "target_record_id", "context_id", "user_id")


def read_columns(s: Snapshot, table: str) -> dict[str, str]:
    """Name and type of a table's columns, as the manifest states them."""
    return dict(s.manifest.identity["columns"][table])


def list_id_expressions(table: str, columns: Mapping[str, str], leave_out: str = "") -> list[str]:
    """SQL for the ids of a row, one id or a list of ids each. An id of a failure may be that of a record or user and `#`."""
    found = [c for c in ID_COLUMNS if c in columns and c != leave_out]
    return found + (["split_part(item_id, '#', 1)"] if table == "failures" else [])


def index_folder(home: Path) -> Path:
    """Where indexes lie; safe to delete."""
    return home / "audit_index"


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> bool:
    """Write a query's result so that a reader sees all of it or nothing. False when the folder cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    except OSError:
        return False
    os.close(handle)
    try:
        con.execute(f"copy ({query}) to {literal(temporary)} (format parquet, compression zstd, row_group_size 10240)")
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return True


def ensure_index(con: duckdb.DuckDBPyConnection, home: Path, s: Snapshot, table: str) -> Path | None:
    """The index of a large table, made when it is missing; None when it cannot be written.

    Columns: key UBIGINT (64 bits of the id's MD5), row BIGINT (number in the file, from 0); sorted by both. The table's first
    column is left out: the table is sorted by it already.
    """
    file = s.manifest.tables[table].file
    path = index_folder(home) / f"{s.manifest.files[file].sha256}.parquet"
    if path.is_file():
        return path
    columns = read_columns(s, table)
    source = parquet([s.folder / file], "file_row_number")
    parts = []
    for expression in list_id_expressions(table, columns, leave_out=next(iter(columns))):
        value = f"unnest({expression})" if columns.get(expression, "").endswith("[]") else expression
        parts.append(f"select {value} as id, file_row_number as row from {source}")
    if not parts:
        return None
    query = f"select md5_number_lower(id) as key, row from ({' union all '.join(parts)}) where id is not null order by all"
    return path if _write(con, query, path) else None


def remember(
    home: Path, name: str, checkpoint: Snapshot, compute: Callable[[], dict[str, Any]], fresh: bool = False
) -> dict[str, Any]:
    """Numbers about a checkpoint, computed once where they take long. `fresh` computes them again whatever is remembered.

    Args:
        name: file name without its ending; made of the hashes of all manifests that the numbers follow from.
        checkpoint: whose table `consumed` says whether it takes long.
    """
    if checkpoint.manifest.tables["consumed"].rows < INDEX_FROM_ROWS:
        return compute()
    path = index_folder(home) / f"{name}.json"
    if path.is_file() and not fresh:
        return json.loads(path.read_bytes())
    found = compute()
    with contextlib.suppress(OSError):  # the data home cannot be written: computed again the next time
        write_atomically(path, json.dumps(found, indent=1).encode())
    return found


def select_totals(checkpoint: Snapshot, parents: list[Snapshot]) -> str:
    """SQL for what a checkpoint consumed: source, task, user_id, split VARCHAR, samples BIGINT (distinct), consumed BIGINT.

    A consumed sample that no parent holds has a null split, and its source is what its id begins with: it was mixed in.

    Args:
        parents: snapshots that the checkpoint was trained on.
    """
    return f"""
        select coalesce(d.source, split_part(c.sample_id, ':', 1)) as source, coalesce(d.task, 'not_in_parents') as task, d.user_id,
               d.split, count(*)::bigint as samples, sum(c.n)::bigint as consumed
        from (select sample_id, count(*) as n from {parquet([checkpoint.path("consumed")])} group by 1) c
        left join ({select_training_rows(parents)}) d using (sample_id) group by all
    """


def select_training_rows(parents: list[Snapshot], more: str = "") -> str:
    """SQL over everything that a checkpoint could be trained on: sample_id, source, task, user_id, split and `more` columns of
    samples. Records that were trained on as they are (raw continuation) count as samples."""
    samples = [s.path("samples") for s in parents if "samples" in s.manifest.tables]
    records = [s.path("records") for s in parents if "samples" not in s.manifest.tables and "records" in s.manifest.tables]
    parts = []
    if samples:
        parts.append(f"select sample_id, source, task, user_id, split{more} from {parquet(samples)}")
    if records:
        parts.append(
            "select record_id as sample_id, any_value(source) as source, 'raw_continuation' as task, any_value(user_id) as user_id, "
            f"'train' as split from {parquet(records)} group by 1"
        )
    if not parts:
        columns = ("sample_id", "source", "task", "user_id", "split")
        return f"select {', '.join(f'null::varchar as {c}' for c in columns)} where false"
    return " union all by name ".join(parts)
