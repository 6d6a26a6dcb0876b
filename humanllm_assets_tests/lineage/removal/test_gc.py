"""Laws of garbage collection: lineage stays, the rest goes, running steps and crashes are safe."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from humanllm_assets.lineage.inventory import take_inventory
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.removal import gc
from humanllm_assets.lineage.removal.gc import find_garbage, remove
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import ContractFailed
from humanllm_assets_tests.lineage.small_graph import World
from resources.home import Home
from resources.processes import Holder


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(gc, "SETTLE_S", 0.0)
    return World(tmp_path)


def found(world: World, graph: Graph | None = None, grace: float = -1.0, rejected: float = -1.0):
    """What would go, with everything on disk old enough unless said otherwise."""
    now = time.time()
    store = SnapshotStore(world.root)
    inventory = take_inventory(graph or world.graph(), store)
    return find_garbage(inventory, Home(world.root), before=now - grace, rejected_before=now - rejected)


def names(removals) -> list[tuple[str, str, str]]:
    return sorted((r.asset, r.path.parent.name, r.what) for r in removals)


def folders(world: World) -> set[str]:
    return {str(p.relative_to(world.root)) for p in world.root.glob("snapshots/*/*/*")}


def test_superseded_snapshots_go_and_everything_published_still_works(world):
    world.run_all()
    assert found(world) == []
    world.factor = 2
    world.run_all()
    before = folders(world)
    removals = found(world)
    assert names(removals) == [("scaled", "a", "superseded"), ("scaled", "b", "superseded"), ("total", "all", "superseded")]
    assert folders(world) == before, "listing removes nothing"
    assert remove(removals) == sum(r.bytes for r in removals) > 0
    assert len(folders(world)) == len(before) - 3
    assert world.total() == 12 and world.run_all() == [] and found(world) == []


def test_what_a_checkpoint_was_made_from_stays(world):
    world.kept_forever = "total"
    world.run_all()
    world.factor = 2
    world.source["b"]["z"] = 7
    world.run_all()
    assert found(world) == []


def test_what_a_node_keeps_stays_also_when_its_manifest_was_written_before_manifests_said_so(world):
    world.run_all()
    old = world.store.published("total", "")
    world.factor = 2
    world.run_all()
    assert not old.manifest.keeps_forever and old.folder in {r.path for r in found(world)}
    world.kept_forever = "total"
    assert found(world) == []


def test_what_a_node_keeps_stays_when_the_graph_no_longer_has_the_node(world):
    world.kept_forever = "total"
    world.run_all()
    assert {r.what for r in found(world, Graph([world.graph()["raw"]]))} == {"pointer"}


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"null", b'{"data_version": 1}'], ids=["cut", "empty", "list", "null", "types"]
)
def test_where_a_pointer_is_damaged_all_snapshots_stay_with_what_they_were_made_from(world, content):
    world.run_all()
    world.factor = 2
    world.source = {"a": {"x": 5}, "b": {"z": 6}}
    world.run_all()
    assert len(found(world)) == 5
    pointer = world.store.pointer_file("total", "")
    pointer.write_bytes(pointer.read_bytes()[:-9] if content is None else content)
    assert found(world) == []
    (line,) = gc.describe_damage(take_inventory(world.graph(), world.store))
    assert "published/total/all.json is damaged" in line and line.endswith("humanllm materialize 'total'")
    world.run("total")
    assert len(found(world)) == 5


def test_a_pointer_that_names_no_snapshot_protects_all_of_its_partition(world):
    world.run_all()
    world.factor = 2
    world.run_all()
    pointer = world.store.pointer_file("scaled", "a")
    pointer.write_text(pointer.read_text().replace(world.store.published("scaled", "a").data_version, "0" * 20))
    assert {r.path.parent.name for r in found(world)} == {"b", "all"}


def test_a_pointer_that_is_torn_between_listing_and_removing_keeps_the_snapshot(world):
    world.run_all()
    world.factor = 2
    world.run_all()
    removals, before = found(world), folders(world)
    for file in world.root.glob("published/*/*.json"):
        file.write_text("{")
    assert remove(removals) == 0 and folders(world) == before


def test_a_folder_stays_when_any_of_its_manifests_is_published(world):
    world.run_all()
    world.at_least = 1  # equal content under another identity: two manifests in one folder
    world.run_all()
    assert len(list(world.store.published("scaled", "a").folder.glob("manifest*.json"))) == 2
    assert found(world) == []


def test_young_snapshots_and_those_of_a_partition_published_since_stay(world):
    world.run_all()
    old = world.store.published("scaled", "a").folder
    for path in (old, *old.rglob("*")):
        os.utime(path, (1, 1))
    world.factor = 2
    world.run_all()
    assert found(world, grace=3600) == []  # `old` itself is old: a step that still reads it began before the pointer moved


def test_rejected_snapshots_go_later(world):
    world.run_all()
    world.factor, world.verdict = 3, {"passed": False, "failed": ["rule"]}
    with pytest.raises(ContractFailed):
        world.run("scaled", "a")
    assert found(world, rejected=3600) == []
    assert names(found(world)) == [("scaled", "a", "rejected")]


def test_partitions_that_are_no_longer_declared_go_with_their_pointers(world):
    world.run_all()
    full = world.graph()
    graph = Graph([replace(n, deps=()) for n in full.nodes.values() if n.name != "scaled"])
    removals = found(world, graph)
    # `total` was made from them, and stays published: their snapshots stay with it
    assert names(removals) == [("scaled", "scaled", "pointer")] * 2
    alone = Graph([full["raw"]])
    remove(found(world, alone))
    assert {p.split("/")[1] for p in folders(world)} == {"raw"}
    assert not list(world.root.glob("published/total/*"))


def test_leftovers_of_dead_steps_and_collections_go(world):
    world.run_all()
    folder = world.store.partition_folder("scaled", "a")
    for name in (".writing-x", ".writing-x-work", f"{gc.TRASH}abc-{2**22 + 1}", f"{gc.TRASH}abc-{Holder.me()}"):
        (folder / name).mkdir()
    assert [r.path.name for r in found(world)] == [f"{gc.TRASH}abc-{2**22 + 1}"]
    old = time.time() - 2 * gc.DAY_S
    for name in (".writing-x", ".writing-x-work"):
        os.utime(folder / name, (old, old))
    remove(found(world))
    assert sorted(p.name for p in folder.glob(".*")) == [f"{gc.TRASH}abc-{Holder.me()}"]


def test_a_snapshot_published_again_between_listing_and_removing_stays(world):
    world.run_all()
    world.factor = 2
    world.run_all()
    removals = found(world)
    world.factor = 10
    assert world.run_all() == []  # published again without computing
    remove(removals)
    assert world.total() == 60 and world.run_all() == []


def test_a_collection_that_dies_in_the_middle_leaves_a_store_that_works(world, monkeypatch):
    world.run_all()
    world.factor = 2
    world.run_all()

    def die(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gc.shutil, "rmtree", die)
        remove(found(world))
    assert world.run_all() == [] and world.total() == 12
    world.factor = 10
    assert len(world.run_all()) == 3, "what is half removed is not reused"
    assert world.total() == 60


def test_prompts_and_pages_go_with_the_last_snapshot_that_names_them(world):
    world.verdict = {"docs": {"rows": "one/page.html"}, "passed": True}
    world.run_all()
    world.factor = 2
    world.verdict = {"docs": {"rows": "two/page.html"}, "passed": True}
    world.run_all()
    for name in ("one", "two"):
        (world.root / "data_docs" / name).mkdir(parents=True)
        (world.root / "data_docs" / name / "page.html").write_text("x")
    (world.root / "prompts").mkdir()
    (world.root / "prompts" / "0123.md").write_text("an old prompt")
    raw_page = {r.path.parent.name for r in found(world) if r.what == "page"}
    assert raw_page == set(), "the raw slices' manifests still name it"
    assert [r.path.name for r in found(world) if r.what == "prompt"] == ["0123.md"]
    world.source = {"a": {"x": 5}, "b": {"z": 6}}
    world.run_all()
    assert {r.path.parent.name for r in found(world) if r.what == "page"} == {"one"}


def test_the_documentation_says_what_goes_and_what_is_always_kept(tmp_path):
    """Kinds of removals and nodes that keep everything for ever, as the code has them."""
    import re

    from humanllm_assets.graph import build_graph
    from resources.profile import PROJECT_ROOT, load_profile

    text = (PROJECT_ROOT / "docs" / "takedown.md").read_text()
    goes, kept = text.split("Always kept")[0], text.split("Always kept")[1]
    code = "".join((PROJECT_ROOT / "humanllm_assets" / "lineage" / "removal" / "gc.py").read_text().split("# ---- in words")[0])
    listed = re.findall(r"^\| `(\w+)` \|", goes, re.M)
    named = {
        kind for line in code.splitlines() if "what = " in line or "Removal(" in line for kind in re.findall(r'"(\w+)"', line)
    }
    named |= set(re.findall(r'^        "(\w+)": \(', code, re.M))
    assert set(listed) == named - {""} and len(listed) == len(set(listed))
    forever = {name for name, node in build_graph(load_profile("local"), Home(tmp_path)).nodes.items() if node.keeps_forever}
    assert forever == set(re.findall(r"`(\w+_\w+)`", kept.split("Answers in the journal")[0]))
