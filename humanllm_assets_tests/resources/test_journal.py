"""Laws of the answer journal."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from humanllm_assets_tests.resources.engine_helpers import make_profile, make_requests, make_role
from resources.canonical import canonical_json
from resources.llm.journal import COLUMNS, Answer, Journal, answer_key
from resources.llm.journal_group import JournalGroup
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMRequest
from resources.profile import PROJECT_ROOT, Role


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def answer(name: str, content: str = "hello", subject: str = "u") -> Answer:
    return Answer(key(name), "model", "judge", subject, f"item-{name}", 3, 2, "stop", content, (("A", -0.1), ("B", -2.5)))


def question(**changes: object) -> str:
    parts: dict[str, object] = {
        "model": {"name": "m", "revision": "1"},
        "messages": (("user", "hi"),),
        "schema": {"type": "object"},
        "sampling": {"temperature": 0.7, "seed": 0, "max_tokens": 10},
        "logprobs": 0,
    }
    given = {**parts, **changes}
    key = answer_key(**{**given, "model": canonical_json(given["model"]), "schema": canonical_json(given["schema"])})  # type: ignore[arg-type]
    assert key == hashlib.sha256(canonical_json(given)).hexdigest(), "the key is that of one canonical object, for ever"
    return key


def test_what_is_put_is_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.put(answer("k", "grüße 🐈")) == answer("k", "grüße 🐈")
    assert journal.get_many(map(key, "kxk")) == {key("k"): answer("k", "grüße 🐈")}
    assert journal.known(key(f"k{i}") for i in range(2000)) == set() and journal.known([key("k")]) == {key("k")}
    long = answer("long", "The same words again. " * 40)
    journal.put(long)
    assert journal.get_many([long.key]) == {long.key: long}
    with sqlite3.connect(journal.path) as db:
        assert db.execute("SELECT length(content) < 100 FROM answers WHERE item_key = 'item-long'").fetchone() == (1,), (
            "compressed"
        )


def test_first_answer_stands(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("k", "first"))
    assert journal.put(answer("k", "second")).content == "first"


@pytest.mark.parametrize(
    ("role", "request_", "expected"),
    [
        (make_role(), next(make_requests(1)), "b5a0550750696a1f043f967ed70684124af18514057b085c879ebfaac44b3475"),
        (
            make_role(max_field_chars=50, repetition_penalty=1.05),
            next(make_requests(1, logprobs=3)),
            "1f8cf89d8d2ed89a75157884631aaaa0fd57ad5d51ad56dee0031c628801095a",
        ),
        (make_role(), next(make_requests(1, None)), "eb4d340033eeebc695bc61fd25cb0977817129995cf084c615da94bfd2dea867"),
    ],
)
def test_keys_of_questions_are_for_ever(role: Role, request_: LLMRequest, expected: str) -> None:
    call = Call(make_profile(["http://h"]).models["m"], role, "x")
    assert OpenRequest(call, request_).key() == expected


def test_digests_of_answers_are_for_ever() -> None:
    kept = Answer("k", "m", "judge", "u", "i", 3, 2, "stop", "grüße 🐈", (("A", -0.1), ("B", -2.0)))
    assert kept.digest.hex() == "57e8209eceef71725f9c65bba7c5180c3ee923c9ace67b0c028c8f908bb9cdf6"


def test_answers_of_a_group_are_kept_together_and_the_first_one_stands(tmp_path: Path) -> None:
    one, other = Journal(tmp_path), Journal(tmp_path)
    other.put(answer("b", "first"))
    kept = one.put_many([answer("a"), answer("b", "second"), answer("c")])
    assert kept == [answer("a"), answer("b", "first"), answer("c")]
    with pytest.raises(sqlite3.IntegrityError):
        one.put_many([answer("d"), replace(answer("e"), model=None)])  # type: ignore[arg-type]
    assert other.known(map(key, "abcde")) == {*map(key, "abc")} and one.put_many([]) == []


def test_what_was_gathered_is_written_though_nobody_waits_for_it(tmp_path: Path) -> None:
    """A call that is abandoned has paid for its answers."""
    journal = Journal(tmp_path)
    group = JournalGroup(journal)

    async def abandon() -> None:
        keeping = [asyncio.create_task(group.keep(answer(f"k{i}"))) for i in range(3)]
        await asyncio.sleep(0)
        for task in keeping:
            task.cancel()

    asyncio.run(abandon())
    keys = {key(f"k{i}") for i in range(3)}
    assert journal.known(keys) == set()
    group.close()
    assert journal.known(keys) == keys


def test_a_group_that_cannot_be_written_fails_for_all_who_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    group = JournalGroup(journal)
    with sqlite3.connect(journal.path) as db:
        db.execute("DROP TABLE answers")

    async def keep() -> list[object]:
        return list(await asyncio.gather(*(group.keep(answer(k)) for k in "ab"), return_exceptions=True))

    assert [type(result) for result in asyncio.run(keep())] == [sqlite3.OperationalError] * 2
    group.close()


def test_every_part_of_the_question_changes_the_key() -> None:
    keys = {
        question(),
        question(model={"name": "m", "revision": "2"}),
        question(messages=(("user", "hi "),)),
        question(schema=None),
        question(sampling={"temperature": 0.7, "seed": 1, "max_tokens": 10}),
        question(logprobs=5),
        question(messages=(("system", "“grüße” \x00\n\u2028 🐈"), ("user", "half \ud83d of a pair"))),
    }
    assert len(keys) == 7
    assert question(sampling={"max_tokens": 10, "seed": 0, "temperature": 0.7}) == question()
    with pytest.raises(TypeError):
        question(schema={"type": object()})


def test_purge_removes_one_subject_from_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a", "secret words", "user1"))
    journal.put(answer("b", "other words", "user2"))
    assert journal.purge("user1") == [key("a")] and journal.known(map(key, "ab")) == {key("b")}
    files = b"".join(p.read_bytes() for p in journal.path.parent.iterdir())
    assert b"secret words" not in files and b"other words" in files


@pytest.mark.parametrize("seed", range(12))
def test_purge_leaves_no_copy_of_moved_rows(tmp_path: Path, seed: int) -> None:
    """SQLite moves rows between pages; where they stood, copies stay that deleting them does not overwrite."""
    draw, journal = random.Random(seed), Journal(tmp_path)
    query = "SELECT content FROM answers WHERE subject = ? AND typeof(content) = 'blob' AND length(content) > 32"
    for i in range(250):
        user, words = f"user{draw.randrange(6)}x", draw.randbytes(draw.randrange(1, 600)).hex()
        journal.put(answer(f"{seed}{i}", words, user))
    with sqlite3.connect(journal.path) as db:
        packed = {u: [c for (c,) in db.execute(query, (u,))] for u in ("user1x", "user2x")}

    def left(user: str) -> int:
        """Of how many compressed answers a part stands in the file."""
        files = b"".join(p.read_bytes() for p in journal.path.parent.iterdir())
        return sum(any(c[i : i + 8] in files for i in range(16, len(c) - 8, 8)) for c in packed[user]) + files.count(
            user.encode()
        )

    assert left("user1x") > 30
    journal.purge("user1x")
    assert left("user1x") == 0 and left("user2x") > 30


def unsound(journal: Journal) -> list[str]:
    return [row.item_key for row in journal.check_rows() if not row.sound]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_is_bound_in_every_column(tmp_path: Path, column: str) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a"))
    journal.put(answer("b"))
    assert unsound(journal) == []
    with sqlite3.connect(journal.path) as db:
        db.execute(f"UPDATE answers SET {column} = 'forged' WHERE item_key = 'item-b'")
    assert unsound(journal) == ["forged" if column == "item_key" else "item-b"]


def test_what_the_journal_declares_beside_answers_is_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a"))
    assert journal.find_damage() == []
    with sqlite3.connect(journal.path) as db:
        db.execute("CREATE TRIGGER forge AFTER INSERT ON answers BEGIN DELETE FROM answers; END")
    assert journal.find_damage() == ["it declares the trigger forge"]


_OLD_SCHEMA = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, role TEXT NOT NULL, subject TEXT NOT NULL, item_key TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, finish_reason TEXT NOT NULL,
    content TEXT NOT NULL, content_sha256 TEXT NOT NULL, top_logprobs TEXT NOT NULL, created_at TEXT NOT NULL {bound}
) WITHOUT ROWID;
CREATE INDEX answers_subject ON answers (subject);
"""


def write_old_journal(home: Path, answers: list[Answer], *, bound: bool) -> None:
    """As the versions before wrote it: `bound` with hashes of rows, or with those of contents alone."""
    (home / "journal").mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(home / "journal" / "answers.sqlite")) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(_OLD_SCHEMA.format(bound=", row_sha256 TEXT NOT NULL DEFAULT ''" if bound else ""))
        for a in answers:
            row: list[object] = [a.key, a.model, a.role, a.subject, a.item_key, a.prompt_tokens, a.output_tokens, a.finish_reason]
            row += [a.content, hashlib.sha256(a.content.encode()).hexdigest(), json.dumps(a.top), "2026-11-01T12:00:00.250+00:00"]
            if bound:
                row.append(hashlib.sha256(json.dumps(row).encode()).hexdigest())
            db.execute(f"INSERT INTO answers VALUES ({','.join('?' * len(row))})", row)


@pytest.mark.parametrize("bound", [True, False])
def test_an_older_journal_keeps_its_answers_and_becomes_a_new_one(tmp_path: Path, bound: bool) -> None:
    """The rows that versions before wrote are found by the same keys, by who may not write too; what was edited stays so."""
    answers = [answer(f"k{i}", f"content {i} grüße " * i, f"u{i % 3}") for i in range(30)]
    write_old_journal(tmp_path, answers, bound=bound)
    path = tmp_path / "journal" / "answers.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE answers SET content = 'forged' WHERE item_key = 'item-k1'")
    sound = {a.key: a for a in answers if a.item_key != "item-k1"}

    def check(journal: Journal) -> None:
        assert unsound(journal) == ["item-k1"]
        assert journal.get_many(sound) == sound and journal.about("u0") == 10
        assert {row.key: row.digest for row in journal.check_rows() if row.sound} == {a.key: a.digest for a in sound.values()}
        assert journal.find_damage() == []

    before = path.read_bytes()
    old = Journal(tmp_path, read_only=True)
    check(old)
    old.close()
    assert path.read_bytes() == before
    children = [subprocess.Popen([sys.executable, "-c", _OPEN, str(tmp_path)], cwd=PROJECT_ROOT) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    journal = Journal(tmp_path)
    check(journal)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT min(created_at), max(length(key)) FROM answers").fetchone() == (1793534400250, 32)


_OPEN = "import sys; from pathlib import Path; from resources.llm.journal import Journal; Journal(Path(sys.argv[1]))"


def test_the_file_is_little_larger_than_its_answers(tmp_path: Path) -> None:
    rng, journal = random.Random(1), Journal(tmp_path)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randrange(2, 9))) for _ in range(2000)]
    answers = [answer(str(i), " ".join(rng.choices(words, k=70)), f"reddit/user{i // 20}") for i in range(5000)]
    for start in range(0, len(answers), 50):
        journal.put_many([replace(a, model="an/ordinary-name", top=()) for a in answers[start : start + 50]])
    journal.close()
    assert journal.path.stat().st_size < 1.4 * sum(len(a.content) for a in answers)


def test_threads_and_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from humanllm_assets_tests.resources.test_journal import answer\n"
        "from resources.llm.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for i in range(200): journal.put(answer(f'{sys.argv[2]}-{i}'))"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], cwd=PROJECT_ROOT) for name in "xy"]
    journal = Journal(tmp_path)
    threads = [threading.Thread(target=lambda n=n: [journal.put(answer(f"{n}-{i}")) for i in range(200)]) for n in "pq"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait() for child in children] == [0, 0]
    assert len(journal.known(key(f"{n}-{i}") for n in "xypq" for i in range(200))) == 800
