"""What may run beside what: so many at once, one that asks a model where each is paid for in turn, some quite alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace

import pytest

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph, Node
from humanllm_assets.planning.drive import Schedule, drive
from humanllm_assets_tests.lineage.small_graph import World


def graph_of(world: World, change: Callable[[Node], Node] = lambda node: node) -> Graph:
    return Graph([change(node) for node in world.graph().nodes.values()])


def start(schedule: Schedule) -> list[str]:
    """All that may run now."""
    started = []
    while item := schedule.next_ready():
        started.append(str(item))
    return started


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, source={name: {"x": 1} for name in "abc"})


@pytest.mark.parametrize(
    ("concurrency", "running"), [(1, ["raw[a]"]), (2, ["raw[a]", "raw[b]"]), (5, ["raw[a]", "raw[b]", "raw[c]"])]
)
def test_no_more_run_at_once_than_wanted(world, concurrency, running):
    graph = graph_of(world)
    assert start(Schedule(graph, graph.all_partitions(), concurrency, one_asks=False)) == running


@pytest.mark.parametrize(("one_asks", "running"), [(True, ["raw[a]"]), (False, ["raw[a]", "raw[b]", "raw[c]"])])
def test_partitions_that_ask_a_model_run_one_after_another_where_each_is_looked_at(world, one_asks, running):
    graph = graph_of(world, lambda node: replace(node, uses_llm=True))
    assert start(Schedule(graph, graph.all_partitions(), 5, one_asks)) == running


def test_what_asks_no_model_runs_beside_one_that_does(world):
    graph = graph_of(world, lambda node: replace(node, uses_llm=node.name == "scaled"))
    schedule = Schedule(graph, graph.all_partitions(), 5, one_asks=True)
    start(schedule)
    for name in "ab":
        schedule.finish(Item("raw", name))
    assert start(schedule) == ["scaled[a]"], "raw[c] runs beside it, scaled[b] waits"
    schedule.finish(Item("scaled", "a"))
    assert start(schedule) == ["scaled[b]"]


def test_what_takes_the_whole_machine_runs_alone(world):
    graph = graph_of(world, lambda node: replace(node, alone=node.name == "scaled"))
    schedule = Schedule(graph, graph.all_partitions(), 5, one_asks=False)
    assert start(schedule) == ["raw[a]", "raw[b]", "raw[c]"]
    schedule.finish(Item("raw", "a"))
    assert start(schedule) == []  # two others still run
    schedule.finish(Item("raw", "b"))
    schedule.finish(Item("raw", "c"))
    assert start(schedule) == ["scaled[a]"]
    schedule.finish(Item("scaled", "a"))
    assert start(schedule) == ["scaled[b]"]


def test_nothing_starts_beside_what_takes_the_whole_machine(world):
    graph = graph_of(world, lambda node: replace(node, alone=node.name == "raw"))
    assert start(Schedule(graph, graph.all_partitions(), 5, one_asks=False)) == ["raw[a]"]


@pytest.mark.parametrize(("allow", "together"), [(None, 3), (lambda item: None, 1)])
def test_a_budget_lets_one_partition_ask_at_a_time(world, allow, together, monkeypatch):
    graph = graph_of(world, lambda node: replace(node, uses_llm=True))
    running: set[Item] = set()
    most = 0

    def submit(item: Item, force: bool) -> Future[str | None]:
        nonlocal most
        running.add(item)
        most = max(most, len(running))
        return Future()

    def finish_all(futures, return_when):  # nothing more can be started
        running.clear()
        for future in futures:
            future.set_result(None)
        return wait(futures, return_when=return_when)

    monkeypatch.setattr("humanllm_assets.planning.drive.wait", finish_all)
    drive(graph, world.store, [Item("raw", n) for n in "abc"], submit, concurrency=5, echo=lambda _: None, allow=allow)
    assert most == together
