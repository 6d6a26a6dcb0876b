"""The declaration of an asset. Dagster's definitions, the memoizing step and the planner are all built from it.

What belongs here: what a node is, what a step of it works with, and the graph of nodes. What does not: Dagster
(`orchestration/build.py`), running a node (`step.py`), comparing identities with published ones (`staleness/`).

A partition is named by a string; an unpartitioned asset has the one partition "". A node over two dimensions has keys
`first|second`, dimensions in alphabetical order, as Dagster writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.answers import keep_answers
from humanllm_assets.lineage.code_version import function_versions, module_versions
from humanllm_assets.lineage.items import NO_PARTITION, Item
from humanllm_assets.lineage.manifests import Counts, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore, SnapshotWriter
from humanllm_assets.sql import Table, parquet, select_list
from resources.canonical import digest, plain
from resources.errors import Explained

if TYPE_CHECKING:
    import duckdb

    from resources.home import Home
    from resources.llm.asker import Asker
    from resources.profile import Profile


@dataclass(frozen=True)
class Dep:
    """An upstream asset and, for each own partition, the upstream partitions that it reads (none: not a parent).

    `dimension`: of an asset over two dimensions, the one whose keys are the upstream partitions. `asks`: whether what is asked of
    models depends on it; forecasts of calls look no further where it does not. `guard`: it must be published and up to date before
    the asset computes, and decides nothing of what is computed, so its versions are in no identity and no lineage.
    """

    asset: str
    parents: Mapping[str, tuple[str, ...]]
    dimension: str | None = None
    asks: bool = True
    guard: bool = False


@dataclass(frozen=True)
class Node:
    """One asset.

    `identity(partition)` is everything of the profile, the prompts and the models that decides the output, as plain data;
    `external(partition)` is what the world outside decides (hashes of source files, of model weights); neither may contain
    anything about execution. `compute(step)` writes the declared tables and files. `code` names science modules that `compute`
    does not import, because they run in another process or belong to some partitions alone; `calls(partition)` lists functions
    that `compute` picks by the partition. A `gated` node is expensive or will be
    trusted, so it refuses to compute while anything upstream of it is missing or stale. What a node that `keeps_forever` made stays,
    published or not, with all that it was made from, until a takedown deletes it; its lineage has a check of its own.
    """

    name: str
    group: str
    description: str
    kinds: frozenset[str]
    tables: Mapping[str, Table]
    compute: Callable[[Step], None]
    partitions: tuple[str, ...] = (NO_PARTITION,)
    dimensions: Mapping[str, tuple[str, ...]] | None = None
    deps: tuple[Dep, ...] = ()
    identity: Callable[[str], Mapping[str, Any]] = field(default=lambda partition: {})
    external: Callable[[str], Mapping[str, Any]] = field(default=lambda partition: {})
    code: Sequence[str] | Callable[[str], Sequence[str]] = ()
    calls: Callable[[str], Sequence[Callable[..., Any]]] = field(default=lambda partition: ())
    contract: Contract | None = None
    uses_llm: bool = False
    gated: bool = False
    keeps_forever: bool = False
    alone: bool = False  # execution: takes the whole machine, so that the command runs nothing beside it

    @property
    def partitioned(self) -> bool:
        return self.partitions != (NO_PARTITION,)

    def parents(self, partition: str) -> list[Item]:
        """The upstream partitions that a partition reads, or that guard it."""
        return [Item(d.asset, p) for d in self.deps for p in d.parents.get(partition, ())]

    @property
    def guards(self) -> frozenset[str]:
        """The upstream assets that decide whether a step may start, and nothing else."""
        return frozenset(d.asset for d in self.deps if d.guard)

    def code_versions(self, partition: str) -> dict[str, str]:
        """Versions of the science code behind a partition alone, by function or module."""
        modules = self.code(partition) if callable(self.code) else self.code
        versions = {**function_versions(self.compute), **module_versions(*modules)}
        for function in self.calls(partition):
            versions |= function_versions(function)
        return versions

    def own_identity(self, partition: str) -> dict[str, Any]:
        """The identity without upstream versions and without the outside world; pure, known at load time."""
        return {
            "asset": self.name,
            "partition": partition,
            "code": self.code_versions(partition),
            "contract": self.contract.rules if self.contract else None,
            "columns": {t: [[c.name, c.type] for c in columns] for t, columns in self.tables.items()},
            **plain(self.identity(partition), f"identity of {self.name}"),
        }

    def full_identity(self, partition: str, upstream: Mapping[Item, str]) -> dict[str, Any]:
        """The identity payload of a partition, given the data version of every parent."""
        versions: dict[str, dict[str, str]] = {}
        for (asset, parent), version in upstream.items():
            if asset not in self.guards:
                versions.setdefault(asset, {})[parent] = version
        return {
            **self.own_identity(partition),
            "external": plain(self.external(partition), f"external identity of {self.name}"),
            "upstream": versions,
        }

    @cached_property
    def load_time_version(self) -> str:
        """What Dagster is told as `code_version`: code and own identity of all partitions, so that its UI notices changes too."""
        return digest({p: self.own_identity(p) for p in self.partitions})[:16]


class Graph:
    """All nodes, by name, in topological order.

    Raises:
        ValueError: a dependency names an unknown asset or partition, or two nodes share a name.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        by_name = {n.name: n for n in nodes}
        if len(by_name) != len(nodes):
            raise ValueError("two nodes share a name")
        for n in nodes:
            for d in n.deps:
                if d.asset not in by_name:
                    raise ValueError(f"{n.name} depends on {d.asset}, which is not declared")
                unknown = {p for ps in d.parents.values() for p in ps} - set(by_name[d.asset].partitions)
                if unknown or set(d.parents) - set(n.partitions):
                    raise ValueError(f"the mapping {d.asset} -> {n.name} names unknown partitions: {sorted(unknown)}")
        order = TopologicalSorter({n.name: {d.asset for d in n.deps} for n in nodes}).static_order()
        self.nodes: dict[str, Node] = {name: by_name[name] for name in order}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def all_partitions(self) -> list[Item]:
        """Every declared partition, upstream ones first."""
        return [Item(n.name, p) for n in self.nodes.values() for p in n.partitions]

    def upstream_closure(self, targets: Sequence[Item]) -> list[Item]:
        """The targets and everything upstream of them, parents first."""
        todo, seen = list(targets), set()
        while todo:
            item = todo.pop()
            if item not in seen:
                seen.add(item)
                todo.extend(self.nodes[item[0]].parents(item[1]))
        return [item for item in self.all_partitions() if item in seen]


def same(partitions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Mapping in which every partition reads the upstream partition of its own name."""
    return {p: (p,) for p in partitions}


def every(partitions: Sequence[str], upstream: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Mapping in which every partition reads all upstream partitions."""
    return {p: tuple(upstream) for p in partitions}


class StepError(Explained):
    """A step cannot run or its input is unusable; one sentence with the remedy."""


@dataclass
class Runtime:
    """What steps talk to: profile, data home, snapshot store, DuckDB, and the engine, started when first asked for."""

    profile: Profile
    graph: Graph
    home: Home
    store: SnapshotStore
    connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    engine: Callable[[], Asker]


@dataclass
class Step:
    """What `Node.compute` works with."""

    node: Node
    partition: str
    runtime: Runtime
    inputs: Mapping[str, Mapping[str, Snapshot]]
    identity_hash: str
    writer: SnapshotWriter
    con: duckdb.DuckDBPyConnection
    log: Callable[[str], None]
    pipes: Any = None  # Dagster's execution context, for external processes that report through Pipes
    counts: Counts = field(default_factory=Counts)
    stages: dict[str, Counts] = field(default_factory=dict)
    measures: dict[str, float | int | str | bool | None] = field(default_factory=dict)
    _engine: Asker | None = None
    _calls_before: int = 0
    _answers_before: int = 0

    @property
    def item(self) -> Item:
        return Item(self.node.name, self.partition)

    @property
    def profile(self) -> Profile:
        return self.runtime.profile

    @property
    def engine(self) -> Asker:
        """The LLM engine; starts on first use. What its calls cost is recorded in the manifest."""
        engine = self.runtime.engine()
        if self._engine is None:
            self._engine, self._calls_before = engine, len(engine.calls)
            self._answers_before = engine.used_so_far()
        return engine

    @property
    def usage(self) -> dict[str, Any]:
        """Cost of the step's LLM calls, by label."""
        if self._engine is None:
            return {}
        return {label: stats.as_dict() for label, stats in self._engine.calls[self._calls_before :]}

    def keep_answers(self) -> str:
        """Keep the list of journal answers that the step used; returns its hash for the manifest."""
        if self._engine is None:
            return ""
        return keep_answers(self.runtime.home.root, self._engine.used_since(self._answers_before))

    @property
    def workdir(self) -> Path:
        """A folder for temporary files of this step; removed with the step."""
        path = self.writer.folder.with_name(self.writer.folder.name + "-work")
        path.mkdir(exist_ok=True)
        return path

    def view(self, name: str, asset: str | Sequence[str], table: str) -> None:
        """Create a DuckDB view over a table of all pinned partitions of one or several upstream assets."""
        assets = [asset] if isinstance(asset, str) else asset
        files = [s.path(table) for a in assets for _, s in sorted(self.inputs.get(a, {}).items())]
        if files:
            self.con.execute(f"create or replace view {name} as select * from {parquet(files, 'union_by_name')}")
        else:
            columns = self.runtime.graph[assets[0]].tables[table]
            blank = ", ".join(f'null as "{c.name}"' for c in columns)
            self.con.execute(f"create or replace view {name} as select {select_list(columns)} from (select {blank}) where false")

    def records(self, name: str, asset: str | Sequence[str]) -> int:
        """Like `view`, for the records of all slices of one or several sources: a record that several slices hold is taken once.

        Returns how many repetitions were left out.
        """
        self.view(f"{name}_of_slices", asset, "records")
        self.con.execute(
            f"create or replace view {name} as select * from {name}_of_slices "
            "qualify row_number() over (partition by record_id order by slice) = 1"
        )
        counts = self.con.execute(f"select (select count(*) from {name}_of_slices) - (select count(*) from {name})").fetchall()
        return counts[0][0]

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to a table of the snapshot; see `SnapshotWriter.write`."""
        self.writer.write(table, rows)

    def copy(self, table: str, query: str) -> None:
        """Write a query's result as a whole table of the snapshot."""
        self.writer.copy(self.con, table, query)

    def append(self, table: str, query: str) -> None:
        """Append a query's rows to a table that `write` also adds to."""
        result = self.con.cursor().execute(query)
        names = [c[0] for c in result.description or ()]
        while rows := result.fetchmany(1000):
            self.write(table, [dict(zip(names, r, strict=True)) for r in rows])

    def count(self, entered: int, kept: int, dropped: Mapping[str, int]) -> None:
        """Set the step's row counts; the contract fails unless they add up."""
        self.counts = Counts(entered=entered, kept=kept, dropped={k: v for k, v in sorted(dropped.items()) if v})
