"""Rows have the numbers of their places in the file, however many threads read it: duplicates are told and problems found by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.sources.layouts import detect_layout, load_files
from humanllm_assets.sources.readers import create_macros
from humanllm_assets.sources.staging import stage_files
from humanllm_assets_tests.sources import rows

ROWS, BROKEN = 60_000, 45_678  # 25 to 45 MB: more than one thread reads at once; and the line of one that is no JSON

Write = Callable[[Path, list[dict[str, Any]]], Path]


def write_parquet(folder: Path, given: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(given), folder / "a.parquet", row_group_size=5_000)
    return folder / "a.parquet"


def write_lines(folder: Path, given: list[dict[str, Any]]) -> Path:
    return rows.write_lines(folder / "a.jsonl", given)


def write_reddit(folder: Path, given: list[dict[str, Any]]) -> Path:
    return rows.write_lines(folder / "a.ndjson", [b"{" if i == BROKEN - 1 else row for i, row in enumerate(given)])


@pytest.mark.parametrize(
    ("source", "make", "key", "write"),
    [
        ("reddit", rows.submission, "id", write_reddit),
        ("reddit", rows.submission, "id", write_parquet),
        ("reddit_comments", rows.comment, "id", write_reddit),
        ("twitter", rows.tweet, "user", write_parquet),
        ("amazon", rows.review_2023, "user_id", write_lines),
        ("amazon", rows.review_2018, "reviewerID", write_lines),
    ],
)
def test_rows_are_numbered_in_the_order_of_their_file(
    tmp_path: Path, source: str, make: Callable[..., dict[str, Any]], key: str, write: Write
) -> None:
    path = write(tmp_path, [make(**{key: f"{i:05}"}) for i in range(1, ROWS + 1)])
    with duckdb.connect(config={"threads": 4}) as con:
        create_macros(con)
        con.execute("SET preserve_insertion_order = true")
        found, bad = [], []
        for part in stage_files(con, {path: detect_layout(load_files(source).records, path)}, tmp_path / "work"):
            found += con.execute(f'SELECT row_no, "{key}" FROM chunk ORDER BY row_no').fetchall()
            bad += [(row.line, row.raw) for row in part.bad]
    broken = [BROKEN] if write is write_reddit else []
    assert bad == [(line, "{") for line in broken]
    assert found == [(i, f"{i:05}") for i in range(1, ROWS + 1) if i not in broken]
