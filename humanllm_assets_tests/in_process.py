"""The real graph of a small project, run step by step in this process: no Dagster, no Great Expectations, no worker processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph, Runtime, StepError
from humanllm_assets.lineage.step import run_step
from humanllm_assets.planning.drive import Summary, drive
from humanllm_assets.planning.forecast import Forecast
from humanllm_assets.planning.refresh_plan import Plan, count_as_held, hold_within, make_plan
from humanllm_assets.planning.targets import parse_targets
from humanllm_assets_tests.conftest import Project
from resources.engine_resource import duckdb_resource
from resources.errors import EngineError
from resources.llm.budget import Budget
from resources.llm.engine import Engine


class InProcess:
    """A project's refreshes; a fresh one sees the profile as it is edited by then."""

    def __init__(self, project: Project) -> None:
        self.project, self.profile, self.home, self.store = project, project.profile, project.home, project.store
        self.graph: Graph = build_graph(self.profile, self.home)

    def plan(self, *names: str) -> Plan:
        return make_plan(self.profile, self.graph, self.home, names)

    def forecast(self, name: str) -> Forecast:
        """Of one target that is stale and asks a model."""
        asset, partition = parse_targets(self.graph, [name])[0]
        found = next(f for s, f in self.plan(name).items if s.item == (asset, partition))
        assert found is not None
        return found

    def refresh(self, *names: str, budget: Budget | None = None) -> Summary:
        def submit(item: Item, force: bool) -> Future[str | None]:
            future: Future[str | None] = Future()
            future.set_result(self.run(item, budget))
            return future

        allow: Callable[[Item], str | None] | None = hold_within(budget, self.profile, self.graph, self.home) if budget else None
        targets = parse_targets(self.graph, names)
        return count_as_held(drive(self.graph, self.store, targets, submit, concurrency=4, echo=lambda line: None, allow=allow))

    def run(self, item: Item, budget: Budget | None = None) -> str | None:
        """Bring one partition up to date; returns the failure's sentence, or None."""
        with Engine(self.profile, self.home.root, budget=budget) as engine:
            connect = duckdb_resource(self.profile, self.home).get_connection
            runtime = Runtime(self.profile, self.graph, self.home, self.store, connect, lambda: engine)
            try:
                run_step(self.graph[item[0]], item[1], runtime, log=lambda line: None, audit=lambda node, step: {"passed": True})
            except (StepError, EngineError) as e:
                return str(e)
        return None


def everything_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with size and modification time."""
    return {str(p): (s.st_size, s.st_mtime_ns) for p in sorted(folder.rglob("*")) if (s := p.stat()) and p.is_file()}
