"""What people write to name partitions: `asset` for all of an asset's partitions, `asset[partition]` for one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from resources.errors import Explained


class TargetError(Explained):
    """A name that means nothing in this graph; the message says what is known."""


def parse_targets(graph: Graph, names: Sequence[str]) -> list[Item]:
    """The partitions that `names` mean; no name means the whole graph.

    Raises:
        TargetError: an unknown asset or partition, or a text that is no target.
    """
    if not names:
        return graph.all_partitions()
    return [item for text in names for item in _parse_target(graph, text)]


def _parse_target(graph: Graph, text: str) -> list[Item]:
    written = Item.parse(text)
    if written is None:
        raise TargetError(f"`{text}` is no target; write asset or asset[partition], for example: user_profiles[reddit]")
    asset, partition = written
    if asset not in graph.nodes:
        near = difflib.get_close_matches(asset, graph.nodes, 1)
        raise TargetError(
            f"there is no asset `{asset}`" + (f"; did you mean `{near[0]}`?" if near else "; list them with: humanllm status")
        )
    known = graph[asset].partitions
    if not partition:
        return [Item(asset, p) for p in known]
    if partition not in known:
        has = f"it has: {', '.join(known)}" if graph[asset].partitioned else f"it is not partitioned: write {asset}"
        raise TargetError(f"{asset} has no partition `{partition}`; {has}")
    return [written]


def name_partition(names: Sequence[str], partition: str | None) -> list[str]:
    """The names with `[partition]` behind those that name an asset alone.

    Raises:
        TargetError: a partition without any name.
    """
    if partition is None:
        return list(names)
    if not names:
        raise TargetError(f"--partition {partition} needs an asset, for example: user_profiles --partition {partition}")
    return [n if "[" in n else str(Item(n, partition)) for n in names]
