"""Kinds of staleness that Dagster's own versions miss (measured at 1.13), one test each; and the gate that relies on the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from humanllm_assets.lineage.nodes import StepError
from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets_tests.lineage.llm_world import Record, World, expected
from humanllm_assets_tests.lineage.small_graph import World as SmallWorld
from humanllm_assets_tests.lineage.test_staleness_oracle import START, refresh


@pytest.fixture
def world(tmp_path, server):
    found = World(tmp_path, server)
    found.state = START
    assert refresh(found) == {}
    yield found
    found.close()


def planned(world: World) -> list[tuple[str, str]]:
    return [(s.asset, s.partition) for s in plan(world.graph(), world.store)]


def reasons(world: World) -> dict[tuple[str, str], str]:
    return {(s.asset, s.partition): "; ".join(s.reasons) for s in plan(world.graph(), world.store)}


def test_staleness_is_transitive(world):
    world.state = replace(START, min_chars=6)
    assert ("checkpoint", "") in planned(world)
    world.run(("eligible", "a"))
    assert {("filtered", "a"), ("scores", ""), ("checkpoint", "")} <= set(planned(world))


def test_with_more_than_a_hundred_upstream_partitions_every_one_counts(tmp_path):
    many = SmallWorld(tmp_path, source={f"s{i:03}": {"x": i} for i in range(101)})
    many.run_all()
    many.source["s000"] = {"x": 1000}  # the first: Dagster looks at the latest alone
    many.run("raw", "s000")
    many.run("scaled", "s000")
    assert [str(s) for s in plan(many.graph(), many.store)] == ["total  <- scaled[s000] changed"]


def test_an_unpartitioned_asset_notices_one_of_the_partitions_that_it_reads(world):
    world.state = replace(START, slices={**START.slices, "b": {"r3": Record("u1", "new words")}})
    world.run(("raw", "b"))
    world.run(("eligible", "b"))
    world.run(("filtered", "b"))
    assert planned(world) == [("profiles", ""), ("scores", ""), ("dataset", ""), ("checkpoint", "")]


def test_a_deleted_slice_is_noticed(world):
    world.state = replace(START, slices={"a": START.slices["a"]})
    assert planned(world) == [("profiles", ""), ("scores", ""), ("dataset", ""), ("checkpoint", "")]
    assert "filtered[b]" in reasons(world)["profiles", ""]
    assert refresh(world) == {}
    assert world.published() == expected(world.state).rows


def test_a_renamed_slice_is_noticed_and_asks_nothing_again(world):
    asked = world.server.requests
    world.state = replace(START, slices={"a": START.slices["a"], "c": START.slices["b"]})
    assert {("raw", "c"), ("profiles", "")} <= set(planned(world))
    assert refresh(world) == {}
    assert world.server.requests == asked


def test_a_child_that_was_made_before_its_parent_had_any_event_is_not_taken_for_fresh(world):
    world.state = replace(START, slices={**START.slices, "c": {"r9": Record("u3", "new slice")}})
    for asset in ("profiles", "dataset"):
        with pytest.raises(StepError, match=rf"^{asset} needs filtered\[c\], not published yet"):
            world.run((asset, ""))
    assert world.run(("scores", "")).reused  # against what its parent publishes still, which does not know the new slice
    assert {("profiles", ""), ("scores", ""), ("dataset", ""), ("checkpoint", "")} <= set(planned(world))
    assert refresh(world) == {}
    assert world.published() == expected(world.state).rows


def test_settings_are_part_of_what_a_partition_is_made_from(world):
    world.state = replace(START, keep_above=9)
    assert "keep_above 3 -> 9" in reasons(world)["scores", ""]


def test_a_forced_run_with_an_equal_result_keeps_its_children_fresh(world):
    world.run(("filtered", "a"), force=True)
    assert planned(world) == []


# ---- the gate ----------------------------------------------------------------------------------------------------------


def test_the_gate_names_everything_stale_above_in_one_message(world):
    world.state = replace(START, min_chars=6)
    with pytest.raises(StepError) as refused:
        world.run(("checkpoint", ""))
    message = str(refused.value)
    for name in ("eligible[a]", "eligible[b]", "filtered[a]", "profiles", "scores", "dataset"):
        assert f"  {name}: " in message, message
    assert "min_chars 3 -> 6" in message and "humanllm refresh 'checkpoint'" in message and "allow_stale: true" in message


def test_a_gate_that_was_opened_says_so_in_the_manifest(world):
    assert world.store.published("checkpoint", "").manifest.allow_stale == []
    world.state = replace(START, min_chars=6, weight=2)
    outcome = world.run(("checkpoint", ""), allow_stale=True)
    assert any(line.startswith("eligible[a]: min_chars 3 -> 6") for line in outcome.snapshot.manifest.allow_stale)


def test_the_gate_refuses_uncommitted_code_where_the_profile_says_so(world, monkeypatch):
    strict = world._profile.execution.model_copy(update={"require_clean_code": True})
    world._profile = world._profile.model_copy(update={"execution": strict})
    monkeypatch.setattr("humanllm_assets.lineage.staleness.gate.code_state", lambda: {"commit": "f" * 40, "dirty": False})
    monkeypatch.setattr("humanllm_assets.lineage.step.code_state", lambda: {"commit": "f" * 40, "dirty": True})
    world.run(("filtered", "a"), force=True)
    monkeypatch.setattr("humanllm_assets.lineage.step.code_state", lambda: {"commit": "f" * 40, "dirty": False})
    with pytest.raises(StepError, match=r"filtered\[a\]: computed from uncommitted changes on ffffffffff"):
        world.run(("checkpoint", ""), force=True)
    for item in world.graph().all_partitions()[:-1]:
        world.run(item, force=True)
    assert not world.run(("checkpoint", ""), force=True).reused


def test_what_changes_while_a_step_runs_is_not_published(world):
    before = world.store.published("eligible", "a")
    world.state = replace(START, min_chars=1)
    world.during = lambda item: setattr(world, "state", replace(START, min_chars=6))
    with pytest.raises(StepError, match=r"eligible\[a\] was not published, because this changed while it ran: min_chars 1 -> 6"):
        world.run(("eligible", "a"))
    assert world.store.published("eligible", "a") == before
