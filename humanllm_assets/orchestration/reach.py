"""The dependencies that Dagster is told, so that "with everything downstream" launches everything downstream.

Dagster 1.13's backfill walks the graph breadth first and looks at each asset once, with the partitions that it had reached by
then. An asset that lies behind a short and a long path is looked at too early: a backfill of `filtered_reddit[askdaily]` left out
`task_datasets[scenario_generation-reddit]`, because the direct path came before the one over `scenarios`; what was trained next
had to be trained again. Two additions make the walk exact, whatever order it takes:

- a dependency names every partition that is reached over longer paths too, not only those that the step reads;
- both dimensions of a multi-partition also depend on the assets where their upstream paths diverge, so that neither is reached late.

What a step reads, its identity and the planner know nothing of this: a partition that is launched for nothing says `reused`.
"""

from __future__ import annotations

from functools import cache

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Dep, Graph, Node


def launch_deps(graph: Graph) -> dict[str, list[Dep]]:
    """For each asset the dependencies that Dagster is told."""
    upstream_of: dict[Item, set[Item]] = {}
    for item in graph.all_partitions():
        parents = graph[item.asset].parents(item.partition)
        upstream_of[item] = set(parents).union(*(upstream_of[p] for p in parents))
    direct = {n: [d.asset for d in node.deps] for n, node in graph.nodes.items()}
    assets_upstream: dict[str, set[str]] = {}
    for name, upstream in direct.items():
        assets_upstream[name] = set(upstream).union(*(assets_upstream[a] for a in upstream))
    for node in graph.nodes.values():
        if node.dimensions:
            for parent, fork in _find_forks(node, direct, assets_upstream):
                if fork not in direct[parent]:
                    direct[parent].append(fork)

    @cache
    def reached(name: str, upstream: str) -> Dep:
        found = {p: tuple(sorted(q for a, q in upstream_of[Item(name, p)] if a == upstream)) for p in graph[name].partitions}
        return Dep(upstream, {p: qs for p, qs in found.items() if qs})

    return {
        n: list(node.deps) if node.dimensions else [dep for upstream in direct[n] if (dep := reached(n, upstream)).parents]
        for n, node in graph.nodes.items()
    }


def _find_forks(node: Node, direct: dict[str, list[str]], upstream: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Where the paths to a node over two dimensions diverge, for each of its parents: pairs (parent, fork).

    A fork is an asset upstream of both parents, with a child that is upstream of one of them alone.
    """
    parents = [d.asset for d in node.deps]
    common = set.intersection(*(upstream[p] for p in parents))
    apart = set(parents).union(*(upstream[p] for p in parents)) - common
    forks = sorted({up for child in apart for up in direct[child] if up in common})
    return [(parent, fork) for parent in parents for fork in forks]
