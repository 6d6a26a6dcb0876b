"""The answer journal: every LLM answer ever got, so that no question is asked twice.

One SQLite file, `<home>/journal/answers.sqlite`, in WAL mode: any number of threads and processes write to it at once. Answers are
committed in groups, and count as in flight until then (`journal_group.py`), so that a crash loses at most the answers in flight.

What belongs here: storing and finding answers by their key. What does not: deciding whether an answer is good (`open_request.py`);
cut-off and invalid answers are stored like any other.

Table `answers`, one row per question asked:
    key VARCHAR             sha256 of what decides the answer, see `answer_key`
    model, role, subject, item_key VARCHAR   model name, call label, user id, item id (for audits and takedown)
    prompt_tokens, output_tokens INTEGER     as the server counted them
    finish_reason VARCHAR   `stop` or `length`
    content VARCHAR         the raw reply
    content_sha256 VARCHAR  of the UTF-8 content
    top_logprobs VARCHAR    JSON list of [token, log-probability] of the first token
    created_at VARCHAR      UTC, ISO 8601
    row_sha256 VARCHAR      of all columns before it, checked by `check_rows`; a journal of an older version gains it when it is opened
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from resources.canonical import canonical_json, encode_plain
from resources.errors import Explained

COLUMNS = (
    "key",
    "model",
    "role",
    "subject",
    "item_key",
    "prompt_tokens",
    "output_tokens",
    "finish_reason",
    "content",
    "content_sha256",
    "top_logprobs",
    "created_at",
)
BUSY_TIMEOUT_S = 120  # writers of other processes hold the lock for milliseconds; a slow disk can make it seconds
_READ = [c for c in COLUMNS if c not in ("content_sha256", "created_at")]
_IN_ONE_QUERY = 500  # keys per SELECT, below SQLite's limit of bound variables

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, role TEXT NOT NULL, subject TEXT NOT NULL, item_key TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, finish_reason TEXT NOT NULL,
    content TEXT NOT NULL, content_sha256 TEXT NOT NULL, top_logprobs TEXT NOT NULL, created_at TEXT NOT NULL,
    row_sha256 TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_subject ON answers (subject);
"""
_OBJECTS = {("table", "answers"), ("index", "answers_subject")}  # all that the file declares: no trigger, no view


class JournalInUse(Explained):
    """Deleted answers could not be overwritten in the write-ahead log."""


class JournalDamaged(Explained):
    """The journal's rows cannot be read, so that nobody knows whom its answers are about."""


class CheckedRow(NamedTuple):
    """One stored answer, read again. `sound`: its hash is that of its columns; `digest` is `Answer.digest`, empty if not sound."""

    key: str
    item_key: str
    sound: bool
    digest: bytes


@dataclass(frozen=True)
class Answer:
    """One journalled reply. `top`: the first token's (token, log-probability) pairs, best first."""

    key: str
    model: str
    role: str
    subject: str
    item_key: str
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    content: str
    top: tuple[tuple[str, float], ...] = ()

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that the journal holds of the answer but its time: what a step binds in its manifest."""
        return hashlib.sha256(canonical_json(list(vars(self).values()))).digest()


def answer_key(
    model: bytes,
    messages: Sequence[tuple[str, str]],
    schema: bytes,
    sampling: dict[str, Any],
    logprobs: int,
) -> str:
    """The key of a question: model name and revision, rendered messages, schema as sent, sampling with seed and budget.

    It is the SHA-256 of the canonical JSON of an object with these names. Endpoints, concurrency and batch size are execution: they do
    not reach this function.

    Args:
        model, schema: their canonical JSON, which many questions share.
    """
    parts = (logprobs, encode_plain(messages), model, canonical_json(sampling), schema)
    return hashlib.sha256(b'{"logprobs":%d,"messages":%b,"model":%b,"sampling":%b,"schema":%b}' % parts).hexdigest()


def _sha256(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _row_sha256(*columns: Any) -> str:
    """What binds a row: SHA-256 of its columns as they are stored."""
    return _sha256(json.dumps(columns, default=repr))  # repr: a value of a type that was never written


def _read_answer(fields: Sequence[Any], top: str) -> Answer:
    """The answer of a row: the columns of `_READ`, the last one apart."""
    return Answer(*fields, top=tuple((token, value) for token, value in json.loads(top)))


class Journal:
    """The journal of a home folder; created when absent. Safe to share between threads.

    With `read_only` nothing is created or changed: an absent journal is an empty one, also on a disk that cannot be written.

    Raises:
        sqlite3.DatabaseError: the file is no journal.
    """

    def __init__(self, home: Path, *, read_only: bool = False):
        self.path = home / "journal" / "answers.sqlite"
        self._lock = threading.Lock()
        if read_only:
            # Not SQLite's own read-only mode, which leaves its two side files behind; where they cannot be made, nobody writes.
            mode = "mode=rw" if os.access(self.path.parent, os.W_OK) else "mode=ro&immutable=1"
            where = f"{self.path.absolute().as_uri()}?{mode}" if self.path.is_file() else ":memory:"
            self._db = sqlite3.connect(where, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            if where == ":memory:":
                self._db.executescript(_SCHEMA)
            self._db.execute("PRAGMA query_only=ON")
            self._db.execute("SELECT key FROM answers LIMIT 1").fetchall()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        if not self._has_row_hashes():
            self._add_row_hashes()

    def _has_row_hashes(self) -> bool:
        return any(column[1] == "row_sha256" for column in self._db.execute("PRAGMA table_info(answers)"))

    def _add_row_hashes(self) -> None:
        """Bind the rows of a journal that an older version wrote; other processes wait. Keys and answers stay as they are."""
        self._db.create_function("row_hash", -1, _row_sha256, deterministic=True)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if not self._has_row_hashes():
                self._db.execute("ALTER TABLE answers ADD COLUMN row_sha256 TEXT NOT NULL DEFAULT ''")
                self._db.execute(f"UPDATE answers SET row_sha256 = row_hash({', '.join(COLUMNS)})")

    def about(self, subject: str, record: str | None = None) -> int:
        """How many answers are about a user, or about one record of the user: items are named by the record's id and `#`."""
        query, values = "SELECT count(*) FROM answers WHERE subject = ?", [subject]
        if record:
            query, values = f"{query} AND (item_key = ? OR item_key LIKE ? || '#%')", [subject, record, record]
        with self._lock:
            return self._db.execute(query, values).fetchone()[0]

    def get_many(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The stored answers among `keys`."""
        wanted, found = list(dict.fromkeys(keys)), {}
        for start in range(0, len(wanted), _IN_ONE_QUERY):
            part = wanted[start : start + _IN_ONE_QUERY]
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {', '.join(_READ)} FROM answers WHERE key IN ({','.join('?' * len(part))})",
                    part,
                ).fetchall()
            for *fields, top in rows:
                found[fields[0]] = _read_answer(fields, top)
        return found

    def known(self, keys: Iterable[str]) -> set[str]:
        """Which of `keys` have an answer; for cost forecasts."""
        wanted, found = list(dict.fromkeys(keys)), set()
        for start in range(0, len(wanted), _IN_ONE_QUERY):
            part = wanted[start : start + _IN_ONE_QUERY]
            with self._lock:
                rows = self._db.execute(f"SELECT key FROM answers WHERE key IN ({','.join('?' * len(part))})", part).fetchall()
            found.update(key for (key,) in rows)
        return found

    def put(self, answer: Answer) -> Answer:
        """Store an answer and return the one that is kept: when another process was first, its answer."""
        return self.put_many([answer])[0]

    def put_many(self, answers: Sequence[Answer]) -> list[Answer]:
        """Store answers in one commit, all of them or none, and return those that are kept, as `put` does."""
        if not answers:
            return []
        rows = [self._row(answer) for answer in answers]
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            cursor = self._db.executemany(
                f"INSERT INTO answers ({', '.join(COLUMNS)}, row_sha256) VALUES ({','.join('?' * len(COLUMNS))}, ?) "
                "ON CONFLICT (key) DO NOTHING",
                rows,
            )
        if cursor.rowcount == len(rows):
            return list(answers)
        kept = self.get_many([answer.key for answer in answers])
        return [kept[answer.key] for answer in answers]

    def _row(self, answer: Answer) -> tuple[Any, ...]:
        row = (
            answer.key,
            answer.model,
            answer.role,
            answer.subject,
            answer.item_key,
            answer.prompt_tokens,
            answer.output_tokens,
            answer.finish_reason,
            answer.content,
            _sha256(answer.content),
            json.dumps(answer.top),
            datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        return (*row, _row_sha256(*row))

    def read_texts(self, other_than: str) -> Iterator[str]:
        """What is stored about everybody but one user: item and answer of each row, read from the table and not by its index."""
        query = "SELECT item_key, content, top_logprobs FROM answers NOT INDEXED WHERE subject <> ?"
        with self._lock, self._explain_damage():
            for row in self._db.execute(query, (other_than,)):
                yield "\n".join(map(str, row))

    def purge(self, subject: str, mentions: Callable[[str], bool] = lambda text: False) -> list[str]:
        """Delete every answer about a user (takedown), or that mentions the user, and return their keys.

        No index is trusted: one that was damaged would hide answers. It is taken out of the file's declarations, all rows are
        read, and the file is written anew, index included. Written anew, because SQLite leaves copies of rows in the free space
        of pages when it balances its trees, which `secure_delete` of the rows that are deleted later does not reach. That takes
        room for a second copy while it runs.

        Args:
            mentions: whether a row's item or answer tells of the user.

        Raises:
            JournalInUse: another process uses the journal, so that it cannot be written anew.
            JournalDamaged: the rows cannot be read.
        """
        with self._lock, self._explain_damage():
            self._db.create_function("mentions", 1, mentions, deterministic=True)
            busy = 0
            try:
                self._db.executescript(
                    "PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE name = 'answers_subject'; PRAGMA writable_schema=RESET"
                )
                deleted = self._db.execute(
                    "DELETE FROM answers WHERE subject = ? OR mentions(item_key || char(10) || content || char(10) || top_logprobs) "
                    "RETURNING key",
                    (subject,),
                ).fetchall()
                self._db.execute("VACUUM")
                self._db.executescript(_SCHEMA)
                busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError as e:
                if "locked" not in str(e) and "busy" not in str(e):
                    raise
                busy = 1
        if busy:
            raise JournalInUse(f"another process uses {self.path}; end it, then purge again")
        return sorted(key for (key,) in deleted)

    @contextmanager
    def _explain_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as e:
            if "locked" in str(e) or "busy" in str(e) or "disk I/O" in str(e) or "full" in str(e):
                raise
            raise JournalDamaged(
                f"{self.path} is damaged ({e}), so whom its answers are about is not known; bring back a copy of it, or delete it: its "
                "answers are then asked again"
            ) from e

    def find_damage(self) -> list[str]:
        """What is wrong with the file itself: SQLite's integrity check, its index compared with its rows, and what it declares.

        Raises:
            sqlite3.DatabaseError: the file cannot be read.
        """
        with self._lock:
            found = [line for (line,) in self._db.execute("PRAGMA integrity_check(10)") if line != "ok"]
            declared = self._db.execute("SELECT type, name FROM sqlite_master").fetchall()
        return found + [f"it declares the {kind} {name}" for kind, name in declared if (kind, name) not in _OBJECTS]

    def check_rows(self) -> Iterator[CheckedRow]:
        """Every answer, by key, with its hash computed anew. A journal that no version with row hashes has opened for writing has
        the hash of the content alone."""
        bound = self._has_row_hashes()
        columns = (*COLUMNS, "row_sha256") if bound else COLUMNS
        content, stored = COLUMNS.index("content"), COLUMNS.index("content_sha256")
        with self._lock:
            for row in self._db.execute(f"SELECT {', '.join(columns)} FROM answers NOT INDEXED ORDER BY key"):
                sound = _row_sha256(*row[:-1]) == row[-1] if bound else _sha256(str(row[content])) == row[stored]
                *fields, top = (value for name, value in zip(columns, row, strict=True) if name in _READ)
                try:
                    digest = _read_answer(fields, top).digest if sound else b""
                except (ValueError, TypeError):
                    sound, digest = False, b""
                yield CheckedRow(str(row[0]), str(row[columns.index("item_key")]), sound, digest)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
