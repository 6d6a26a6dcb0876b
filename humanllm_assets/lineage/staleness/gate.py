"""The gate before training and benchmarking: nothing expensive starts on data that is missing, stale or of unknown code.

Dagster launches a step as soon as someone asks for it; whether its parents are up to date is only coloured in the UI, and only
one level deep. A gated node (`Node.gated`) looks at everything upstream of it first and refuses in one message that names it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from humanllm_assets.lineage.git import code_state
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph, Node
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore
from humanllm_assets.lineage.staleness.plan import plan

_SHOWN = 20  # lines of a refusal; a stale source can have hundreds of followers


@dataclass(frozen=True)
class Finding:
    """One upstream partition that a gated node should not read, and why."""

    item: Item
    reason: str

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


def find_stale_upstream(graph: Graph, store: SnapshotStore, node: Node, partition: str) -> list[Finding]:
    """Everything upstream of a partition that is missing, unpublished or stale, parents first."""
    return find_stale(graph, store, node.parents(partition))


def find_stale(graph: Graph, store: SnapshotStore, items: Sequence[Item]) -> list[Finding]:
    """What of these partitions and of everything upstream of them is missing, unpublished or stale, parents first."""
    found = plan(graph, store, items)
    return [Finding(s.item, _rejection(store, s.item) or "; ".join(s.reasons)) for s in found]


def _rejection(store: SnapshotStore, item: Item) -> str | None:
    """What the newest snapshot of a partition broke of its contract; None when it broke nothing."""
    newest = max((s.manifest for s in store.all(*item)), key=lambda m: m.finished_at, default=None)
    return f"not published, {'; '.join((newest.verdict or {})['failed'])}" if newest and not newest.passed else None


def find_unclean_upstream(graph: Graph, store: SnapshotStore, node: Node, partition: str) -> list[Finding]:
    """Published partitions upstream of one, and the one itself, whose code is not exactly a commit."""
    found = []
    for item in graph.upstream_closure(node.parents(partition)):
        try:
            snapshot = store.published(*item)
        except SnapshotError:
            continue  # `find_stale_upstream` names it
        if snapshot and (reason := _unclean(snapshot.manifest.code)):
            found.append(Finding(item, f"computed from {reason}"))
    if reason := _unclean(code_state()):
        found.append(Finding(Item(node.name, partition), f"would be computed from {reason}"))
    return found


def _unclean(code: dict[str, object]) -> str | None:
    if code.get("commit") is None:
        return "code of an unknown commit"
    return f"uncommitted changes on {str(code['commit'])[:10]}" if code.get("dirty") else None


def describe_refusal(node: Node, partition: str, stale: list[Finding], unclean: list[Finding]) -> str:
    """The one message of a closed gate, with the remedy of each kind."""
    name = Item(node.name, partition)
    lines = [f"{name} was not started, because of what it would read:"]
    shown = [*stale, *unclean]
    lines += [f"  {finding}" for finding in shown[:_SHOWN]]
    if shown[_SHOWN:]:
        lines.append(f"  and {len(shown) - _SHOWN} more")
    if stale:
        lines.append(
            f"Rebuild them first: humanllm refresh '{name}'. To go on with what is published, which the manifest will record: "
            f"humanllm materialize '{name}' --only --allow-stale, or `allow_stale: true` in the run's configuration"
        )
    if unclean:
        targets = " ".join(f"'{f.item}'" for f in unclean[:3])
        lines.append(
            f"Commit the code, then compute again what was made from uncommitted code: humanllm materialize --force {targets}"
            + (" ..." if unclean[3:] else "")
        )
    return "\n".join(lines)
