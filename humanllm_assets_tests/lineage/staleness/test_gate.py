"""What a closed gate says: everything upstream that is stale or of unknown code, and the remedy of each."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.staleness import gate
from humanllm_assets.lineage.staleness.gate import Finding, describe_refusal, find_stale_upstream, find_unclean_upstream
from humanllm_assets_tests.lineage.small_graph import World

CLEAN, DIRTY, UNKNOWN = {"commit": "f" * 40, "dirty": False}, {"commit": "e" * 40, "dirty": True}, {"commit": None}


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    """A small graph whose partitions were made from what `code_by_item` says, by default a commit."""
    found = World(tmp_path)
    code_by_item = {"raw[b]": DIRTY, "scaled[a]": UNKNOWN}
    for item in found.graph().all_partitions():
        code = code_by_item.get(str(item), CLEAN)
        monkeypatch.setattr("humanllm_assets.lineage.step.code_state", lambda code=code: code)
        found.run(*item)
    return found


def unclean(world: World, now: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(gate, "code_state", lambda: now)
    graph = world.graph()
    return [str(f) for f in find_unclean_upstream(graph, world.store, graph["total"], "")]


def test_what_is_stale_upstream_is_found_parents_first(world):
    graph = world.graph()
    assert find_stale_upstream(graph, world.store, graph["total"], "") == []
    world.source["b"]["z"], world.at_least = 5, 1
    graph = world.graph()
    found = [str(f) for f in find_stale_upstream(graph, world.store, graph["total"], "")]
    assert found == [
        "raw[b]: external.content.z 3 -> 5",
        "scaled[a]: at_least 0 -> 1",
        "scaled[b]: at_least 0 -> 1; follows raw[b]",
    ]


def test_what_was_or_would_be_computed_from_no_commit_is_found(world, monkeypatch):
    made = ["raw[b]: computed from uncommitted changes on eeeeeeeeee", "scaled[a]: computed from code of an unknown commit"]
    assert unclean(world, CLEAN, monkeypatch) == made
    assert unclean(world, DIRTY, monkeypatch) == [*made, "total: would be computed from uncommitted changes on eeeeeeeeee"]
    assert unclean(world, UNKNOWN, monkeypatch) == [*made, "total: would be computed from code of an unknown commit"]


def test_a_damaged_pointer_is_left_to_what_is_stale(world, monkeypatch):
    world.store.pointer_file("scaled", "a").write_text("{")
    assert unclean(world, CLEAN, monkeypatch) == ["raw[b]: computed from uncommitted changes on eeeeeeeeee"]


def findings(n: int) -> list[Finding]:
    return [Finding(Item("raw", f"s{i:02}"), "why") for i in range(n)]


def refusal(world: World, stale: int, unclean: int) -> list[str]:
    return describe_refusal(world.graph()["total"], "", findings(stale), findings(unclean)).splitlines()


def test_a_refusal_names_each_finding_and_the_remedy_of_its_kind(world):
    first, *listed, remedy = refusal(world, 2, 0)
    assert first == "total was not started, because of what it would read:" and listed == ["  raw[s00]: why", "  raw[s01]: why"]
    assert "humanllm refresh 'total'" in remedy and "--allow-stale" in remedy
    assert refusal(world, 0, 1)[-1].endswith("humanllm materialize --force 'raw[s00]'")
    assert refusal(world, 0, 3)[-1].endswith("'raw[s00]' 'raw[s01]' 'raw[s02]'")
    assert refusal(world, 0, 4)[-1].endswith("'raw[s00]' 'raw[s01]' 'raw[s02]' ...")
    assert len(refusal(world, 1, 1)) == 1 + 2 + 2


def test_a_long_refusal_shows_twenty_lines(world):
    assert refusal(world, 20, 0)[20] == "  raw[s19]: why" and len(refusal(world, 20, 0)) == 22
    assert refusal(world, 20, 5)[21] == "  and 5 more"
