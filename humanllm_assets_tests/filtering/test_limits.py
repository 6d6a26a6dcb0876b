"""The limits of rules F1-F4, exactly: what reaches a limit is kept, what is one below it is dropped by that rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import read, write_lines
from humanllm_assets_tests.whole_slice import apply_rules
from resources.sources import AmazonRules, BloggerRules, CommentRules, RedditRules, TwitterRules

RULES: dict[str, BaseModel] = {
    "reddit": RedditRules(),
    "reddit_comments": CommentRules(),
    "twitter": TwitterRules(),
    "blogger": BloggerRules(min_age=18),
    "amazon": AmazonRules(min_user_purchases=1, min_item_purchases=1),
}
LIMITS = [
    *((source, "n_chars", "min_chars", "too_short") for source in RULES),
    ("reddit", "score", "min_score", "low_score"),
    ("reddit", "num_comments", "min_comments", "few_comments"),
    ("reddit_comments", "score", "min_score", "low_score"),
    ("blogger", "age", "min_age", "too_young"),
]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def read_one(con: duckdb.DuckDBPyConnection, source: str, folder: Path) -> None:
    """One record of the source that no rule drops, as `raw_records`."""
    if source == "reddit":
        read(con, source, [write_lines(folder / "a.ndjson", [rows.submission()])])
    elif source == "reddit_comments":
        posts = write_lines(folder / "RS.ndjson", [rows.submission()])
        read(con, source, [write_lines(folder / "RC.ndjson", [rows.comment()])], [posts])
    elif source == "twitter":
        pq.write_table(pa.Table.from_pylist([rows.tweet()]), folder / "a.parquet")
        read(con, source, [folder / "a.parquet"])
    elif source == "blogger":
        path = folder / "7.male.26.indUnk.Virgo.xml"
        path.write_text(f"<Blog><date>08,July,2004</date><post>I walked. {'x ' * 150}</post></Blog>")
        read(con, source, [path])
    else:
        read(con, source, [write_lines(folder / "a.jsonl", [rows.review_2023()])])
        con.execute("create table core as select slice, row_no, null::varchar as reason from raw_records")


@pytest.mark.parametrize(("source", "column", "threshold", "reason"), LIMITS)
def test_a_limit_is_reached_by_its_own_number(
    source: str, column: str, threshold: str, reason: str, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rules = RULES[source]
    limit = getattr(rules, threshold)
    read_one(con, source, tmp_path)
    for value, dropped in ((limit, {}), (limit - 1, {reason: 1})):
        con.execute(f"update raw_records set {column} = {value}")
        counts = apply_rules(con, source, rules)
        assert {k: n for k, n in counts.items() if n} == dropped
