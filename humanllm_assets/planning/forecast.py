"""What a plan will ask of the models, before anything is asked.

A stale partition whose parents are all fresh is known exactly: its own `compute` runs with a `Rehearsal` in the engine's place
and a throw-away folder for what it writes, so every question is looked up in the journal under its real key. What depends on
answers that nobody has yet is estimated from what was recorded: questions after unknown answers (labels after rewrites), attempts
after bad answers, and everything in partitions whose parents are stale too. Those are multiplied by the fraction of upstream
questions that are new; where no fraction is known, all of them count as new.

What belongs here: numbers. What does not: how they are shown (`view.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Node, Runtime, Step
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore, SnapshotWriter
from humanllm_assets.lineage.staleness.plan import Stale
from humanllm_assets.lineage.step import pin_inputs
from resources.errors import Explained

if TYPE_CHECKING:
    from resources.llm.rehearsal import Asked, Rehearsal

# Own changes that leave what a partition holds, or at least what it asks, as it was; any other (prompt, model, sampling, caps, a
# parent) makes all of it new.
_SAME_CONTENT = {"contract", "columns"}
_SAME_QUESTIONS = {"code", "qc", "labels"}


@dataclass(frozen=True)
class Forecast:
    """LLM work of one partition; None = nothing was ever recorded to tell it from.

    `calls`: answers that servers will have to give; `certain`: those among them that were looked up one by one; `exact`: there
    are no others. `journal_hits`: answers that are known. `seconds`: of the servers' work on these calls, as such calls took
    before. `cost`: by the profile's prices per token. `note`: why it is less sure than it could be.
    """

    calls: int | None
    certain: int
    exact: bool
    journal_hits: int | None
    input_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    cost: float | None
    note: str = ""


class Record:
    """What LLM calls of one asset were recorded in its manifests, by label; a partition's own name in a label reads `*`."""

    def __init__(self, node: Node, store: SnapshotStore) -> None:
        self._node, self._store = node, store

    def _usages(self, partition: str) -> Iterator[dict[str, dict[str, float]]]:
        """Of every retained snapshot of a partition."""
        for snapshot in self._store.all(self._node.name, partition):
            yield group_by_label(snapshot.manifest.usage, partition)

    @cached_property
    def by_label(self) -> dict[str, dict[str, float]]:
        """Sums over all partitions and retained snapshots."""
        return _summed(u for p in self._node.partitions for u in self._usages(p))

    @cached_property
    def _questions(self) -> dict[str, int]:
        """Of the published partitions, when they were last computed."""
        found = {}
        for partition in self._node.partitions:
            try:
                snapshot = self._store.published(self._node.name, partition)
            except SnapshotError:
                continue
            if snapshot:
                found[partition] = round(sum(count_questions(s) for s in snapshot.manifest.usage.values()))
        return found

    def questions_of(self, partition: str) -> int | None:
        """Questions of a partition when it was last computed, else the mean of its siblings; None when none was ever."""
        if partition in self._questions or not self._questions:
            return self._questions.get(partition)
        return round(sum(self._questions.values()) / len(self._questions))

    def per_call(self, label: str, field: str) -> float | None:
        """Mean of a usage field over the calls with a label, else over all calls of the asset."""
        for stats in (self.by_label.get(label), _total(self.by_label)):
            if stats and stats["calls"]:
                return stats[field] / stats["calls"]
        return None

    def retries_per_question(self, label: str) -> float:
        """Mean number of further attempts; 0 when nothing was recorded."""
        stats = self.by_label.get(label)
        first = stats["calls"] - stats["retries"] if stats else 0
        return stats["retries"] / first if stats and first > 0 else 0.0

    def ratio(self, later: str, earlier: str) -> float:
        """Questions with one label for each with another; 1 when nothing was recorded."""
        a, b = self.by_label.get(later), self.by_label.get(earlier)
        return count_questions(a) / count_questions(b) if a and b and count_questions(b) else 1.0


def count_questions(stats: dict[str, float]) -> float:
    """Questions behind the recorded usage of one label: those that were asked and those that the journal answered."""
    return stats["calls"] + stats["journal_hits"]


def group_by_label(usage: dict[str, Any], partition: str) -> dict[str, dict[str, float]]:
    """A manifest's usage by label, the partition's own name in a label as `*`, so that siblings share labels."""
    return {label.replace(partition, "*") if partition else label: stats for label, stats in usage.items()}


def _summed(usages: Iterator[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    sums: dict[str, dict[str, float]] = {}
    for usage in usages:
        for label, stats in usage.items():
            total = sums.setdefault(label, dict.fromkeys(stats, 0))
            for name, value in stats.items():
                total[name] += value
    return sums


def _total(labels: dict[str, dict[str, float]]) -> dict[str, float]:
    return _summed(iter([{"": stats} for stats in labels.values()])).get("", {})


def rehearse(runtime: Runtime, node: Node, partition: str) -> None:
    """Run a step's own code with the runtime's engine, which answers from the journal alone; what it writes is thrown away.

    Raises:
        Explained: a parent is not published, or the step itself cannot go on.
    """
    inputs = pin_inputs(node, partition, runtime.store)
    with tempfile.TemporaryDirectory(prefix="humanllm-forecast-") as folder, runtime.connect() as con:
        output = Path(folder) / "output"
        output.mkdir()
        writer = SnapshotWriter(output, node.tables)
        node.compute(Step(node, partition, runtime, inputs, "forecast", writer, con, lambda line: None))


class Forecaster:
    """Forecasts for the stale partitions of one plan, in its order."""

    def __init__(self, runtime: Runtime) -> None:
        from resources.llm.rehearsal import Rehearsal

        self._rehearsal: Rehearsal = Rehearsal(runtime.profile, runtime.home)
        self._runtime = replace(runtime, engine=lambda: self._rehearsal)
        self._records: dict[str, Record] = {}
        self._shares: dict[Item, float] = {}  # of a stale partition's questions (or content), how much is new
        self._weights: dict[Item, int] = {}  # questions of stale partitions
        self._models: dict[tuple[str, str], str] = {}  # by asset and label

    def close(self) -> None:
        """Give back the rehearsal's journal."""
        self._rehearsal.close()

    def __enter__(self) -> Forecaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, asset: str) -> Record:
        return self._records.setdefault(asset, Record(self._runtime.graph[asset], self._runtime.store))

    def forecast(self, stale: Stale) -> Forecast | None:
        """The forecast of one stale partition, after those of its parents; None for an asset that asks no model."""
        node = self._runtime.graph[stale.asset]
        found = None
        if node.uses_llm:
            found = self._exact(node, stale) if stale.layer == 1 else self._estimate(node, stale)
        total = (found.calls or 0) + (found.journal_hits or 0) if found else 0
        if found and total:
            self._shares[stale.item], self._weights[stale.item] = (found.calls or 0) / total, total
        else:
            self._shares[stale.item] = self._share(node, stale)
        return found

    # -- exactly --

    def _exact(self, node: Node, stale: Stale) -> Forecast:
        before, guesses = len(self._rehearsal.asked), self._rehearsal.guesses
        try:
            rehearse(self._runtime, node, stale.partition)
        except (Explained, OSError, duckdb.Error) as e:
            del self._rehearsal.asked[before:]
            return replace(self._estimate(node, stale), note=f"cannot be looked up: {e}")
        guessed = self._rehearsal.guesses > guesses
        note = "texts were cut by a guess of their tokens" if guessed else ""
        return self._counted(node, stale.partition, self._rehearsal.asked[before:], note)

    def _counted(self, node: Node, partition: str, asked: Sequence[Asked], note: str) -> Forecast:
        """`Asked` of one step as a forecast. A request that an earlier `ask` left open and a later one lacks will be asked there."""
        record = self._record(node.name)
        expected: dict[str, float] = {}  # calls by label
        unanswered: set[str] = set()
        first = ""
        certain = sum(a.missing for a in asked)
        for a in asked:
            label = a.label.replace(partition, "*") if partition else a.label
            self._models[node.name, label] = a.model
            calls = a.missing + len(unanswered - a.keys) * record.ratio(label, first)
            expected[label] = expected.get(label, 0) + calls * (1 + record.retries_per_question(label))
            first = first or (label if a.open else "")
            unanswered |= a.open
        calls = round(sum(expected.values()))
        exact = not note and all(n == int(n) for n in expected.values()) and calls == certain
        return self._forecast(node, expected, calls, certain, exact, sum(a.known for a in asked), note)

    # -- from what was recorded --

    def _estimate(self, node: Node, stale: Stale) -> Forecast:
        record = self._record(node.name)
        total = record.questions_of(stale.partition)
        if total is None:
            return Forecast(None, 0, False, None, None, None, None, None)
        calls = round(total * self._share(node, stale))
        labels = record.by_label
        sums = sum(map(count_questions, labels.values())) or 1
        expected = {label: calls * count_questions(stats) / sums for label, stats in labels.items()}
        return self._forecast(node, expected, calls, 0, False, total - calls, "")

    def _share(self, node: Node, stale: Stale) -> float:
        """Which fraction of a stale partition's questions is new: all when something of its own changed, else the fraction of its parents."""
        own = {c.field.split(".")[0] for c in stale.changes} - _SAME_CONTENT
        if own and not (node.uses_llm and own <= _SAME_QUESTIONS):
            return 1.0
        shares = []
        asked, new = 0.0, 0.0
        for dep in (d for d in node.deps if d.asks):
            parents = [Item(dep.asset, p) for p in dep.parents.get(stale.partition, ())]
            weights = [self._weights.get(p) or self._record(p.asset).questions_of(p.partition) or 0 for p in parents]
            if any(weights):
                asked += sum(weights)
                new += sum(w * self._shares.get(p, 0.0) for p, w in zip(parents, weights, strict=True))
            elif parents:
                shares.append(sum(self._shares.get(p, 0.0) for p in parents) / len(parents))
        return min(1.0, max([*shares, new / asked if asked else 0.0]))

    def _cost(self, node: Node, label: str, calls: float) -> float:
        """Of calls with a label, by the prices of its model; by the highest of the profile while the model is not known."""
        profile, record = self._runtime.profile, self._record(node.name)
        asked, replied = (calls * (record.per_call(label, field) or 0) for field in ("input_tokens", "output_tokens"))
        known = self._models.get((node.name, label))
        models = [profile.models[known]] if known in profile.models else [None, *profile.models.values()]
        return max(profile.engine.cost(asked, replied, model) for model in models)

    def _forecast(
        self, node: Node, expected: dict[str, float], calls: int, certain: int, exact: bool, hits: int, note: str
    ) -> Forecast:
        def total(field: str) -> float | None:
            each = {label: self._record(node.name).per_call(label, field) for label, n in expected.items() if n}
            return None if None in each.values() else sum(expected[label] * (mean or 0) for label, mean in each.items())

        asked, replied, seconds = total("input_tokens"), total("output_tokens"), total("seconds")
        cost = None if asked is None or replied is None else sum(self._cost(node, label, n) for label, n in expected.items() if n)
        return Forecast(
            calls=calls,
            certain=certain,
            exact=exact,
            journal_hits=hits,
            input_tokens=None if asked is None else round(asked),
            output_tokens=None if replied is None else round(replied),
            seconds=None if seconds is None else round(seconds, 3),
            cost=cost,
            note=note,
        )
