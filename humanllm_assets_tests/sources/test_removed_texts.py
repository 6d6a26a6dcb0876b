"""Reddit texts that are gone: by placeholders, by tools that overwrite them, by flags of the dump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import read, table, write_lines
from humanllm_assets_tests.whole_slice import apply_rules
from resources.sources import CommentRules, RedditRules

GONE = [
    "[removed]",
    " [DELETED] ",
    "\\[deleted\\]",
    "*[removed]*",
    "\u200b[deleted]\u00a0",
    "[ Removed by Reddit ]",
    "[Removed by moderator]",
    "[deleted by user]",
    "Deleted by user",
    "Comment removed by moderator",
    "[ Removed by reddit in response to a copyright notice. ]",
    "[ Removed by Reddit on account of violating the [content policy](/help/contentpolicy). ]",
    "Sorry, this post was deleted by the person who originally posted it.",
    "plum river seven kettle\n\n*This post was mass deleted and anonymized with [Redact](https://redact.dev)*",
    "This comment has been overwritten by an open source script to protect this user's privacy.",
    "[This comment has been deleted]",
    "This content has been edited in protest of the API changes. So long.",
]
THERE = [
    "I deleted my post because nobody answered.",
    "[Deleted] the app yesterday and I feel great about it",
    "My comment was removed by a mod and I am mad about it, what did I do wrong",
    "[Serious] What happened?",
    "What does [removed] mean here?",
    "How do I redact my name in a letter?",
    "This comment was the best thing of my day",
]
FLAGS: list[dict[str, Any]] = [
    {"removed_by_category": "deleted"},
    {"removed_by_category": "moderator"},
    {"removed_by": "somebody"},
    {"banned_by": "true"},
    {"_meta": {"was_deleted_later": True, "retrieved_2nd_on": 1}},
    {"_meta": {"removal_type": "removed by reddit"}},
]
NO_FLAGS: list[dict[str, Any]] = [
    {"removed_by_category": None, "removed_by": None, "banned_by": None, "_meta": None},
    {"banned_by": False, "_meta": {"is_edited": True, "removal_type": None, "was_deleted_later": False}},
]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"threads": 2})
    yield connection
    connection.close()


def reasons(con: duckdb.DuckDBPyConnection, source: str, rules: Any) -> dict[str, str]:
    apply_rules(con, source, rules)
    found = {row["record_id"]: row["reason"] for row in table(con, "dropped")} | dict.fromkeys(
        (row["record_id"] for row in table(con, "kept")), "kept"
    )
    return {name.split("_")[-1]: reason for name, reason in found.items()}


@pytest.mark.parametrize("field", ["selftext", "title"])
def test_a_post_without_its_text_or_title_is_dropped(tmp_path: Path, con: duckdb.DuckDBPyConnection, field: str) -> None:
    made = [rows.submission(id=f"g{i}", author=f"u{i}", **{field: text}) for i, text in enumerate(GONE)]
    made += [
        rows.submission(id=f"t{i}", author=f"v{i}", **{field: text, "title" if field == "selftext" else "selftext": rows.STORY})
        for i, text in enumerate(THERE)
    ]
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", made)])
    found = reasons(con, "reddit", RedditRules())
    assert found == {f"g{i}": "removed_text" for i in range(len(GONE))} | {f"t{i}": "kept" for i in range(len(THERE))}
    assert not [row for row in table(con, "raw_records") if field == "selftext" and row["removed"] and row["text"] != "A day"]


def test_a_comment_that_is_gone_is_dropped(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    made = [rows.comment(id=f"g{i}", author=f"u{i}", body=text) for i, text in enumerate(GONE)]
    made += [rows.comment(id=f"t{i}", author=f"v{i}", body=text) for i, text in enumerate(THERE)]
    posts = write_lines(tmp_path / "RS.ndjson", [rows.submission()])
    read(con, "reddit_comments", [write_lines(tmp_path / "RC.ndjson", made)], [posts])
    found = reasons(con, "reddit_comments", CommentRules(min_chars=1))
    assert found == {f"g{i}": "removed_text" for i in range(len(GONE))} | {f"t{i}": "kept" for i in range(len(THERE))}


def test_a_text_that_was_taken_away_later_is_dropped_unless_the_threshold_lets_it(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    flags = {**{f"w{i}": flag for i, flag in enumerate(FLAGS)}, **{f"n{i}": flag for i, flag in enumerate(NO_FLAGS)}}
    posts = [rows.submission(id=name, author=name, **flag) for name, flag in flags.items()]
    read(con, "reddit", [write_lines(tmp_path / "RS.ndjson", posts)])
    wanted = {name: "removed_text" if name.startswith("w") else "kept" for name in flags}
    assert reasons(con, "reddit", RedditRules()) == wanted
    assert set(reasons(con, "reddit", RedditRules(drop_withdrawn=False)).values()) == {"kept"}
    comments = [rows.comment(id=name, author=name, **flag) for name, flag in flags.items()]
    read(con, "reddit_comments", [write_lines(tmp_path / "RC.ndjson", comments)])
    assert reasons(con, "reddit_comments", CommentRules()) == wanted
    assert set(reasons(con, "reddit_comments", CommentRules(drop_withdrawn=False)).values()) == {"kept"}
