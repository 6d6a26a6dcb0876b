"""Plan, refresh, rebuilt set, calls and contents agree with an oracle that computes everything from scratch, over random edits.

`HUMANLLM_EDIT_SCRIPTS=1000` runs that many scripts; the default fits a test run. Scripts that once found a bug stay as examples.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets.planning.drive import drive
from humanllm_assets_tests.lineage.llm_world import Expected, Item, ModelServer, Record, State, World, expected

SCRIPTS = int(os.environ.get("HUMANLLM_EDIT_SCRIPTS", "30"))
pytestmark = pytest.mark.oracle
SLICES, IDS, USERS, TEXTS = ("a", "b", "c"), ("r1", "r2", "r3", "r4"), ("u1", "u2", "u3"), ("x", "like", "likes", "walk home", "")
START = State({"a": {"r1": Record("u1", "like"), "r2": Record("u2", "walk home")}, "b": {"r3": Record("u1", "likes")}})

EDIT = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(SLICES), st.sampled_from(IDS), st.sampled_from(USERS), st.sampled_from(TEXTS)),
    st.tuples(st.just("remove"), st.sampled_from(SLICES), st.sampled_from(IDS)),
    st.tuples(st.just("remove_user"), st.sampled_from(USERS)),
    st.tuples(st.just("delete_slice"), st.sampled_from(SLICES)),
    st.tuples(st.just("rename_slice"), st.sampled_from(SLICES), st.sampled_from(SLICES)),
    st.tuples(st.just("move"), st.sampled_from(SLICES), st.sampled_from(SLICES)),
    st.tuples(st.just("set"), st.just("min_chars"), st.integers(0, 6)),
    st.tuples(st.just("set"), st.just("keep_above"), st.integers(0, 9)),
    st.tuples(st.just("set"), st.just("rewrite"), st.sampled_from(["Rewrite", "Clean"])),
    st.tuples(st.just("set"), st.just("judge"), st.sampled_from(["Judge", "Score"])),
    st.tuples(st.just("set"), st.just("revision"), st.sampled_from(["1", "2"])),
    st.tuples(st.just("set"), st.just("temperature"), st.sampled_from([0.0, 0.5])),
    st.tuples(st.just("set"), st.just("weight"), st.integers(1, 3)),
    st.tuples(st.just("revert"), st.integers(0, 5)),
)
SCRIPT = st.lists(st.lists(EDIT, min_size=1, max_size=3), min_size=1, max_size=4)  # edits between two refreshes


def edited(state: State, edit: tuple, history: list[State]) -> State:
    kind, *args = edit
    slices = {name: dict(records) for name, records in state.slices.items()}
    if kind == "set":
        return replace(state, **{args[0]: args[1]})
    if kind == "revert":
        return history[args[0] % len(history)]
    if kind == "put":
        slices.setdefault(args[0], {})[args[1]] = Record(args[2], args[3])
    elif kind == "remove":
        slices.get(args[0], {}).pop(args[1], None)
    elif kind == "remove_user":
        slices = {name: {i: r for i, r in records.items() if r.user != args[0]} for name, records in slices.items()}
    elif kind == "delete_slice" and len(slices) > 1:
        slices.pop(args[0], None)
    elif kind == "rename_slice" and args[0] in slices:
        slices[args[1]] = slices.pop(args[0])
    elif kind == "move" and args[0] in slices and args[1] in slices and slices[args[0]]:
        first = min(slices[args[0]])
        slices[args[1]][first] = slices[args[0]].pop(first)
    return replace(state, slices=slices)


def parents(item: Item, slices: list[str]) -> list[Item]:
    asset, key = item
    every_slice = [("filtered", s) for s in slices]
    return {
        "raw": [], "eligible": [("raw", key)], "filtered": [("eligible", key)], "profiles": every_slice,
        "scores": [("profiles", "")], "dataset": [*every_slice, ("scores", "")], "checkpoint": [("dataset", "")],
    }[asset]  # fmt: skip


class Ledger:
    """What the oracle remembers between refreshes."""

    def __init__(self) -> None:
        self.published: dict[Item, object] = {}  # what each partition was last made from
        self.made: dict[Item, list[object]] = {}  # everything it was ever made from, and is kept
        self.asked: set[tuple] = set()

    def changed(self, want: Expected) -> set[Item]:
        """Partitions that are not made from what they should be."""
        return {item for item, made_from in want.inputs.items() if self.published.get(item) != made_from}

    def stale(self, want: Expected) -> set[Item]:
        """The changed ones and everything below them: before a run nobody knows which of those turn out equal."""
        stale, slices = self.changed(want), sorted(p for a, p in want.rows if a == "raw")
        for item in want.rows:  # parents come first
            if any(p in stale for p in parents(item, slices)):
                stale.add(item)
        return stale

    def computed(self, want: Expected) -> set[Item]:
        return {item for item in self.changed(want) if want.inputs[item] not in self.made.get(item, [])}

    def calls(self, want: Expected, computed: set[Item]) -> set[tuple]:
        return set().union(*(want.questions[item] for item in computed)) - self.asked

    def settle(self, want: Expected) -> None:
        computed = self.computed(want)
        self.asked |= self.calls(want, computed)
        for item in computed:
            self.made.setdefault(item, []).append(want.inputs[item])
        self.published = dict(want.inputs) | {i: m for i, m in self.published.items() if i not in want.inputs}


def refresh(world: World) -> dict[str, str]:
    """Every stale partition, by the scheduler that the commands use, in this process; returns the failures."""
    graph = world.graph()
    return drive(graph, world.store, graph.all_partitions(), world.submit, concurrency=1, echo=lambda line: None).failed


def check_refresh(world: World, ledger: Ledger) -> None:
    want = expected(world.state)
    assert {(s.asset, s.partition) for s in plan(world.graph(), world.store)} == ledger.stale(want)
    should_compute = ledger.computed(want)
    should_ask = ledger.calls(want, should_compute)
    world.computed.clear()
    asked_before = world.server.requests
    assert refresh(world) == {}
    assert Counter(world.computed) == Counter(should_compute)
    assert world.server.requests - asked_before == len(should_ask)
    assert world.published() == want.rows
    ledger.settle(want)
    assert plan(world.graph(), world.store) == []


@pytest.fixture
def world(tmp_path, server):
    found = World(tmp_path, server)
    yield found
    found.close()


class Crash(BaseException):
    """A process that dies in the middle of a computation."""


@contextmanager
def fresh_world(server: ModelServer) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    world = World(folder, server)
    try:
        yield world
    finally:
        world.close()
        shutil.rmtree(folder)


@settings(max_examples=SCRIPTS, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(script=SCRIPT)
@example(script=[[("put", "b", "r4", "u3", "like")]])  # one question twice in one refresh was asked twice
def test_any_edit_script_rebuilds_exactly_what_the_oracle_says(script, server):
    with fresh_world(server) as world:
        ledger, history = Ledger(), [START]
        for edits in [[], *script]:
            for edit in edits:
                history.append(edited(history[-1], edit, history))
            world.state = history[-1]
            check_refresh(world, ledger)


@settings(max_examples=SCRIPTS // 3, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(first=EDIT, during=EDIT, moment=st.integers(0, 9), crash=st.booleans())
@example(first=("set", "weight", 1), during=("set", "min_chars", 0), moment=2, crash=False)  # eligible: identity old, rows new
@example(first=("set", "weight", 1), during=("delete_slice", "b"), moment=0, crash=False)  # gone before its turn comes
def test_a_change_or_a_crash_in_the_middle_of_a_run_is_mended_by_the_next(first, during, moment, crash, server):
    """Whatever the disturbed run published is what its identity says: going back to either state finds no wrong rows."""
    with fresh_world(server) as world:
        before = edited(START, first, [START])
        after = edited(before, during, [START, before])
        world.state = before
        asked_before = server.requests

        def disturb(item: Item) -> None:
            if len(world.computed) == moment + 1:
                if crash:
                    raise Crash
                world.state = after

        world.during = disturb
        try:
            failed = refresh(world)
        except Crash:
            failed = {}
        assert all("changed while it ran" in f or "not published yet" in f or "was not started" in f for f in failed.values())
        world.during = lambda item: None

        asked = set().union(*expected(before).questions.values())
        for state in (before, after, before):
            world.state = state
            assert refresh(world) == {}
            assert world.published() == expected(state).rows
            assert plan(world.graph(), world.store) == []
            asked |= set().union(*expected(state).questions.values())
        if crash:
            assert server.requests - asked_before == len(asked)  # nothing that was answered is asked again


def test_partitions_that_run_at_the_same_time_agree_with_one_after_the_other(world):
    world.state = replace(START, slices={**START.slices, "c": START.slices["a"]})
    items, seen, asked_before = world.graph().all_partitions(), set(), world.server.requests
    while todo := [i for i in items if i not in seen]:
        ready = [i for i in todo if all(p in seen for p in world.graph()[i[0]].parents(i[1]))]
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda item: world.submit(item, False).result(), ready * 2)) == {None}  # each one twice
        seen |= set(ready)
    want = expected(world.state)
    assert world.published() == want.rows
    assert plan(world.graph(), world.store) == []
    assert world.server.requests - asked_before == len(set().union(*want.questions.values()))
