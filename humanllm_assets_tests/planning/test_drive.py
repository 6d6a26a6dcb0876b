"""The order of a materialization: parents first, as many at once as fit, nothing behind a failure."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from humanllm_assets.lineage.items import Item
from humanllm_assets.planning.drive import Schedule, drive
from humanllm_assets_tests.lineage.small_graph import World


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def run(world: World, fails: Item | None = None, **options):
    graph = world.graph()

    def submit(item: Item, force: bool) -> Future[str | None]:
        future: Future[str | None] = Future()
        if item == fails:
            future.set_result(f"{item} failed")
        else:
            world.run(*item, force=force)
            future.set_result(None)
        return future

    return drive(graph, world.store, graph.all_partitions(), submit, concurrency=2, echo=lambda line: None, **options)


def test_a_failure_stops_what_is_behind_it_and_nothing_else(world):
    summary = run(world, fails=Item("raw", "a"))
    assert summary.failed == {"raw[a]": "raw[a] failed"}
    assert summary.skipped == ["scaled[a]", "total"] and set(summary.computed) == {"raw[b]", "scaled[b]"}
    again = run(world)
    assert set(again.fresh) == {"raw[b]", "scaled[b]"} and again.computed == ["raw[a]", "scaled[a]", "total"]


def test_a_parent_that_turns_out_equal_stops_the_wave_there(world):
    run(world)
    world.at_least = 1  # another identity, the same rows
    summary = run(world)
    assert set(summary.computed) == {"scaled[a]", "scaled[b]"} and set(summary.fresh) == {"raw[a]", "raw[b]", "total"}
    world.at_least = 3
    assert set(run(world).computed) == {"scaled[a]", "scaled[b]", "total"}


def test_a_target_that_is_forced_runs_though_it_is_fresh_and_nothing_else_does(world):
    run(world)
    world.computed.clear()
    graph = world.graph()
    submitted = []

    def submit(item: Item, force: bool) -> Future[str | None]:
        submitted.append((item, force))
        future: Future[str | None] = Future()
        future.set_result(None)
        return future

    target = [Item("total", "")]
    summary = drive(graph, world.store, target, submit, concurrency=2, echo=lambda line: None, force=True)
    assert submitted == [(Item("total", ""), True)] and summary.computed == ["total"] and len(summary.fresh) == 4
    only = drive(graph, world.store, target, submit, concurrency=2, echo=lambda line: None, force=True, only=True)
    assert only.computed == ["total"] and only.fresh == []


def test_what_may_not_start_is_held_with_what_is_behind_it(world):
    summary = run(world, allow=lambda item: "too dear" if item == ("scaled", "b") else None)
    assert summary.held == {"scaled[b]": "too dear"} and summary.skipped == ["total"]


def test_a_partition_is_ready_when_its_parents_are_finished_and_a_place_is_free(world):
    graph = world.graph()
    schedule = Schedule(graph, graph.all_partitions(), concurrency=2, one_asks=False)
    first, second = schedule.next_ready(), schedule.next_ready()
    assert (first, second) == (("raw", "a"), ("raw", "b")) and schedule.next_ready() is None and schedule.left == 3
    schedule.finish(second)
    assert schedule.next_ready() == ("scaled", "b") and schedule.next_ready() is None
    assert schedule.block(first) == [("scaled", "a"), ("total", "")] and schedule.left == 0
