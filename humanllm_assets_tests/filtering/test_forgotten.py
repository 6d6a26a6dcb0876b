"""What the rules do with forgotten users: their rows are counted and gone, and nobody else's fate changes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets.lineage.tombstones import user_hash
from humanllm_assets_tests.filtering.tables import column, record, with_table
from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import read, table, write_lines
from humanllm_assets_tests.whole_slice import apply_rules
from resources.sources import AmazonRules, CommentRules, RedditRules
from resources.thresholds import Caps


@pytest.fixture
def con():
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def test_records_of_a_forgotten_user_are_counted_without_a_row(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    posts = [rows.submission(id=f"p{i}", author=a, selftext=f"{i} {rows.STORY}") for i, a in enumerate(("alice", "bob", "alice"))]
    posts.append(rows.submission(id="p9", author="alice", score=0))
    read(con, "reddit", [write_lines(tmp_path / "RS.ndjson", posts)])
    counts = apply_rules(con, "reddit", RedditRules(), forgotten=[user_hash("reddit/alice")])
    assert {reason: n for reason, n in counts.items() if n} == {"forgotten": 3}
    assert [row["user_id"] for row in table(con, "kept")] == ["reddit/bob"] and table(con, "dropped") == []


def test_an_answer_to_a_forgotten_author_stays_eligible_and_holds_the_posts_id_alone(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    comments = [rows.comment(id="c1", author="bob"), rows.comment(id="c2", author="carol", link_id="t3_p2")]
    comments.append(rows.comment(id="c3", author="alice", link_id="t3_p2"))
    read(con, "reddit_comments", [write_lines(tmp_path / "RC.ndjson", comments)])
    counts = apply_rules(con, "reddit_comments", CommentRules(), forgotten=[user_hash("reddit/alice")])
    assert {reason: n for reason, n in counts.items() if n} == {"forgotten": 1}
    found = {row["user_id"]: (row["context_id"], row["context_title"], row["context_text"]) for row in table(con, "kept")}
    assert found == {"reddit/bob": ("reddit:t3_p1", None, None), "reddit/carol": ("reddit:t3_p2", None, None)}


def test_a_takedown_takes_no_review_from_anybody_else(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    rules = AmazonRules(min_user_purchases=2, min_item_purchases=2)  # without u1 nobody would be left
    reviews = [
        rows.review_2023(user_id=user, parent_asin=item, text=f"{user} {item} {rows.STORY}", timestamp=1_600_000_000 + n)
        for n, (user, item) in enumerate((u, i) for u in ("u1", "u2") for i in ("i1", "i2"))
    ]
    path = write_lines(tmp_path / "a.jsonl", reviews)
    read(con, "amazon", [path])
    amazon_candidates(con, rules)
    amazon_core(con, rules)
    forgotten = user_hash("amazon/u1")
    read(con, "amazon", [path])
    counts = apply_rules(con, "amazon", rules, "core_verdicts", [forgotten])
    assert {reason: n for reason, n in counts.items() if n} == {"forgotten": 2}
    assert {row["user_id"] for row in table(con, "kept")} == {"amazon/u2"}


def test_the_place_of_a_forgotten_user_stays_empty() -> None:
    users = sorted("abcd", key=lambda u: user_hash(f"reddit/{u}"))
    everyone = [record(f"r{u}{d}", user=u, day=d) for u in users for d in range(2)]
    con = with_table([r for r in everyone if r["user_id"] != f"reddit/{users[0]}"])
    select_for_llm(con, Caps(max_users_per_slice=2), [user_hash(f"reddit/{users[0]}")])
    assert set(column(con, "select user_id from selected")) == {f"reddit/{users[1]}"}
    select_for_llm(con, Caps(max_users_per_slice=2))
    assert set(column(con, "select user_id from selected")) == {f"reddit/{users[1]}", f"reddit/{users[2]}"}


@pytest.mark.parametrize("caps", [Caps(max_records_per_user=2), Caps(max_users_per_slice=1), Caps(min_records_in_slice=3)])
@pytest.mark.parametrize("gone", [(), ("p0",), ("p1", "p2"), ("p0", "p1", "p2", "p3")])
def test_answers_to_forgotten_posts_go_and_nothing_moves_up_in_their_place(caps: Caps, gone: tuple[str, ...]) -> None:
    con = with_table([record(f"c{u}{n}", user=u, context_id=f"p{n % 5}") for u in "abc" for n in range(6)])
    con.execute("create table posts as select unnest(['p0', 'p1', 'p2', 'p3']) as record_id")  # p4 was never filtered
    select_for_llm(con, caps, (), "posts")
    before = con.execute("select record_id from selected where context_id not in (select unnest(?))", [list(gone)]).fetchall()
    con.execute("delete from posts where record_id in (select unnest(?))", [list(gone)])
    select_for_llm(con, caps, (), "posts", [user_hash(p) for p in gone])
    assert sorted(con.execute("select record_id from selected").fetchall()) == sorted(before)
    orphans = con.execute("select count(*) from records where context_id not in (from posts)").fetchall()[0][0]
    reasons = dict(con.execute("select reason, count(*) from capped group by 1").fetchall())
    assert reasons["post_not_filtered"] == orphans
    assert sum(reasons.values()) + len(before) == 18
