"""What people write to name partitions: `asset` for all of an asset's partitions, `asset[partition]` for one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from humanllm_assets.lineage.nodes import Graph
from resources.errors import Explained


class TargetError(Explained):
    """A name that means nothing in this graph; the message says what is known."""


def parse_targets(graph: Graph, names: Sequence[str]) -> list[tuple[str, str]]:
    """The partitions that `names` mean; no name means the whole graph.

    Raises:
        TargetError: an unknown asset or partition, or a text that is no target.
    """
    if not names:
        return graph.all_partitions()
    targets = []
    for text in names:
        found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text)
        if found is None:
            raise TargetError(f"`{text}` is no target; write asset or asset[partition], for example: user_profiles[reddit]")
        asset, wanted = found[1], found[2]
        if asset not in graph.nodes:
            near = difflib.get_close_matches(asset, graph.nodes, 1)
            raise TargetError(
                f"there is no asset `{asset}`" + (f"; did you mean `{near[0]}`?" if near else "; list them with: humanllm status")
            )
        known = graph[asset].partitions
        if wanted is not None and wanted not in known:
            has = f"it has: {', '.join(known)}" if graph[asset].partitioned else f"it is not partitioned: write {asset}"
            raise TargetError(f"{asset} has no partition `{wanted}`; {has}")
        targets += [(asset, wanted)] if wanted is not None else [(asset, p) for p in known]
    return targets


def name_partition(names: Sequence[str], partition: str | None) -> list[str]:
    """The names with `[partition]` behind those that name an asset alone.

    Raises:
        TargetError: a partition without any name.
    """
    if partition is None:
        return list(names)
    if not names:
        raise TargetError(f"--partition {partition} needs an asset, for example: user_profiles --partition {partition}")
    return [n if "[" in n else f"{n}[{partition}]" for n in names]
