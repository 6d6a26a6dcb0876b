"""A graph of three plain nodes over a dict of numbers, for the laws of the core."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.lineage.nodes import Dep, Graph, Node, Runtime, Step, every, same
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import Outcome, run_step
from humanllm_assets.sql import Column
from resources.home import Home
from resources.profile import Profile, load_profile

NUMBERS = (Column("id", "VARCHAR", "name"), Column("n", "INTEGER", "number"))


@dataclass
class World:
    """What lies outside: the numbers of each slice, a factor (a setting), and how often each node computed."""

    root: Path
    source: dict[str, dict[str, int]] = field(default_factory=lambda: {"a": {"x": 1, "y": 2}, "b": {"z": 3}})
    factor: int = 10
    at_least: int = 0
    computed: list[tuple[str, str]] = field(default_factory=list)
    kept_forever: str = ""  # a node that keeps what it made
    verdict: Mapping[str, Any] = field(default_factory=dict)
    profile: Profile = field(default_factory=lambda: load_profile("paper"))

    def graph(self) -> Graph:
        slices = tuple(self.source)
        return Graph(
            [
                Node(
                    name="raw",
                    group="sources",
                    description="numbers",
                    kinds=frozenset(),
                    tables={"rows": NUMBERS},
                    partitions=slices,
                    external=lambda p: {"content": self.source[p]},
                    compute=self._raw,
                ),
                Node(
                    name="scaled",
                    group="filtering",
                    description="large enough numbers, scaled",
                    kinds=frozenset(),
                    tables={"rows": NUMBERS},
                    partitions=slices,
                    deps=(Dep("raw", same(slices)),),
                    identity=lambda p: {"factor": self.factor, "at_least": self.at_least},
                    compute=self._scaled,
                ),
                Node(
                    name="total",
                    group="reporting",
                    description="sum",
                    kinds=frozenset(),
                    tables={"rows": NUMBERS},
                    deps=(Dep("scaled", every(("",), slices)),),
                    compute=self._total,
                    keeps_forever=self.kept_forever == "total",
                ),
            ]
        )

    def _raw(self, step: Step) -> None:
        self.computed.append(("raw", step.partition))
        step.write("rows", [{"id": k, "n": n} for k, n in self.source[step.partition].items()])
        step.count(len(self.source[step.partition]), len(self.source[step.partition]), {})

    def _scaled(self, step: Step) -> None:
        self.computed.append(("scaled", step.partition))
        step.view("raw", "raw", "rows")
        step.copy("rows", f"select id, n * {self.factor} as n from raw where n >= {self.at_least}")
        read, kept = step.con.execute(f"select count(*), count(*) filter (n >= {self.at_least}) from raw").fetchall()[0]
        step.count(read, kept, {"too_small": read - kept})

    def _total(self, step: Step) -> None:
        self.computed.append(("total", step.partition))
        step.view("scaled", "scaled", "rows")
        step.copy("rows", "select 'total' as id, sum(n) as n from scaled")

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.root)

    def runtime(self, graph: Graph) -> Runtime:
        @contextmanager
        def connect():
            with duckdb.connect() as con:
                yield con

        def engine():
            raise AssertionError("this graph asks no model")

        return Runtime(self.profile, graph, Home(self.root), self.store, connect, engine)

    def run(self, name: str, partition: str = "", force: bool = False) -> Outcome:
        graph = self.graph()
        return run_step(
            graph[name],
            partition,
            self.runtime(graph),
            log=lambda line: None,
            run_id="run",
            force=force,
            audit=lambda node, step: dict(self.verdict),
        )

    def run_all(self) -> list[tuple[str, str]]:
        """Run every partition, parents first; returns those that computed."""
        self.computed.clear()
        for name, partition in self.graph().all_partitions():
            self.run(name, partition)
        return list(self.computed)

    def total(self) -> int:
        snapshot = self.store.published("total", "")
        assert snapshot is not None
        return duckdb.sql(f"select n from read_parquet('{snapshot.path('rows')}')").fetchall()[0][0]
