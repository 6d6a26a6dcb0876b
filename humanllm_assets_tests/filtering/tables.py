"""Small tables of invented records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb

START = datetime(2020, 1, 1)
_COLUMNS = """record_id varchar, source varchar, slice varchar, user_id varchar, created_at timestamp, title varchar,
    text varchar, n_chars integer, context_id varchar, context_title varchar, context_text varchar, rating double"""
ENGLISH = "Yesterday I walked to the lake with my sister and we talked about how strange it felt to be home again."


def record(record_id: str, user: str = "a", day: float = 0, text: str = ENGLISH, **columns: Any) -> dict[str, Any]:
    row = {
        "record_id": record_id,
        "source": "reddit",
        "slice": "s",
        "user_id": f"reddit/{user}",
        "created_at": START + timedelta(days=day),
        "title": None,
        "text": text,
        "n_chars": len(text),
        "context_id": None,
        "context_title": None,
        "context_text": None,
        "rating": None,
    }
    return {**row, **columns}


def with_table(rows: Sequence[dict[str, Any]], table: str = "records") -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"create table {table} ({_COLUMNS})")
    if rows:
        con.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", [list(r.values()) for r in rows])
    return con


def column(con: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return [row[0] for row in con.execute(query).fetchall()]
