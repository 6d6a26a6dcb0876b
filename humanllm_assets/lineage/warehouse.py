"""`warehouse.duckdb`: a view per asset over its published snapshots, for people who want SQL.

    duckdb data_home/local/warehouse.duckdb -c "select reason, count(*) from eligible_reddit__dropped group by 1"

The file holds views only. It is rebuilt beside the old one and replaced, so nobody waits for a lock.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb

from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore
from humanllm_assets.sql import literal, parquet


def refresh_warehouse(graph: Graph, store: SnapshotStore, path: Path) -> None:
    """Write one view `<asset>` for each asset's main table and `<asset>__<table>` for the others, with a partition column."""
    views: dict[str, list[tuple[str, Path]]] = {}
    for asset, partition in graph.all_partitions():
        try:
            snapshot = store.published(asset, partition)
        except SnapshotError:
            continue  # `humanllm plan` reports it; a damaged partition has no rows here
        for i, table in enumerate(graph[asset].tables):
            if snapshot and table in snapshot.manifest.tables:
                name = asset if i == 0 else f"{asset}__{table}"
                views.setdefault(name, []).append((partition, snapshot.path(table)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".warehouse-") as folder:
        fresh = Path(folder) / path.name
        with duckdb.connect(str(fresh)) as con:
            for name, parts in views.items():
                union = " union all by name ".join(
                    f"select {literal(partition)} as partition, * from {parquet([file])}" for partition, file in parts
                )
                con.execute(f'create view "{name}" as {union}')
        os.replace(fresh, path)
