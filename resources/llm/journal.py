"""The answer journal: every LLM answer ever got, so that no question is asked twice.

One SQLite file, `<home>/journal/answers.sqlite`, in WAL mode: any number of threads and processes write to it at once. Answers are
committed in groups, and count as in flight until then (`journal_group.py`), so that a crash loses at most the answers in flight.

What belongs here: storing and finding answers by their key. What does not: deciding whether an answer is good (`open_request.py`);
cut-off and invalid answers are stored like any other.

Table `answers`, one row per question asked, in the order of their arrival:
    id INTEGER              number of the row
    key BLOB                sha256 of what decides the answer, see `answer_key`
    model, role, subject, item_key VARCHAR   model name, call label, user id, item id (for audits and takedown)
    prompt_tokens, output_tokens INTEGER     as the server counted them
    finish_reason VARCHAR   `stop` or `length`
    content VARCHAR         the raw reply; BLOB: compressed by zlib, where that is shorter
    top_logprobs VARCHAR    JSON list of [token, log-probability] of the first token
    created_at INTEGER      milliseconds since 1970, UTC
    row_sha256 BLOB         of all columns before it but `id`, checked by `check_rows`

A row is appended and never moved, so pages are full; the keys, which are random, stand in an index of their own. With answers of 450
bytes the file has 1.2 to 1.3 times their size (`benchmarks/inference.py size`). A journal of an older version, whose file is three times
as large, becomes such a one when it is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
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
    "top_logprobs",
    "created_at",
)
BUSY_TIMEOUT_S = 120  # writers of other processes hold the lock for milliseconds; a slow disk can make it seconds
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_ALL = ", ".join(COLUMNS)
_IN_ONE_QUERY = 500  # keys per SELECT, below SQLite's limit of bound variables

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, model TEXT NOT NULL, role TEXT NOT NULL, subject TEXT NOT NULL,
    item_key TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, finish_reason TEXT NOT NULL,
    content NOT NULL, top_logprobs TEXT NOT NULL, created_at INTEGER NOT NULL, row_sha256 BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answers_key ON answers (key);
CREATE INDEX IF NOT EXISTS answers_subject ON answers (subject);
"""
_INSERT = f"INSERT INTO answers ({_ALL}, row_sha256) VALUES ({','.join('?' * len(COLUMNS))}, ?) ON CONFLICT (key) DO NOTHING"
_OBJECTS = {("table", "answers"), ("index", "answers_key"), ("index", "answers_subject")}  # all that the file declares
_OLD_COLUMNS = (*COLUMNS[:9], "content_sha256", *COLUMNS[9:])  # of the versions before, with `row_sha256` from 0.1 on


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


def bind_row(row: Sequence[Any]) -> bytes:
    """What binds a row: SHA-256 of its columns as they are stored."""
    return hashlib.sha256(json.dumps(row, default=lambda blob: {"blob": blob.hex()}).encode()).digest()


def _make_row(answer: Answer, created_at: int) -> tuple[Any, ...]:
    """The columns of an answer, with what binds them."""
    text = answer.content.encode()
    packed = zlib.compress(text)
    row = (
        bytes.fromhex(answer.key),
        answer.model,
        answer.role,
        answer.subject,
        answer.item_key,
        answer.prompt_tokens,
        answer.output_tokens,
        answer.finish_reason,
        packed if len(packed) < len(text) else answer.content,
        json.dumps(answer.top),
        created_at,
    )
    return (*row, bind_row(row))


def _read_content(content: str | bytes) -> str:
    return zlib.decompress(content).decode() if isinstance(content, bytes) else content


def _read_answer(row: Sequence[Any]) -> Answer:
    """The answer of a row.

    Raises:
        zlib.error, ValueError, TypeError: it is none.
    """
    key, *fields, content, top, _ = row
    pairs = tuple((token, value) for token, value in json.loads(top))
    return Answer(key.hex(), *fields, content=_read_content(content), top=pairs)


def _digest_row(*row: Any) -> bytes:
    """`Answer.digest` of a row with what binds it; empty where the two do not fit."""
    try:
        return _read_answer(row[:-1]).digest if bind_row(row[:-1]) == row[-1] else b""
    except (zlib.error, ValueError, TypeError):
        return b""


def _upgrade(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row of a version before: hexadecimal text in place of bytes, nothing compressed. One whose hashes do not fit has none then."""
    old, bound = dict(zip(_OLD_COLUMNS, row, strict=False)), row[len(_OLD_COLUMNS) :]
    hashed = [
        hashlib.sha256(str(v).encode("utf-8", "surrogatepass")).hexdigest()
        for v in (json.dumps(row[:12], default=repr), old["content"])
    ]
    try:
        if (hashed[0],) != bound if bound else hashed[1] != old["content_sha256"]:
            raise ValueError("not as it was written")
        top = tuple((token, value) for token, value in json.loads(old["top_logprobs"]))
        return _make_row(Answer(*row[:9], top=top), round(datetime.fromisoformat(old["created_at"]).timestamp() * 1000))
    except (ValueError, TypeError):
        key = str(old["key"])
        key_bytes = bytes.fromhex(key) if _HEX.fullmatch(key) else key.encode()
        return (key_bytes, *(str(old[name]) for name in COLUMNS[1:]), b"")


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
            self._db = self._connect(f"{self.path.absolute().as_uri()}?{mode}" if self.path.is_file() else ":memory:")
            if not self.path.is_file():
                self._db.executescript(_SCHEMA)
            self._db.execute("PRAGMA query_only=ON")
            self._file = self._db
            if self._is_old():
                self._db = self._connect("")  # a copy in a temporary file
                self._db.executescript(_SCHEMA + "BEGIN;")
                self._copy_old(self._file)
                self._db.execute("COMMIT")
            self._db.execute("SELECT key FROM answers LIMIT 1").fetchall()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._db = self._connect(self.path.absolute().as_uri())
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if self._is_old():
            self._renew()
        self._db.executescript(_SCHEMA)

    @staticmethod
    def _connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    def _is_old(self) -> bool:
        return any(name == "content_sha256" for _, name, *_ in self._file.execute("PRAGMA table_info(answers)"))

    def _copy_old(self, source: sqlite3.Connection, table: str = "answers") -> None:
        has = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
        names = [name for name in (*_OLD_COLUMNS, "row_sha256") if name in has]
        self._db.executemany(_INSERT, map(_upgrade, source.execute(f"SELECT {', '.join(names)} FROM {table}")))

    def _renew(self) -> None:
        """Rewrite a journal of an older version; other processes wait. Keys and answers stay as they are."""
        with self._db:
            self._db.execute("BEGIN EXCLUSIVE")
            if not self._is_old():
                return  # another process was first
            self._db.execute("ALTER TABLE answers RENAME TO old")
            self._db.execute("DROP INDEX IF EXISTS answers_subject")
            for statement in filter(str.strip, _SCHEMA.split(";")):  # one by one: a script would commit what has begun
                self._db.execute(statement)
            self._copy_old(self._db, "old")
            self._db.execute("DROP TABLE old")
        self._db.execute("VACUUM")

    def about(self, subject: str, record: str | None = None) -> int:
        """How many answers are about a user, or about one record of the user: items are named by the record's id and `#`."""
        query, values = "SELECT count(*) FROM answers WHERE subject = ?", [subject]
        if record:
            query, values = f"{query} AND (item_key = ? OR item_key LIKE ? || '#%')", [subject, record, record]
        with self._lock:
            return self._db.execute(query, values).fetchone()[0]

    def get_many(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The stored answers among `keys`."""
        rows = list(self._select(_ALL, keys))
        with self._explain_damage():
            return {answer.key: answer for answer in map(_read_answer, rows)}

    def known(self, keys: Iterable[str]) -> set[str]:
        """Which of `keys` have an answer; for cost forecasts."""
        return {key.hex() for (key,) in self._select("key", keys)}

    def _select(self, columns: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(map(bytes.fromhex, dict.fromkeys(keys)))
        for start in range(0, len(wanted), _IN_ONE_QUERY):
            part = wanted[start : start + _IN_ONE_QUERY]
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {columns} FROM answers WHERE key IN ({','.join('?' * len(part))})", part
                ).fetchall()
            yield from rows

    def put(self, answer: Answer) -> Answer:
        """Store an answer and return the one that is kept: when another process was first, its answer."""
        return self.put_many([answer])[0]

    def put_many(self, answers: Sequence[Answer]) -> list[Answer]:
        """Store answers in one commit, all of them or none, and return those that are kept, as `put` does."""
        if not answers:
            return []
        now = round(time.time() * 1000)
        rows = [_make_row(answer, now) for answer in answers]
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            cursor = self._db.executemany(_INSERT, rows)
        if cursor.rowcount == len(rows):
            return list(answers)
        kept = self.get_many([answer.key for answer in answers])
        return [kept[answer.key] for answer in answers]

    def read_texts(self, other_than: str) -> Iterator[str]:
        """What is stored about everybody but one user: item and answer of each row, read from the table and not by its index."""
        query = "SELECT item_key, content, top_logprobs FROM answers NOT INDEXED WHERE subject <> ?"
        with self._lock, self._explain_damage():
            for item, content, top in self._db.execute(query, (other_than,)):
                yield f"{item}\n{_read_content(content)}\n{top}"

    def purge(self, subject: str, mentions: Callable[[str], bool] = lambda text: False) -> list[str]:
        """Delete every answer about a user (takedown), or that mentions the user, and return their keys.

        No index is trusted: one that was damaged would hide answers. They are taken out of the file's declarations, all rows are
        read, and the file is written anew, indexes included. Written anew, because SQLite leaves copies of rows in the free space
        of pages when it balances its trees, which `secure_delete` of the rows that are deleted later does not reach. That takes
        room for a second copy while it runs.

        Args:
            mentions: whether a row's item or answer tells of the user.

        Raises:
            JournalInUse: another process uses the journal, so that it cannot be written anew.
            JournalDamaged: the rows cannot be read.
        """
        with self._lock, self._explain_damage():
            self._db.create_function(
                "mentions",
                3,
                lambda item, content, top: mentions(f"{item}\n{_read_content(content)}\n{top}"),
                deterministic=True,
            )
            busy = 0
            try:
                self._db.executescript(
                    "PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE type = 'index'; PRAGMA writable_schema=RESET"
                )
                deleted = self._db.execute(
                    "DELETE FROM answers WHERE subject = ? OR mentions(item_key, content, top_logprobs) RETURNING key",
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
        return sorted(key.hex() for (key,) in deleted)

    @contextmanager
    def _explain_damage(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, zlib.error, ValueError, TypeError) as e:
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
            found = [line for (line,) in self._file.execute("PRAGMA integrity_check(10)") if line != "ok"]
            declared = self._file.execute("SELECT type, name FROM sqlite_master").fetchall()
        return found + [f"it declares the {kind} {name}" for kind, name in declared if (kind, name) not in _OBJECTS]

    def check_rows(self) -> Iterator[CheckedRow]:
        """Every answer, by key, with its hash computed anew."""
        with self._lock:
            self._db.create_function("digest_row", -1, _digest_row, deterministic=True)
            query = f"SELECT key, item_key, digest_row({_ALL}, row_sha256) FROM answers NOT INDEXED ORDER BY key"
            for key, item_key, digest in self._db.execute(query):
                yield CheckedRow(key.hex() if isinstance(key, bytes) else str(key), str(item_key), bool(digest), digest)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
            self._file.close()
