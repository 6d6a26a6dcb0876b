"""Laws of following references upstream, on a small graph."""

from __future__ import annotations

import shutil

import pytest

from humanllm_assets.lineage.audit.chain import AuditError, collect_ancestors, resolve, walk
from humanllm_assets.lineage.items import Item
from humanllm_assets_tests.lineage.small_graph import World

DEPTHS = {("raw", "a"): 0, ("raw", "b"): 0, ("scaled", "a"): 1, ("scaled", "b"): 1, ("total", ""): 2}


@pytest.fixture
def world(tmp_path) -> World:
    found = World(tmp_path)
    found.run_all()
    return found


def test_several_snapshots_are_collected_with_all_that_is_upstream_of_any_each_above_its_parents(world):
    roots = [world.store.published(*item) for item in (Item("scaled", "a"), Item("total", ""), Item("scaled", "a"))]
    chain = collect_ancestors(world.store, roots)
    assert {tuple(key.item): depth for key, depth in chain.depth.items()} == DEPTHS
    assert {tuple(key.item) for key in chain.nodes} == set(DEPTHS) and chain.damage == []


def test_a_walk_goes_down_to_the_raw_sources(world):
    chain = walk(world.store, world.store.published("total", ""))
    assert {tuple(key.item): depth for key, depth in chain.depth.items()} == {i: 2 - d for i, d in DEPTHS.items()}


def test_what_is_gone_is_named_once_and_the_rest_is_followed(world):
    gone = world.store.published("raw", "a").folder
    total = world.store.published("total", "")
    shutil.rmtree(gone)
    for chain in (walk(world.store, total), collect_ancestors(world.store, [total])):
        assert [d.file for d in chain.damage] == [f"{gone.relative_to(world.root)}/manifest.json"]
        assert {tuple(key.item) for key in chain.nodes} == set(DEPTHS) - {("raw", "a")}


def test_a_parent_with_another_manifest_than_the_child_read_is_named(world):
    total, parent = world.store.published("total", ""), world.store.published("scaled", "b")
    path = parent.folder / parent.manifest_file
    path.write_text(path.read_text().replace('"run_id": "run"', '"run_id": "RUN"'))
    (damage,) = walk(world.store, total).damage
    assert (
        damage.file == str(path.relative_to(world.root))
        and damage.problem == "altered: not the manifest that total was made from"
    )


def test_a_name_that_no_checkpoint_has_is_one_sentence(world):
    with pytest.raises(AuditError, match=r"^no checkpoint of a recipe `small` is in .*; known recipes: none$"):
        resolve(world.store, "small")
