"""Laws of takedown: what holds a user is found exactly, and after a purge nothing below the home tells of the user."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from humanllm_assets.commands.forget import forget_user
from humanllm_assets.lineage.inventory import take_inventory
from humanllm_assets.lineage.removal.takedown import TakedownError, check_user, find_holdings, find_unreadable, purge
from humanllm_assets.lineage.snapshots import SnapshotError
from humanllm_assets.lineage.tombstones import TombstoneError, read_tombstones, user_hash
from humanllm_assets.tables import BENCHMARK_ITEMS, CONSUMED, FILTERED
from humanllm_assets_tests.lineage.reddit_world import NAMES, RECORDS, USERS, RedditWorld, copying_answer
from resources.llm import dummy_server
from resources.llm.dummy_server import DummyServer

NAME = min(USERS["one"], key=lambda name: user_hash(f"reddit/{name}"))
USER = f"reddit/{NAME}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, DummyServer() as server:
        patch.setattr(dummy_server, "answer_to", copying_answer)
        world = RedditWorld(tmp_path_factory.mktemp("base"), server)
        world.run()
        yield world


@pytest.fixture
def world(base, tmp_path: Path) -> RedditWorld:
    return base.copy_to(tmp_path)


def files_with(root: Path, *words: str) -> list[str]:
    """Files below a folder, Parquet decoded, that contain a word in any case."""
    wanted = re.compile("|".join(map(re.escape, words)), re.I)
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            rows = duckdb.sql(f"select to_json(t)::varchar from read_parquet('{path}') t").fetchall()
            text = "\n".join(r for (r,) in rows)
        else:
            text = path.read_bytes().decode("utf-8", "replace")
        if wanted.search(text):
            found.append(str(path.relative_to(root)))
    return found


def takedown(world: RedditWorld, user: str = USER):
    return forget_user(world.project.profile, world.project.home, world.project.store, user, "asked for it")


def holdings(graph, store, user):
    return find_holdings(take_inventory(graph, store), user)


def test_holdings_count_the_users_rows_in_every_table(world):
    held = {h.name: h for h in holdings(world.graph, world.project.store, USER)}
    assert held["eligible_reddit[one]"].rows == {"records": RECORDS}
    assert held["filtered_reddit[one]"].rows == {"records": RECORDS}
    assert held["user_profiles[reddit]"].rows == {"items": 4}
    assert held["social_qa[reddit]"].rows == {"items": 6 * RECORDS}
    assert all(h.published for h in held.values())
    assert not {"eligible_reddit[two]", "raw_reddit[one]"} & set(held)
    assert holdings(world.graph, world.project.store, USER + "2") == []


def test_a_question_about_somebody_else_that_shows_the_users_text_holds_the_user(world):
    store, data = world.project.store, world.project.store.published("task_datasets", "social_qa-reddit")
    writer = store.begin("benchmark_items", "choice", {"items": BENCHMARK_ITEMS})
    mine, theirs = ([f"reddit:t3_{name}4"] for name in (NAMES[-1], NAME))
    writer.write("items", [{"item_id": "a", "user_id": f"reddit/{NAMES[-1]}", "record_ids": [*mine, *theirs]}])
    writer.write("items", [{"item_id": "b", "user_id": f"reddit/{NAMES[-1]}", "record_ids": mine}])
    with duckdb.connect() as con:
        version, tables, files = writer.seal(con)
    update = {"asset": "benchmark_items", "partition": "choice", "data_version": version, "tables": tables, "files": files}
    store.add(writer, data.manifest.model_copy(update=update | {"upstream": []}))
    (held,) = [h for h in holdings(world.graph, store, USER) if h.name == "benchmark_items[choice]"]
    assert held.rows == {"items of others": 1}


def test_a_comment_that_shows_the_users_post_holds_the_user_until_only_its_id_is_left(world):
    """A superseded snapshot of comments holds the post's text in rows of the commenter."""
    store, data = world.project.store, world.project.store.published("filtered_reddit", "one")
    for post, partition in (("text of the post", "shows"), (None, "names")):
        writer = store.begin("filtered_reddit_comments", partition, {"records": FILTERED})
        row = {
            "record_id": "reddit:t1_c",
            "user_id": f"reddit/{NAMES[-1]}",
            "context_id": f"reddit:t3_{NAME}4",
            "context_text": post,
        }
        writer.write("records", [row])
        with duckdb.connect() as con:
            version, tables, files = writer.seal(con)
        update = {
            "asset": "filtered_reddit_comments",
            "partition": partition,
            "data_version": version,
            "tables": tables,
            "files": files,
        }
        store.add(writer, data.manifest.model_copy(update=update | {"upstream": []}))
    held = {h.name: h.rows for h in holdings(world.graph, store, USER) if "comments" in h.name}
    assert held == {"filtered_reddit_comments[shows]": {"records of others": 1}}


def test_unreadable_rows_that_mention_the_user_are_named(world):
    file = world.root / "reddit" / "one.ndjson"
    assert find_unreadable(world.project.profile, world.project.store, USER) == {}
    broken = json.dumps({"id": "x", "author": NAME})[:-2] + "\n"
    world.rows.pop("one")  # the file as it stands below
    file.write_text(file.read_text() + broken)
    world.run()
    assert find_unreadable(world.project.profile, world.project.store, USER) == {"one.ndjson": 1}


def test_a_purge_waits_until_nothing_published_holds_the_user(world):
    home, store = world.project.home, world.project.store
    with pytest.raises(TakedownError, match=f"humanllm forget {USER}"):
        purge(world.graph, home, store, USER)
    takedown(world)
    with pytest.raises(
        TakedownError, match=r"eligible_reddit\[one\].* and \d+ more still hold .*; rebuild first: humanllm refresh"
    ):
        purge(world.graph, home, store, USER)


def test_after_a_purge_nothing_below_the_home_tells_of_the_user(world):
    home, store = world.project.home, world.project.store
    home.training.joinpath("a", "work").mkdir(parents=True)
    duckdb.sql(f"copy (select '{USER}' as user_id) to '{home.training}/a/samples.parquet' (format parquet)")
    home.training.joinpath("b", "work").mkdir(parents=True)  # holds a sample made from the user's record, under another's name
    samples = store.published("task_datasets", "social_qa-reddit").path("samples")
    shown = f"select sample_id, 'reddit/x' as user_id from read_parquet('{samples}') where user_id = '{USER}' limit 1"
    duckdb.sql(f"copy ({shown}) to '{home.training}/b/samples.parquet' (format parquet)")
    home.data_docs.mkdir()
    (home.data_docs / "page.html").write_text(f"<td>{USER}#persona</td>")
    leftover = store.partition_folder("filtered_reddit", "one") / ".writing-dead"
    leftover.mkdir()
    (leftover / ".records.part").write_text(f"{NAME} wrote this")
    filtered = store.published("filtered_reddit", "one")
    takedown(world)
    assert world.run() == []
    before = files_with(home.root, NAME)
    assert "journal/answers.sqlite" in before and len(before) > 10
    receipt = purge(world.graph, home, store, USER)
    assert files_with(home.root, NAME) == []
    assert files_with(home.root, NAMES[-1]) != [], "the search finds what is there"
    content = json.loads(receipt.read_text())
    assert content["complete"] and content["takedown"] == user_hash(USER) and content["training"] == ["a", "b"]
    assert len(content["answers"]) > 4 * RECORDS and len(content["pages"]) == 1
    assert world.run() == [] and world.computed == []
    assert holdings(world.graph, store, USER) == []
    with pytest.raises(SnapshotError, match=f"was purged on 20.* by takedown {user_hash(USER)[:12]}"):
        store.by_ref(filtered.ref())


def test_a_purge_that_was_interrupted_is_finished_by_the_next(world, monkeypatch):
    from humanllm_assets.lineage.removal import takedown as module

    takedown(world)
    world.run()
    store = world.project.store
    begun = {store.show_path(h.snapshot.folder) for h in holdings(world.graph, store, USER)}

    def die(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_empty", die)
        purge(world.graph, world.project.home, world.project.store, USER)
    (receipt,) = world.project.home.receipts.glob("*.json")
    said = json.loads(receipt.read_text())
    assert not said["complete"] and begun and {s["folder"] for s in said["snapshots"]} == begun
    assert world.run() == [] and world.computed == []
    purge(world.graph, world.project.home, world.project.store, USER)
    assert json.loads(max(world.project.home.receipts.glob("*.json")).read_text())["complete"]
    assert files_with(world.project.home.root, NAME) == []


def test_a_snapshot_made_from_the_users_holds_the_user_and_is_purged(world):
    """A report or a model has no row of the user; its lineage has."""
    store, home = world.project.store, world.project.home
    upstream = store.published("task_datasets", "social_qa-reddit")
    writer = store.begin("merged_model", "old-recipe", {})
    (writer.folder / "model.safetensors").write_bytes(b"weights")
    manifest = upstream.manifest.model_copy(
        update={"asset": "merged_model", "partition": "old-recipe", "data_version": "1" * 20, "tables": {}, "files": {}}
        | {"upstream": [upstream.ref()]}
    )
    model = store.add(writer, manifest)
    store.publish(model)
    assert model.key not in take_inventory(world.graph, store).published, "its recipe is not in the profile"
    (held,) = [h for h in holdings(world.graph, store, USER) if h.name == "merged_model[old-recipe]"]
    assert not held.published and held.rows == {}
    takedown(world)
    world.run()
    purge(world.graph, home, store, USER)
    assert sorted(p.name for p in model.folder.iterdir()) == ["purged.json"]
    assert not list(home.root.glob("published/merged_model/*"))


def test_a_checkpoint_holds_the_users_whose_samples_it_consumed(world):
    store = world.project.store
    data = store.published("task_datasets", "social_qa-reddit")
    train = dict(duckdb.sql(f"select user_id, min(sample_id) from read_parquet('{data.path('samples')}') group by 1").fetchall())
    consumed, left = sorted(train)[:2]
    writer = store.begin("sft_checkpoint", "r", {"consumed": CONSUMED})
    writer.write("consumed", [{"position": i, "step": 1, "epoch": i, "rank": 0, "sample_id": train[consumed]} for i in range(3)])
    with duckdb.connect() as con:
        version, tables, files = writer.seal(con)
    update = {"asset": "sft_checkpoint", "partition": "r", "data_version": version, "tables": tables, "files": files}
    store.add(writer, data.manifest.model_copy(update=update | {"upstream": [data.ref()]}))
    held = {user: [h for h in holdings(world.graph, store, user) if h.name == "sft_checkpoint[r]"] for user in (consumed, left)}
    assert [h.rows for h in held[consumed]] == [{"consumed": 3}] and held[left] == []


def test_a_user_is_forgotten_once_and_a_damaged_list_stops_everything(world):
    first = takedown(world)
    assert takedown(world) == first and read_tombstones(world.project.home) == [first]
    assert takedown(world, "reddit/nobody").slots == {}
    for text, problem in (("reddit_comments/x", "write reddit/x"), ("x", "write SOURCE/USER"), ("amazon/x", "one of: reddit")):
        with pytest.raises(TakedownError, match=problem):
            check_user(world.project.profile, text)
    world.project.home.tombstones.write_text("{")
    with pytest.raises(TombstoneError, match="is damaged"):
        world.run()
