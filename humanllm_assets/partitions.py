"""All partitions and mappings of the graph, derived from the profile.

Partition keys are the names people use: slices, sources, task-source pairs, recipes, contestants, benchmarks. Mappings are plain
dicts from a partition to the upstream partitions that it reads; `orchestration/build.py` turns them into Dagster's built-in mappings
(custom ones are dropped by the daemon and the UI). Pairs that cannot exist are no partitions.

What does not belong here: assets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from humanllm_assets.lineage.nodes import Dep, every, same
from resources.errors import Explained
from resources.profile import PROFILE_SOURCES, SCENARIO_SOURCES, TASKS, Profile, Recipe, site_of
from resources.sources import SOURCES


@dataclass(frozen=True)
class Partitions:
    """Partition keys of one profile."""

    profile: Profile

    @property
    def sources(self) -> tuple[str, ...]:
        """The profile's sources, in the order of the paper."""
        return tuple(s for s in SOURCES if s in self.profile.sources)

    def slices(self, source: str) -> tuple[str, ...]:
        """The slices of one source."""
        return tuple(self.profile.sources[source].slices)

    @property
    def profile_sources(self) -> tuple[str, ...]:
        """Sources whose users get a profile: partitions of `user_profiles` and `qc_scores`."""
        return tuple(s for s in PROFILE_SOURCES if s in self.profile.sources)

    @property
    def scenario_sources(self) -> tuple[str, ...]:
        """Sources whose records get scenarios and questions."""
        return tuple(s for s in SCENARIO_SOURCES if s in self.profile.sources)

    @property
    def pairs(self) -> tuple[str, ...]:
        """`<task>-<source>` for every pair that exists."""
        return tuple(pairs(self.profile.sources))

    @property
    def recipes(self) -> tuple[str, ...]:
        return tuple(self.profile.recipes)

    @property
    def contestants(self) -> tuple[str, ...]:
        return tuple(self.profile.contestants)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        return tuple(self.profile.benchmarks)

    # ---- mappings ----

    def slices_of(self, asset_prefix: str, sources: tuple[str, ...] | None = None) -> list[Dep]:
        """Deps of a source-partitioned asset on `<prefix>_<source>`: a source reads all its slices."""
        return [Dep(f"{asset_prefix}_{s}", {s: self.slices(s)}) for s in (sources or self.profile_sources)]

    def by_source(self, asset: str, sources: tuple[str, ...]) -> Dep:
        """Dep of a source-partitioned asset on the same sources of another."""
        return Dep(asset, same(sources))

    def pairs_on_source(self, asset: str, upstream_sources: tuple[str, ...], tasks: tuple[str, ...]) -> Dep:
        """Dep of task-source pairs on a source-partitioned asset, for the tasks that read it."""
        parents = {}
        for pair in self.pairs:
            task, source = parse_pair(pair)
            if task in tasks and site_of(source) in upstream_sources:
                parents[pair] = (site_of(source),)
        return Dep(asset, parents)

    def pairs_on_slices(self, asset: str, source: str, tasks: tuple[str, ...]) -> Dep:
        """Dep of task-source pairs on the slices of `<asset>`, which belongs to `source`."""
        return Dep(
            asset,
            {p: self.slices(source) for p in self.pairs if parse_pair(p)[0] in tasks and parse_pair(p)[1] == source},
        )

    def pairs_on_answered(self, asset: str, answered: str, tasks: tuple[str, ...]) -> Dep:
        """Dep of the pairs of sources that answer `answered` on those slices of its `<asset>` that they answer."""
        found = {p: SOURCES[source].answers == answered for p in self.pairs for task, source in [parse_pair(p)] if task in tasks}
        return Dep(asset, {p: self.slices(parse_pair(p)[1]) for p, wanted in found.items() if wanted})

    def pairs_of_recipe(self, recipe: Recipe) -> tuple[str, ...]:
        """The pairs that a recipe is trained on; none for raw continuation, which reads records."""
        if recipe.objective != "sft":
            return ()
        return tuple(p for p in self.pairs if parse_pair(p)[0] in recipe.tasks and parse_pair(p)[1] in recipe.sources)

    def pairs_of_benchmark(self, name: str) -> tuple[str, ...]:
        """The pairs whose test samples a benchmark asks about; none for a benchmark without a task."""
        b = self.profile.benchmarks[name]
        if b.task is None:
            return ()
        return tuple(p for p in self.pairs if parse_pair(p)[0] == b.task and (not b.sources or parse_pair(p)[1] in b.sources))

    def score_keys(self) -> tuple[str, ...]:
        """The keys of every benchmark with every contestant, contestant by contestant: that is the order in which they are asked, and
        a server of one model gives way to that of the next."""
        return tuple(score_key(b, c) for c in self.contestants for b in self.benchmarks)

    def benchmarks_of_scores(self, asset: str) -> Dep:
        """Dep of scores on the partition of `asset` that their benchmark names."""
        return Dep(asset, {k: (parse_score_key(k).benchmark,) for k in self.score_keys()}, dimension="benchmark")

    def contestants_of_scores(self, asset: str) -> Dep:
        """Dep of scores on the partition of `asset` that their contestant names."""
        return Dep(asset, {k: (parse_score_key(k).contestant,) for k in self.score_keys()}, dimension="contestant")

    def all_slices(self, asset: str, source: str) -> Dep:
        """Dep of an unpartitioned asset on every slice."""
        return Dep(asset, every(("",), self.slices(source)))


class ScoreKey(NamedTuple):
    """One contestant on one benchmark."""

    benchmark: str
    contestant: str


def score_key(benchmark: str, contestant: str) -> str:
    """The partition key `benchmark|contestant`; `|` is in no name of a profile."""
    return f"{benchmark}|{contestant}"


def parse_score_key(key: str) -> ScoreKey:
    """Benchmark and contestant of a partition key of scores."""
    benchmark, _, contestant = key.partition("|")
    return ScoreKey(benchmark, contestant)


class UnknownPair(Explained):
    """A task-source pair that does not exist."""


def pairs(profile_sources: Iterable[str]) -> list[str]:
    """Keys `<task>-<source>` of the pairs that exist for these sources, in the order of the tasks (T1-T6).

    Amazon has no scenarios and QA; commenting is on Reddit alone; items are selected on Amazon alone.
    """
    have = set(profile_sources)
    return [f"{task}-{source}" for task in TASKS for source in TASKS[task].sources if source in have]


def parse_pair(pair: str) -> tuple[str, str]:
    """Task and source of a pair key.

    Raises:
        UnknownPair: no such pair.
    """
    task, _, source = pair.partition("-")
    if task not in TASKS or source not in TASKS[task].sources:
        raise UnknownPair(f"`{pair}` is no task-source pair; known pairs: {', '.join(pairs(SOURCES))}")
    return task, source
