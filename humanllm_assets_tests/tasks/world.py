"""A small hand-made world for the tests of task data sets and benchmarks: every table that the builders read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from humanllm_assets.sql import Table, arrow_schema
from humanllm_assets.tables import FILTERED, PROFILES, SCENARIOS, SOCIAL_QA, TOPICS

START = datetime(2020, 1, 1)
_WORDS = (
    "river kettle morning bicycle garden ladder window orange paper candle bridge winter pocket silver market violin harbour "
    "letter mountain pepper blanket thunder basket lantern ribbon meadow anchor button copper saddle"
)
WORDS = _WORDS.split()


def prose(seed: int, words: int) -> str:
    """Different text for every seed, in sentences of eight words."""
    picked = [WORDS[(seed * 7 + i * (seed % 11 + 3)) % len(WORDS)] + (str(seed) if i % 8 == 0 else "") for i in range(words)]
    return " ".join(w + "." if i % 8 == 7 else w for i, w in enumerate(picked)) + "."


def record(source: str, user: str, number: int, **more: Any) -> dict[str, Any]:
    site = "reddit" if source == "reddit_comments" else source
    seed = sum(map(ord, source + user)) + number * 13
    row = {
        "record_id": f"{source}:{user}{number}",
        "source": source,
        "slice": "one",
        "user_id": f"{site}/{user}",
        "created_at": START + timedelta(days=number),
        "title": None,
        "text": prose(seed, 60 + number),
        "context_id": None,
        "context_title": None,
        "context_text": None,
        "rating": None,
        "quality": "high",
        "harmful": "no",
        **more,
    }
    return {**row, "n_chars": len(row["text"]), "original_chars": len(row["text"])}


def about(user_id: str, kind: str, text: str, record_ids: list[str], days: int) -> dict[str, Any]:
    return {
        "item_id": f"{user_id}#{kind}",
        "kind": kind,
        "user_id": user_id,
        "text": text,
        "n_words": len(text.split()),
        "record_ids": record_ids,
        "cutoff_at": START + timedelta(days=days),
        "cut_records": 0,
    }


def rows(users: int = 8, records: int = 8, items: int = 40) -> dict[str, list[dict[str, Any]]]:
    """Tables by name. Personas and the like are written from the first half of a user's records."""
    half = records // 2
    posts, comments, reviews, profiles, scenarios, qa = [], [], [], [], [], []
    for u in range(users):
        user = f"user{u:02d}"
        mine = [record("reddit", user, n, title=f"Title {n} of {user}") for n in range(records)]
        posts += mine
        for r in mine:
            r["text"] = f"{r['title']}\n\n{r['text']}"
            scenarios.append(
                {
                    "item_id": f"{r['record_id']}#scenario",
                    "record_id": r["record_id"],
                    "user_id": r["user_id"],
                    "created_at": r["created_at"],
                    "background": f"Background of {r['record_id']}",
                    "characters": f"Characters of {r['record_id']}",
                    "plots": prose(u * 100 + len(scenarios), 45),
                    "n_words": 45,
                }
            )
            qa.append(
                {
                    "item_id": f"{r['record_id']}#qa1",
                    "record_id": r["record_id"],
                    "user_id": r["user_id"],
                    "created_at": r["created_at"],
                    "kind": ("next_action", "mental_state", "social_reasoning")[len(qa) % 3],
                    "scenario": f"Situation of {r['record_id']}",
                    "question": f"What next, {r['record_id']}?",
                    "answer": prose(u * 100 + 50 + len(qa), 24),
                }
            )
        for n in range(records):
            post = f"reddit:user{(u + n) % users:02d}{n}"
            comments.append(record("reddit_comments", user, n, context_id=post, text=prose(u * 31 + n, 400 if n == 2 else 30)))
            item = (u * 3 + n * 5) % items
            reviews.append(
                record("amazon", user, n, rating=4.0, context_id=f"item{item:02d}", context_title=f"Item number {item:02d}")
            )
        for source, texts in (("reddit", mine), ("amazon", reviews[-records:])):
            used = [r["record_id"] for r in texts[:half]]
            who = f"{source}/{user}"
            profiles += [
                about(who, "persona", f"Persona of {who}.", used, half - 1),
                about(who, "profile", f"Profile of {who}. " + prose(u, 120), used, half - 1),
                about(who, "style", f"Style of {who}.", used, half - 1),
                about(
                    who,
                    "stories",
                    f"Summary: first of {who}\nStory: {prose(u + 5, 60)}\n\nSummary: second of {who}\nStory: {prose(u + 9, 50)}",
                    used,
                    half - 1,
                ),
            ]
    return {"records": posts + reviews, "comments": comments, "profiles": profiles, "scenarios": scenarios, "social_qa": qa}


_TABLES: dict[str, Table] = {
    "records": FILTERED,
    "comments": FILTERED,
    "profiles": PROFILES,
    "scenarios": SCENARIOS,
    "social_qa": SOCIAL_QA,
    "topics": TOPICS,
}


def topic(row: dict[str, Any]) -> dict[str, Any]:
    """The topic of a record."""
    named = {name: row[name] for name in ("record_id", "user_id")}
    return {"item_id": f"{row['record_id']}#topic", **named, "topic": f"What {row['record_id']} tells"}


def connect(tables: dict[str, list[dict[str, Any]]], reverse: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection that holds the tables, their Amazon records as the eligible ones, those of Reddit as posts, and a topic of every
    record where none are given."""
    tables = {"topics": [topic(row) for row in tables["records"]], **tables}
    con = duckdb.connect(config={"threads": 2})
    for name, content in tables.items():
        data = pa.Table.from_pylist(content[::-1] if reverse else content, schema=arrow_schema(_TABLES[name]))
        con.register(f"{name}_arrow", data)
        con.execute(f"create table {name} as select * from {name}_arrow")
    con.execute("create view eligible as select * from records where source = 'amazon'")
    con.execute("create view posts as select * from records where source = 'reddit'")
    return con
