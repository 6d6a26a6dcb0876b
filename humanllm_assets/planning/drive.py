"""Which partition runs when: parents first, as many at once as fit, nothing behind a failure.

What belongs here: the order. What does not: running one (`commands/materialize.py`), what is stale (`lineage/staleness/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from humanllm_assets.lineage.nodes import Graph, display
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.plan import Item, own_reasons


@dataclass
class Summary:
    """What a materialization did, by partition."""

    fresh: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)  # stale, but not allowed to start
    skipped: list[str] = field(default_factory=list)


def drive(
    graph: Graph,
    store: SnapshotStore,
    targets: Sequence[Item],
    submit: Callable[[Item, bool], Future[str | None]],
    *,
    concurrency: int,
    echo: Callable[[str], None],
    force: bool = False,
    only: bool = False,
    allow: Callable[[Item], str | None] | None = None,
) -> Summary:
    """Bring the targets and everything above them up to date, parents first.

    A failed partition stops what depends on it, nothing else. Before each partition its identity is compared with the published
    one, so a parent that turned out equal stops the wave there.

    Args:
        submit: runs one partition, given whether to compute it even when it is up to date; the future holds the failure's
            sentence, or None.
        force: compute the targets even when they are up to date.
        only: leave what is above the targets as it is published.
        allow: looks at a stale partition right before it starts, and returns why it must not, or None. Partitions that ask a
            model then run one after another, so that each is looked at after the one before was paid for.
    """
    wanted = graph.upstream_closure(targets)
    if only:
        wanted = [item for item in wanted if item in set(targets)]
    wanted_set, forced = set(wanted), set(targets) if force else set()
    summary = Summary()
    todo, finished, blocked = list(wanted), set[Item](), set[Item]()
    running: dict[Future[str | None], Item] = {}
    started = 0

    def ready(item: Item) -> bool:
        return all(p in finished or p not in wanted_set for p in graph[item[0]].parents(item[1]))

    def fits(item: Item) -> bool:
        node, beside = graph[item[0]], [graph[r[0]] for r in running.values()]
        if allow and node.uses_llm and any(n.uses_llm for n in beside):
            return False
        return not beside if node.alone else not any(n.alone for n in beside)

    while todo or running:
        for item in list(todo):
            if any(p in blocked for p in graph[item[0]].parents(item[1])):
                todo.remove(item)
                blocked.add(item)
                summary.skipped.append(display(*item))
            elif len(running) < concurrency and ready(item) and fits(item):
                todo.remove(item)
                if item not in forced and not own_reasons(graph, store, *item):
                    finished.add(item)
                    summary.fresh.append(display(*item))
                    continue
                if allow and (refusal := allow(item)):
                    blocked.add(item)
                    summary.held[display(*item)] = refusal
                    echo(f"HELD {display(*item)}: {refusal}")
                    continue
                started += 1
                rest = len(wanted) - len(finished) - len(blocked) - len(running) - 1
                echo(f"[{started} started, {rest} left] {display(*item)}")
                running[submit(item, item in forced)] = item
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            failure = future.result()
            if failure is None:
                finished.add(item)
                summary.computed.append(display(*item))
            else:
                blocked.add(item)
                summary.failed[display(*item)] = failure
                echo(f"FAILED {failure}")
    return summary
