"""Which partitions are stale, and why: published identities against those that a step would have now.

A partition is stale when its identity differs from the published snapshot's, when a file of that snapshot is gone, or when a
parent that it reads is stale (the parent's new content is not known before it ran, so the plan counts it; the run may stop early
where the parent turns out equal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Snapshot
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore, find_missing_files
from humanllm_assets.lineage.staleness.explain import Change, Details, ReadAndNow, find_changes
from resources.canonical import digest


@dataclass(frozen=True)
class Stale:
    """One partition that would run. `layer` 1 can run now; a higher one waits for stale parents of the layer before."""

    item: Item
    reasons: tuple[str, ...]
    certain: bool  # False: only because a parent is stale
    changes: tuple[Change, ...] = ()
    follows: tuple[Item, ...] = ()  # its stale parents
    layer: int = 1

    @property
    def asset(self) -> str:
        return self.item.asset

    @property
    def partition(self) -> str:
        return self.item.partition

    def __str__(self) -> str:
        return f"{self.item}  <- {'; '.join(self.reasons)}"


def find_own_changes(graph: Graph, store: SnapshotStore, item: Item, details: Details | None = None) -> list[Change]:
    """Why a partition is stale against what its parents have published now; empty when it is up to date.

    A parent that is not published, or damaged, is no reason here: it is stale itself, and this partition follows it.
    """
    node, partition = graph[item.asset], item.partition
    try:
        current = store.published(*item)
    except SnapshotError as e:
        return [Change(str(e))]
    if current is None:
        return [Change("never materialized")]
    if gone := find_missing_files(current):
        return [Change(f"{gone[0]} of the published snapshot is missing or cut off")]
    read = {r.item: r for r in current.manifest.upstream}
    versions: dict[Item, str] = {}
    both: dict[Item, ReadAndNow] = {}
    for parent in node.parents(partition):
        snapshot = _published(store, parent)
        if snapshot:
            versions[parent] = snapshot.data_version
            if parent in read:
                both[parent] = ReadAndNow(read[parent], snapshot)
        elif parent in read:
            versions[parent] = read[parent].data_version
    payload = node.full_identity(partition, versions)
    if digest(payload) == current.manifest.identity_hash:
        return []
    return find_changes(current.manifest.identity, payload, details, both) or [Change("identity changed")]


def _published(store: SnapshotStore, item: Item) -> Snapshot | None:
    try:
        return store.published(*item)
    except SnapshotError:
        return None


def plan(
    graph: Graph, store: SnapshotStore, targets: Sequence[Item] | None = None, details: Details | None = None
) -> list[Stale]:
    """Stale partitions among the targets and everything upstream of them, parents first. Default: the whole graph.

    Args:
        details: look up changed lines and rows too, which reads old snapshots.
    """
    wanted = graph.upstream_closure(targets) if targets is not None else graph.all_partitions()
    stale: dict[Item, Stale] = {}
    for item in wanted:
        waits_for = [p for p in graph[item.asset].parents(item.partition) if p in stale]
        parents = tuple(p for p in waits_for if p.asset not in graph[item.asset].guards)
        own = find_own_changes(graph, store, item, details)
        if own or parents:
            layer = 1 + max((stale[p].layer for p in waits_for), default=0)
            reasons = (*(c.phrase for c in own), *([_follows(parents)] if parents else []))
            stale[item] = Stale(item, reasons, bool(own), tuple(own), parents, layer)
    return list(stale.values())


def _follows(parents: Sequence[Item]) -> str:
    more = f" and {len(parents) - 1} more" if parents[1:] else ""
    return f"follows {parents[0]}{more}"


def find_undeclared(graph: Graph, store: SnapshotStore) -> list[Item]:
    """Published partitions that the profile no longer has: deleted or renamed slices, sources, recipes and so on."""
    declared = {(i.asset, i.folder) for i in graph.all_partitions()}
    files = sorted((store.root / "published").glob("*/[!.]*.json"))
    return [Item.of_folder(f.parent.name, f.stem) for f in files if (f.parent.name, f.stem) not in declared]
