"""Which partition runs when: parents first, as many at once as fit, nothing downstream of a failure.

What belongs here: the order. What does not: running one (`commands/materialize.py`), what is stale (`lineage/staleness/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.plan import find_own_changes

Submit = Callable[[Item, bool], Future[str | None]]
Allow = Callable[[Item], str | None]


@dataclass
class Summary:
    """What a materialization did, by partition."""

    fresh: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)  # stale, but not allowed to start
    skipped: list[str] = field(default_factory=list)


class Schedule:
    """The partitions that wait, run, are finished or cannot run any more. One is ready when its wanted parents are finished.

    Args:
        wanted: parents first.
        concurrency: most partitions that run at once.
        one_asks: partitions that ask a model run one after another.
    """

    def __init__(self, graph: Graph, wanted: Sequence[Item], concurrency: int, one_asks: bool) -> None:
        self._graph, self._concurrency, self._one_asks = graph, concurrency, one_asks
        self._wanted = set(wanted)
        self._waiting = list(wanted)
        self._running, self._finished, self._blocked = set[Item](), set[Item](), set[Item]()

    @property
    def left(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def _parents(self, item: Item) -> list[Item]:
        return [p for p in self._graph[item.asset].parents(item.partition) if p in self._wanted]

    def _fits(self, item: Item) -> bool:
        """Whether an item may run beside those that run."""
        node, beside = self._graph[item.asset], [self._graph[r.asset] for r in self._running]
        if len(beside) >= self._concurrency or (self._one_asks and node.uses_llm and any(n.uses_llm for n in beside)):
            return False
        return not beside if node.alone else not any(n.alone for n in beside)

    def next_ready(self) -> Item | None:
        """Take the first waiting item that can run now; it counts as running from here on. None when there is none."""
        for item in self._waiting:
            if self._finished.issuperset(self._parents(item)) and self._fits(item):
                self._waiting.remove(item)
                self._running.add(item)
                return item
        return None

    def finish(self, item: Item) -> None:
        """Note that a running item is up to date now."""
        self._running.remove(item)
        self._finished.add(item)

    def block(self, item: Item) -> list[Item]:
        """Note that a running item failed or was held back; returns the waiting items downstream of it, which will not run."""
        self._running.remove(item)
        self._blocked.add(item)
        behind = []
        for other in self._waiting:  # parents come first
            if not self._blocked.isdisjoint(self._parents(other)):
                self._blocked.add(other)
                behind.append(other)
        self._waiting = [i for i in self._waiting if i not in self._blocked]
        return behind


def drive(
    graph: Graph,
    store: SnapshotStore,
    targets: Sequence[Item],
    submit: Submit,
    *,
    concurrency: int,
    echo: Callable[[str], None],
    force: bool = False,
    only: bool = False,
    allow: Allow | None = None,
) -> Summary:
    """Bring the targets and everything upstream of them up to date, parents first.

    A failed partition stops what depends on it, nothing else. Before each partition its identity is compared with the published
    one, so an unchanged parent ends the rebuild there.

    Args:
        submit: runs one partition, given whether to compute it even when it is up to date; the future holds the failure's
            sentence, or None.
        force: compute the targets even when they are up to date.
        only: leave what is upstream of the targets as it is published.
        allow: looks at a stale partition right before it starts, and returns why it must not, or None. Partitions that ask a
            model then run one after another, so that each is looked at after the one before was paid for.
    """
    named = set(targets)
    wanted = [item for item in graph.upstream_closure(targets) if item in named or not only]
    forced = named if force else set[Item]()
    schedule = Schedule(graph, wanted, concurrency, one_asks=allow is not None)
    summary, running = Summary(), dict[Future[str | None], Item]()
    started = 0
    while True:
        while item := schedule.next_ready():
            if item not in forced and not find_own_changes(graph, store, item):
                schedule.finish(item)
                summary.fresh.append(str(item))
            elif allow and (refusal := allow(item)):
                summary.held[str(item)] = refusal
                summary.skipped += map(str, schedule.block(item))
                echo(f"HELD {item}: {refusal}")
            else:
                started += 1
                echo(f"[{started} started, {schedule.left} left] {item}")
                running[submit(item, item in forced)] = item
        if not running:
            return summary
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            failure = future.result()
            if failure is None:
                schedule.finish(item)
                summary.computed.append(str(item))
            else:
                summary.failed[str(item)] = failure
                summary.skipped += map(str, schedule.block(item))
                echo(f"FAILED {failure}")
