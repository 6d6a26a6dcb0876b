"""A guard decides whether a step may start, and nothing of what it computes."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from humanllm_assets.contracts.gx_runner import run_contract
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Dep, Graph, Node, Runtime, Step, StepError, every
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets.lineage.step import ContractFailed, Outcome, run_step
from humanllm_assets.sql import define_table
from resources.home import Home
from resources.profile import load_profile
from resources.thresholds import Thresholds

ROWS = define_table(("says", "VARCHAR", "what was found"), ("leaking_share", "DOUBLE", "share"))
SUITE = """
description: What was found.
tables:
  rows:
    key: says
    expectations:
      - {id: leaking_share, type: expect_column_values_to_be_between, kwargs: {column: leaking_share, max_value: 0.01}}
"""


class World:
    """Data, a check of it that needs `share` to be small, and a result that the check guards."""

    def __init__(self, root: Path) -> None:
        self.share, self.data, self.store, self.home = 0.0, 1, SnapshotStore(root), Home(root)

    def graph(self) -> Graph:
        def node(
            name: str, deps: tuple[Dep, ...], identity: object, gated: bool = False, contract: Contract | None = None
        ) -> Node:
            return Node(
                name=name,
                group="tasks",
                description=name,
                kinds=frozenset(),
                tables={"rows": ROWS},
                deps=deps,
                identity=lambda _: {"value": identity},
                compute=self._compute,
                gated=gated,
                contract=contract,
            )

        read = Dep("data", every(("",), ("",)))
        guard = Dep("check", every(("",), ("",)), guard=True)
        contract = Contract.parse("check", SUITE, Thresholds())
        return Graph(
            [
                node("data", (), self.data),
                node("check", (read,), self.share, contract=contract),
                node("result", (read, guard), 0, True),
            ]
        )

    def _compute(self, step: Step) -> None:
        share = self.share if step.node.name == "check" else 0.0
        step.write("rows", [{"says": f"{share:.0%} of the items of test", "leaking_share": share}])

    def run(self, name: str) -> Outcome:
        @contextmanager
        def connect():
            with duckdb.connect() as con:
                yield con

        runtime = Runtime(load_profile("local"), self.graph(), self.home, self.store, connect, lambda: pytest.fail("no model"))

        def audit(node: Node, step: Step) -> dict:
            tables = {"rows": step.writer.folder / "rows.parquet"}
            return run_contract(node.contract, tables).verdict() if node.contract else {}

        return run_step(self.graph()[name], "", runtime, log=lambda line: None, audit=audit)

    def stale(self) -> list[str]:
        return [str(s.item) for s in plan(self.graph(), self.store)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_guard_must_be_published_before_the_guarded_step_starts(world):
    world.run("data")
    with pytest.raises(StepError, match=r"result was not started[\s\S]*check: never materialized"):
        world.run("result")
    world.run("check")
    assert not world.run("result").reused


def test_a_guards_new_version_is_in_no_identity_and_in_no_lineage(world):
    for name in ("data", "check", "result"):
        world.run(name)
    manifest = world.run("result").snapshot.manifest
    assert [u.asset for u in manifest.upstream] == ["data"] and list(manifest.identity["upstream"]) == ["data"]
    world.share = 0.005
    assert world.stale() == ["check"]
    world.run("check")
    assert world.stale() == [] and world.run("result").reused


def test_what_waits_for_a_stale_guard_is_planned_after_it(world):
    layers = {str(s.item): s.layer for s in plan(world.graph(), world.store)}
    assert layers == {"data": 1, "check": 2, "result": 3}


def test_a_rejected_guard_refuses_with_what_was_found_and_the_next_command(world):
    world.run("data")
    world.run("check")
    world.share, world.data = 0.5, 2
    world.run("data")
    with pytest.raises(ContractFailed, match=r"check was not published: .*for example 50% of the items of test"):
        world.run("check")
    with pytest.raises(StepError) as refused:
        world.run("result")
    assert "  check: not published, rows.leaking_share <= 0.01: 1 of 1 rows break it (100%), for example 50% of the items" in str(
        refused.value
    )
    assert "humanllm refresh 'result'" in str(refused.value)
    world.share = 0.0
    world.run("check")
    world.run("result")
    assert world.store.published(*Item("result", ""))
