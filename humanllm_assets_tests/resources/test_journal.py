"""Laws of the answer journal."""

from __future__ import annotations

import asyncio
import hashlib
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


def answer(key: str, content: str = "hello", subject: str = "u") -> Answer:
    return Answer(key, "model", "judge", subject, f"item-{key}", 3, 2, "stop", content, (("A", -0.1), ("B", -2.5)))


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
    assert journal.get_many(["k", "x", "k"]) == {"k": answer("k", "grüße 🐈")}
    assert journal.known(f"k{i}" for i in range(2000)) == set() and journal.known(["k"]) == {"k"}


def test_first_answer_stands(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("k", "first"))
    assert journal.put(answer("k", "second")).content == "first"


@pytest.mark.parametrize(
    ("role", "request_", "key"),
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
def test_keys_of_questions_are_for_ever(role: Role, request_: LLMRequest, key: str) -> None:
    call = Call(make_profile(["http://h"]).models["m"], role, "x")
    assert OpenRequest(call, request_).key() == key


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
    assert other.known("abcde") == {"a", "b", "c"} and one.put_many([]) == []


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
    assert journal.known(["k0"]) == set()
    group.close()
    assert journal.known(["k0", "k1", "k2"]) == {"k0", "k1", "k2"}


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
    assert journal.purge("user1") == ["a"] and journal.known(["a", "b"]) == {"b"}
    files = b"".join(p.read_bytes() for p in journal.path.parent.iterdir())
    assert b"secret words" not in files and b"other words" in files


@pytest.mark.parametrize("seed", range(12))
def test_purge_leaves_no_copy_of_moved_rows(tmp_path: Path, seed: int) -> None:
    """SQLite moves rows between pages; where they stood, copies stay that deleting them does not overwrite."""
    draw, journal = random.Random(seed), Journal(tmp_path)
    for i in range(250):
        user, words = f"user{draw.randrange(6)}x", "words " * draw.randrange(1, 60)
        journal.put(answer(hashlib.sha256(f"{seed}{i}".encode()).hexdigest(), f"{words} of {user}", user))
    journal.purge("user1x")
    files = b"".join(p.read_bytes() for p in journal.path.parent.iterdir())
    assert b"user1x" not in files and b"user2x" in files


def unsound(journal: Journal) -> list[str]:
    return [row.key for row in journal.check_rows() if not row.sound]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_is_bound_in_every_column(tmp_path: Path, column: str) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a"))
    journal.put(answer("b"))
    assert unsound(journal) == []
    with sqlite3.connect(journal.path) as db:
        db.execute(f"UPDATE answers SET {column} = 'forged' WHERE key = 'b'")
    assert unsound(journal) == ["forged" if column == "key" else "b"]


def test_what_the_journal_declares_beside_answers_is_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a"))
    assert journal.find_damage() == []
    with sqlite3.connect(journal.path) as db:
        db.execute("CREATE TRIGGER forge AFTER INSERT ON answers BEGIN DELETE FROM answers; END")
    assert journal.find_damage() == ["it declares the trigger forge"]


def test_an_older_journal_keeps_its_answers_and_gains_hashes(tmp_path: Path) -> None:
    """The rows that the version before wrote are found by the same keys; nothing is asked again."""
    journal = Journal(tmp_path)
    for i in range(30):
        journal.put(answer(f"k{i}", f"content {i} grüße"))
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("ALTER TABLE answers DROP COLUMN row_sha256")
        before = db.execute("SELECT * FROM answers").fetchall()
        db.execute("UPDATE answers SET content = 'forged' WHERE key = 'k1'")
    old = Journal(tmp_path, read_only=True)
    assert unsound(old) == ["k1"], "until it is opened for writing, contents are bound"
    old.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE answers SET content = 'content 1 grüße' WHERE key = 'k1'")
    journal = Journal(tmp_path)
    assert journal.get_many(["k7"]) == {"k7": answer("k7", "content 7 grüße")} and unsound(journal) == []
    with sqlite3.connect(journal.path) as db:
        assert [row[:-1] for row in db.execute("SELECT * FROM answers")] == before
        db.execute("UPDATE answers SET created_at = '' WHERE key = 'k2'")
    assert unsound(journal) == ["k2"]


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
    assert len(journal.known(f"{n}-{i}" for n in "xypq" for i in range(200))) == 800
