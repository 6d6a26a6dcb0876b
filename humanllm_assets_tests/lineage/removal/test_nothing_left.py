"""Laws of a purge that trusts nothing: afterwards the user's words and id are in no byte of the home, or it did not say that it was done.

HUMANLLM_INDEX_DAMAGES sets how many random damages of the journal's index are tried.
"""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import os
import random
import sqlite3
import zlib
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
import zstandard

from humanllm_assets.lineage.audit.indexes import index_folder
from humanllm_assets.lineage.removal import takedown as module
from humanllm_assets.lineage.removal.search import Haystack, search_file, split_passages
from humanllm_assets.lineage.removal.takedown import TakedownError, purge
from humanllm_assets_tests.lineage.reddit_world import RedditWorld, copying_answer
from humanllm_assets_tests.lineage.removal.test_takedown import NAME, USER, files_with, takedown
from resources.errors import Explained
from resources.llm import dummy_server
from resources.llm.dummy_server import DummyServer
from resources.llm.journal import Journal

DAMAGES = int(os.environ.get("HUMANLLM_INDEX_DAMAGES", "20"))
WORDS = f"On day 3 I told my sister that {NAME} had fixed the kitchen door."  # of the user's own records


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Forgotten and rebuilt: all that is left is to purge."""
    with pytest.MonkeyPatch.context() as patch, DummyServer() as server:
        patch.setattr(dummy_server, "answer_to", copying_answer)
        world = RedditWorld(tmp_path_factory.mktemp("ready"), server)
        world.run()
        takedown(world)
        world.run()
        yield world


@pytest.fixture
def world(ready, tmp_path: Path) -> RedditWorld:
    return ready.copy_to(tmp_path)


def try_purge(world: RedditWorld) -> str:
    """What the purge said, empty when it succeeded."""
    try:
        purge(world.graph, world.project.home, world.project.store, USER)
    except Explained as e:
        return str(e)
    return ""


# ---- damaged indexes -------------------------------------------------------------------------------------------------


def index_pages(path: Path) -> tuple[int, list[int]]:
    """Page size, and the numbers of the pages of the index over users."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("select rootpage from sqlite_master where name = 'answers_subject'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    content, pages, todo = path.read_bytes(), [], [root]
    while todo:
        number = todo.pop()
        pages.append(number)
        page = content[(number - 1) * size : number * size]
        if page[0] == 2:  # inner page: children
            cells = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i]) for i in range(int.from_bytes(page[3:5]))]
            todo += [int.from_bytes(page[8:12]), *(int.from_bytes(page[c : c + 4]) for c in cells)]
    return size, pages


def damage_index(path: Path, draw: random.Random) -> str:
    """Change some bytes of the index over users and of nothing else; returns how."""
    size, pages = index_pages(path)
    content, kind = bytearray(path.read_bytes()), draw.choice(("bits", "rename", "count", "zero", "swap", "copy"))
    one, other = ((draw.choice(pages) - 1) * size for _ in range(2))
    if kind == "bits":
        for _ in range(draw.randrange(1, 20)):
            content[one + draw.randrange(size)] ^= 1 << draw.randrange(8)
    elif kind == "rename":
        for start in ((p - 1) * size for p in pages):
            page = bytes(content[start : start + size])
            content[start : start + size] = page.replace(USER.encode(), b"reddit/zz" + b"z" * (len(USER) - 9))
    elif kind == "count":
        content[one + 3 : one + 5] = draw.randrange(int.from_bytes(content[one + 3 : one + 5]) + 1).to_bytes(2)
    elif kind == "zero":
        content[one : one + size] = bytes(size)
    else:
        first, second = bytes(content[one : one + size]), bytes(content[other : other + size])
        content[other : other + size] = first
        content[one : one + size] = second if kind == "swap" else first
    path.write_bytes(content)
    return kind


@pytest.mark.timeout(600 + 60 * DAMAGES)
def test_a_damaged_index_hides_no_answer(ready, tmp_path_factory):
    count: Counter[str] = Counter()
    for seed in range(DAMAGES):
        world = ready.copy_to(tmp_path_factory.mktemp("damaged"))
        kind = damage_index(world.project.home.root / "journal" / "answers.sqlite", random.Random(seed))
        said = try_purge(world)
        left = files_with(world.project.home.root, NAME)
        assert said or left == [], (seed, kind)
        count["refused" if said else "purged"] += 1
        if not said:
            with contextlib.closing(Journal(world.project.home.root)) as journal:
                assert journal.find_damage() == [] and journal.about("reddit/" + "elena") > 0, "the others' answers are there"
    print(dict(count))
    assert count["purged"] > DAMAGES / 2


def test_a_journal_whose_rows_cannot_be_read_stops_the_purge_in_one_sentence(world):
    path = world.project.home.root / "journal" / "answers.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("select rootpage from sqlite_master where name = 'answers'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = bytes([9]) * size
    path.write_bytes(content)
    assert "journal/answers.sqlite is damaged" in try_purge(world)
    path.unlink()
    assert try_purge(world) == "" and files_with(world.project.home.root, NAME) == []


# ---- leftovers in every kind of file ---------------------------------------------------------------------------------


def write_free_page(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma secure_delete = off")
        db.execute("create table t (x text)")
        db.execute("insert into t values (?)", [WORDS * 3])
        db.execute("delete from t")
    assert NAME.encode() in path.read_bytes()


def write_log_of_sqlite(path: Path) -> None:
    """A write-ahead log that a process left which died."""
    import subprocess
    import sys

    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute('pragma journal_mode=wal');"
        "db.execute('create table t (x text)'); db.execute('insert into t values (?)', [sys.argv[2]]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path), WORDS], check=True)
    assert path.with_name(path.name + "-wal").stat().st_size


def write_compressed_value(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("create table t (x blob)")
        db.execute("insert into t values (?)", [zlib.compress(json.dumps({"text": WORDS}).encode())])


def write_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute("create table t as select i, ? as x from range(3000) r(i)", [WORDS])


TRAINS_IN = "work"  # the folder below a recipe's that a training writes into
LEFTOVERS = {
    "notes.txt": lambda p: p.write_text(f"about {USER}"),
    "own.sqlite": write_free_page,
    "log.sqlite": write_log_of_sqlite,
    "compressed.sqlite": write_compressed_value,
    "own.duckdb": write_duckdb,
    "copy.json.gz": lambda p: p.write_bytes(gzip.compress(WORDS.encode())),
    "copy.zst": lambda p: p.write_bytes(zstandard.compress(WORDS.encode())),
    "copy.parquet": lambda p: duckdb.sql(f"copy (select [{{'x': '{WORDS}'}}] as a from range(9)) to '{p}' (compression zstd)"),
    "models/cards.json": lambda p: p.write_text(json.dumps(json.dumps({"note": f"line\n{USER}"}))),
    "dagster/history/event.db": write_compressed_value,
    "dagster/storage/run/compute_logs/step.out": lambda p: p.write_text(f"failed on: {WORDS}"),
    "servers/m/server.log": lambda p: p.write_text(f"GET /v1?prompt={quote(WORDS)}"),
    "data_docs/page.html": lambda p: p.write_text(f"<td>{html.escape(WORDS)}</td>"),
    "data_docs/page.json": lambda p: p.write_text(json.dumps({"value": html.escape(WORDS)})),
    f"training/r/{TRAINS_IN}/consumed.jsonl": lambda p: p.write_text(json.dumps({"sample_id": f"x:reddit:t3_{NAME}4"})),
    "snapshots/a/all/noversion/rows.txt": lambda p: p.write_text(WORDS),
    "audit_index/abc-diff.json": lambda p: p.write_text(json.dumps([f"reddit:t3_{NAME}4"])),
}  # fmt: skip
STAY = {"notes.txt", "own.duckdb", "compressed.sqlite", "own.sqlite", "log.sqlite", "copy.json.gz", "copy.zst", "copy.parquet",
        "models/cards.json", "dagster/history/event.db", "data_docs/page.json"}  # fmt: skip


def test_what_is_left_anywhere_goes_or_stops_the_purge(world, monkeypatch):
    """Each file is one that no rule of the purge knows; those that are no logs or caches are named, and the next purge finishes."""
    root = world.project.home.root
    for name, write in LEFTOVERS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name)
    monkeypatch.setattr(module, "SHOWN", 100)
    said = try_purge(world)
    assert {name for name in LEFTOVERS if f"{name}," in said or f"{name};" in said} == STAY, said
    assert not ({*LEFTOVERS} - STAY) & {*files_with(root, NAME)}
    assert not list(index_folder(root).glob("*")), "audit indexes"
    assert "complete, because something" in try_purge(world), "a second try says no as well"
    for name in STAY:
        (root / name).unlink()
    for path in root.glob("log.sqlite-*"):
        path.unlink()
    assert try_purge(world) == "" and files_with(root, NAME) == []


# ---- the search ------------------------------------------------------------------------------------------------------


def test_an_id_is_found_as_a_whole_and_in_every_spelling():
    haystack = Haystack(["reddit/älice", "reddit:t3_ab"])
    for text in (
        "reddit/älice",
        "x\\nreddit/älice\\n",
        json.dumps("reddit/älice"),
        quote("reddit/älice", safe=""),
        "-reddit:t3_ab#qa",
    ):
        assert haystack.find_text(text), text
    for text in ("reddit/älice2", "reddit:t3_abc", "reddit/alice", "reddit/älice-x", ""):
        assert not haystack.find_text(text), text
    assert len(split_passages(WORDS)) == 2 and split_passages("too short to tell") == []


def test_an_id_at_any_place_and_across_two_reads_is_found(tmp_path, monkeypatch):
    from humanllm_assets.lineage.removal import search

    monkeypatch.setattr(search, "_CHUNK", 64)
    haystack, path = Haystack([USER]), tmp_path / "f"
    for at in range(0, 130):
        path.write_bytes(b"." * at + USER.encode() + b"." * (130 - at))
        assert {f.name for f in search_file(duckdb.connect(), path, haystack)} == {USER}, at


def test_users_whose_ids_begin_alike_are_not_mixed_up(world):
    """In the bytes of a database ids stand right before other values; its rows say where they end."""
    path = world.project.home.root / "other.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("create table t (a text, b text)")
        db.execute("insert into t values (?, 'abc')", [USER + "x"])
    assert try_purge(world) == ""


def test_a_purge_that_is_refused_keeps_the_snapshots_from_which_the_words_are_known(world):
    path = world.project.home.root / "copy.txt"
    path.write_text(WORDS)
    with pytest.raises(TakedownError, match=r"copy\.txt; delete it, then purge again"):
        purge(world.graph, world.project.home, world.project.store, USER)
    with pytest.raises(TakedownError, match=r"copy\.txt"):
        purge(world.graph, world.project.home, world.project.store, USER)
    path.unlink()
    assert try_purge(world) == "" and files_with(world.project.home.root, NAME) == []
