"""Taking ids out of text: Dagster's records of past runs name failing rows, and must not go on naming a forgotten user.

Only the ids and the values shown beside them are replaced; runs, times, data versions and counts stay. What belongs here: text
in SQLite files and logs. What does not: tables (`takedown.py`).
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPLACED = "[forgotten]"
_TIMEOUT_S = 60
_SQLITE = b"SQLite format 3\x00"


class Mentions:
    """The ids of a user and the user's records, found as whole ids: `reddit/al` is not in `reddit/alice`; and the user's words.

    Args:
        holds_words: whether a text holds words of the user.
    """

    def __init__(self, ids: Sequence[str], holds_words: Callable[[str], bool] = lambda text: False) -> None:
        forms = {form for i in ids for form in (i, json.dumps(i)[1:-1])}  # JSON writes letters beyond ASCII as \u escapes
        listed = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._pattern = re.compile(rf"(?:{listed})(?![\w-])")  # what stands before it may be the `n` of an escaped line end
        self._holds_words = holds_words

    def found(self, text: str) -> bool:
        """Whether a text names the user or one of the user's records, or holds words of the user."""
        return bool(self._pattern.search(text)) or self._holds_words(text)

    def scrub(self, text: str) -> str:
        """The text without the ids; in JSON, a value that stands beside such an id goes too."""
        try:
            content = json.loads(text)
        except ValueError:
            return self._replace(text)
        return json.dumps(self._walk(content)) + text[len(text.rstrip("\n")) :]

    def _replace(self, text: str) -> str:
        return REPLACED if self._holds_words(text) else self._pattern.sub(REPLACED, text)

    def _walk(self, node: Any) -> Any:
        if isinstance(node, str):
            return self._replace(node)
        if isinstance(node, list):
            return [self._walk(child) for child in node]
        if isinstance(node, dict):
            row = isinstance(node.get("id"), str) and self.found(node["id"])  # of a failing row: id and value
            return {key: REPLACED if row and key in ("id", "value") else self._walk(child) for key, child in node.items()}
        return node


def scrub_folder(folder: Path, mentions: Mentions) -> int:
    """Scrub every SQLite file and every text file below a folder; returns the rows and files that were changed."""
    changed = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm"))):
        with path.open("rb") as f:
            is_database = f.read(len(_SQLITE)) == _SQLITE
        changed += _scrub_database(path, mentions) if is_database else _scrub_text(path, mentions)
    return changed


def _scrub_text(path: Path, mentions: Mentions) -> int:
    content = path.read_text(encoding="utf-8", errors="surrogateescape")
    if not mentions.found(content):
        return 0
    lines = "".join(mentions.scrub(line) if mentions.found(line) else line for line in content.splitlines(keepends=True))
    path.write_text(lines, encoding="utf-8", errors="surrogateescape")
    return 1


def _scrub_database(path: Path, mentions: Mentions) -> int:
    """Every text column of every table; the file is written anew, and its write-ahead log emptied (see `Journal.purge`)."""
    changed = 0
    db = sqlite3.connect(path, timeout=_TIMEOUT_S, isolation_level=None)
    try:
        db.create_function("mentions", 1, lambda v: isinstance(v, str) and mentions.found(v), deterministic=True)
        db.create_function("scrub", 1, mentions.scrub, deterministic=True)
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        for table in tables:
            for _, column, *_ in db.execute(f'PRAGMA table_info("{table}")').fetchall():
                query = f'UPDATE "{table}" SET "{column}" = scrub("{column}") WHERE mentions("{column}")'
                changed += db.execute(query).rowcount
        db.execute("VACUUM")  # also where nothing is changed: free space may hold what was deleted before
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
    return changed
