"""Laws of the answer journal."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resources.llm.journal import Answer, Journal, answer_key
from resources.profile import PROJECT_ROOT


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
    return answer_key(**{**parts, **changes})  # type: ignore[arg-type]


def test_what_is_put_is_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.put(answer("k", "grüße 🐈")) == answer("k", "grüße 🐈")
    assert journal.get_many(["k", "x", "k"]) == {"k": answer("k", "grüße 🐈")}
    assert journal.known(f"k{i}" for i in range(2000)) == set() and journal.known(["k"]) == {"k"}


def test_first_answer_stands(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("k", "first"))
    assert journal.put(answer("k", "second")).content == "first"


def test_every_part_of_the_question_changes_the_key() -> None:
    keys = {
        question(),
        question(model={"name": "m", "revision": "2"}),
        question(messages=(("user", "hi "),)),
        question(schema=None),
        question(sampling={"temperature": 0.7, "seed": 1, "max_tokens": 10}),
        question(logprobs=5),
    }
    assert len(keys) == 6
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


def test_verify_finds_changed_content(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(answer("a"))
    journal.put(answer("b"))
    assert journal.verify() == []
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE answers SET content = 'forged' WHERE key = 'b'")
    assert journal.verify() == ["b"]


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
