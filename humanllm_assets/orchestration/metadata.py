"""What a materialization shows in the UI, from its manifest.

Concept: https://docs.dagster.io/guides/build/assets/metadata-and-tags"""

from __future__ import annotations

from typing import Any

import dagster as dg

from humanllm_assets.lineage.manifests import Manifest, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore
from humanllm_assets.lineage.step import Outcome
from humanllm_assets.orchestration.lineage_check import summarise_lineage
from humanllm_assets.pages.markdown import escape_markdown


def describe_snapshot(snapshot: Snapshot, outcome: Outcome | None, store: SnapshotStore) -> dict[str, Any]:
    """What a materialization shows in the UI."""
    m = snapshot.manifest
    counts = m.counts
    metadata: dict[str, Any] = {
        "dagster/row_count": next(iter(m.tables.values())).rows if m.tables else 0,
        "built": "reused" if outcome and outcome.reused else "computed",
        "why": outcome.reason if outcome else "rejected by its contract",
        "snapshot": dg.MetadataValue.path(str(snapshot.folder)),
        "identity": dg.MetadataValue.json(m.identity),
        "entered": counts.entered,
        "kept": counts.kept,
        "seconds": m.seconds,
    }
    if outcome and outcome.reused and m.run_id:
        metadata["built_by"] = dg.MetadataValue.dagster_run(m.run_id)
    if counts.dropped:
        metadata["dropped"] = _two_columns("reason", "rows", counts.dropped)
    if m.allow_stale:
        metadata["allow_stale"] = dg.MetadataValue.md("\n".join(f"- {escape_markdown(line)}" for line in m.allow_stale))
    if m.stages:
        metadata["stages"] = dg.MetadataValue.json({k: v.model_dump() for k, v in m.stages.items()})
    if m.usage:
        metadata["llm"] = dg.MetadataValue.json(m.usage)
    if m.measures:
        metadata["measures"] = _two_columns(
            "measure", "value", {k: v for k, v in m.measures.items() if v is not None}, as_text=True
        )
    if m.upstream:
        metadata["upstream"] = _upstream(m, store)
    if m.trained:
        metadata["lineage"] = dg.MetadataValue.md(summarise_lineage(store, snapshot))
    if page := m.measures.get("report"):
        metadata["report"] = dg.MetadataValue.path(str(snapshot.folder / str(page)))
    return metadata


def _upstream(m: Manifest, store: SnapshotStore) -> dg.MetadataValue:
    """What was read. A table has no links, so each row names the run that made it: /runs/<run> in the UI."""
    rows = []
    for u in m.upstream:
        try:
            parent = store.by_ref(u).manifest
        except SnapshotError:
            parent = None  # the check `lineage_complete` names it
        rows.append(
            {
                "asset": u.asset,
                "partition": u.partition,
                "data_version": u.data_version,
                "rows": next(iter(parent.tables.values())).rows if parent and parent.tables else None,
                "run": parent.run_id if parent else "gone",
            }
        )
    kinds = {"rows": "int"}
    return dg.MetadataValue.table(
        [dg.TableRecord(r) for r in rows],
        schema=dg.TableSchema(
            [dg.TableColumn(c, kinds.get(c, "string")) for c in ("asset", "partition", "data_version", "rows", "run")]
        ),
    )


def _two_columns(first: str, second: str, values: Any, as_text: bool = False) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({first: k, second: str(v) if as_text else v}) for k, v in values.items()],
        schema=dg.TableSchema([dg.TableColumn(first), dg.TableColumn(second, "string" if as_text else "int")]),
    )
