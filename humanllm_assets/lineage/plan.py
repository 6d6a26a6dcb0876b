"""Which partitions are stale, and why: published identities against those that a step would have now.

A partition is stale when its identity differs from the published snapshot's, when a file of that snapshot is gone, or when a
parent is stale (the parent's new content is not known before it ran, so the plan counts it; the run may stop early where the
parent turns out equal).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.lineage.canonical import differences, digest
from humanllm_assets.lineage.nodes import Graph, display
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore, missing_files


@dataclass(frozen=True)
class Stale:
    """One partition that would run."""

    asset: str
    partition: str
    reasons: tuple[str, ...]
    certain: bool  # False: only because a parent is stale

    def __str__(self) -> str:
        return f"{display(self.asset, self.partition)}  <- {'; '.join(self.reasons)}"


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The changed fields of two identities, one phrase each: "thresholds.qc.overall_above 8 -> 7"."""
    phrases = []
    for path, before, after in differences(old, new):
        if path.startswith("upstream."):
            _, asset, *partition = path.split(".", 2)
            what = display(asset, partition[0] if partition else "")
            phrases.append(f"{what} {'is new' if before is None else 'was removed' if after is None else 'changed'}")
        elif path == "code":
            phrases.append("code changed")
        else:
            phrases.append(f"{path} {_short(before)} -> {_short(after)}")
    return phrases


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"


def own_reasons(graph: Graph, store: SnapshotStore, name: str, partition: str) -> list[str]:
    """Why a partition is stale against what its parents have published now; empty when it is up to date."""
    node = graph[name]
    versions: dict[tuple[str, str], str] = {}
    for parent in node.parents(partition):
        try:
            snapshot = store.published(*parent)
        except SnapshotError:
            continue  # the parent is stale for that reason itself
        if snapshot is not None:
            versions[parent] = snapshot.data_version
    try:
        current = store.published(name, partition)
    except SnapshotError as e:
        return [str(e)]
    if current is None:
        return ["never materialized"]
    if gone := missing_files(current):
        return [f"{gone[0]} of the published snapshot is missing or cut off"]
    payload = node.full_identity(partition, versions)
    if digest(payload) == current.manifest.identity_hash:
        return []
    return explain(current.manifest.identity, payload) or ["identity changed"]


def plan(graph: Graph, store: SnapshotStore, targets: Sequence[tuple[str, str]] | None = None) -> list[Stale]:
    """Stale partitions among the targets and everything above them, parents first. Default: the whole graph."""
    wanted = graph.upstream_closure(targets) if targets is not None else graph.all_partitions()
    stale: dict[tuple[str, str], Stale] = {}
    for name, partition in wanted:
        parents = [p for p in graph[name].parents(partition) if p in stale]
        reasons = own_reasons(graph, store, name, partition)
        if reasons:
            stale[name, partition] = Stale(name, partition, tuple(reasons), certain=True)
        elif parents:
            more = f" and {len(parents) - 1} more" if parents[1:] else ""
            stale[name, partition] = Stale(name, partition, (f"follows {display(*parents[0])}{more}",), certain=False)
    return list(stale.values())
