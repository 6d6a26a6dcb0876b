"""Which records fed a checkpoint: the chain of its snapshots and the samples that it consumed, in order, as plain data.

What belongs here: collecting. What does not: the chain (`chain.py`), comparing hashes (`verify.py`), one record's way
(`trace.py`), showing (`checkpoint_view.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from humanllm_assets.lineage.audit.chain import Chain, Target
from humanllm_assets.lineage.audit.indexes import remember, select_totals, select_training_rows
from humanllm_assets.lineage.identity import find_models, find_prompts, is_model, is_prompt
from humanllm_assets.lineage.manifests import Key, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.sql import parquet

TOP_USERS = 10
_NO_SETTINGS = {"asset", "partition", "code", "columns", "contract", "external", "upstream"}


def find_settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Thresholds and parameters of an identity by dotted name, without code, columns, contract, prompts, models and upstream."""
    found: dict[str, Any] = {}

    def collect(value: Any, path: str) -> None:
        if is_prompt(value) or is_model(value):
            return
        if isinstance(value, dict):
            for key, item in value.items():
                collect(item, f"{path}.{key}" if path else key)
        else:
            found[path] = value

    collect({k: v for k, v in identity.items() if k not in _NO_SETTINGS}, "")
    return found


def make_report(store: SnapshotStore, chain: Chain, target: Target, fresh: bool = False) -> dict[str, Any]:
    """Everything about a checkpoint but the consumed sequence.

    Args:
        fresh: count anew what is remembered of the consumed samples.

    Fields: `asset`, `partition`, `data_version`, `folder`: the checkpoint's; `published`; `nodes`, one per snapshot, the
    checkpoint first; `consumed` (None when the chain has no checkpoint); `damage` that was found while walking.
    """
    root = chain.nodes[chain.root]
    report: dict[str, Any] = {
        "asset": root.manifest.asset,
        "partition": root.manifest.partition,
        "data_version": root.data_version,
        "published": target.published,
        "folder": store.show_path(target.folder or root.folder),
        "nodes": [_node(chain, key) for key in chain.nodes],
        "consumed": None,
        "damage": [d._asdict() for d in chain.damage],
    }
    if checkpoint := chain.checkpoint:
        report["consumed"] = count_consumed(store, chain, checkpoint, fresh)
    return report


def _node(chain: Chain, key: Key) -> dict[str, Any]:
    s = chain.nodes[key]
    m = s.manifest
    verdict = m.verdict or {}
    return {
        "asset": m.asset,
        "partition": m.partition,
        "data_version": m.data_version,
        "manifest": s.manifest_file,
        "manifest_sha256": s.manifest_sha256,
        "identity_hash": m.identity_hash,
        "depth": chain.depth[key],
        "rows": {n: t.rows for n, t in m.tables.items()},
        "entered": m.counts.entered,
        "kept": m.counts.kept,
        "dropped": m.counts.dropped,
        "prompts": [p._asdict() for p in find_prompts(m.identity)],
        "models": [model._asdict() for model in find_models(m.identity)],
        "settings": find_settings(m.identity),
        "contract": {"name": verdict.get("contract"), "passed": m.passed, "failed": verdict.get("failed", [])},
        "code": m.code,
        "run_id": m.run_id,
        "finished_at": m.finished_at,
        "answers_sha256": m.answers_sha256,
        "upstream": [u.model_dump() for u in m.upstream],
    }


def _parents(chain: Chain, checkpoint: Snapshot) -> list[Snapshot]:
    wanted = {(u.item, u.data_version) for u in checkpoint.manifest.upstream}
    return [s for s in chain.nodes.values() if (s.item, s.data_version) in wanted]


def count_consumed(store: SnapshotStore, chain: Chain, checkpoint: Snapshot, fresh: bool = False) -> dict[str, Any]:
    """What training consumed: totals by source, task and both, and by user. Samples count once, `consumed` every time.

    `held_out`: samples of the test split, `unknown`: samples that no parent and no mixed-in data set holds; both must be 0.
    """
    return remember(store.root, f"{checkpoint.manifest_sha256}-totals", checkpoint, lambda: _totals(chain, checkpoint), fresh)


def _totals(chain: Chain, checkpoint: Snapshot) -> dict[str, Any]:
    mixed = {m["name"] for m in checkpoint.manifest.identity.get("mix", [])}
    with duckdb.connect() as con:
        con.execute(f"create temp table totals as {select_totals(checkpoint, _parents(chain, checkpoint))}")
        pairs = con.execute(
            "select source, task, sum(samples)::bigint, sum(consumed)::bigint from totals group by all order by all"
        ).fetchall()
        users = con.execute(
            "select user_id, sum(samples)::bigint as n, sum(consumed)::bigint from totals where user_id is not null "
            f"group by 1 order by n desc, 1 limit {TOP_USERS}"
        ).fetchall()
        number, held_out = con.execute(
            "select count(distinct user_id), coalesce(sum(samples) filter (split <> 'train'), 0)::bigint from totals"
        ).fetchall()[0]
        strange = con.execute(
            "select coalesce(sum(samples), 0)::bigint from totals where split is null and not list_contains(?, source)",
            [list(mixed)],
        ).fetchall()[0][0]
    by_source, by_task = Counter[str](), Counter[str]()
    for source, task, samples, _ in pairs:
        by_source[source] += samples
        by_task["mixed_in" if task == "not_in_parents" else task] += samples
    m = checkpoint.manifest
    return {
        "checkpoint": f"{m.item} {m.data_version}",
        "samples": sum(n for _, _, n, _ in pairs),
        "consumed": sum(n for *_, n in pairs),
        "steps": m.measures.get("steps"),
        "by_source": dict(by_source),
        "by_task": dict(by_task),
        "by_source_and_task": [{"source": s, "task": t, "samples": n, "consumed": c} for s, t, n, c in pairs],
        "users": number,
        "top_users": [{"user_id": u, "samples": n, "consumed": c} for u, n, c in users],
        "held_out": held_out,
        "unknown": strange,
    }


def read_consumed(chain: Chain, checkpoint: Snapshot) -> Iterator[str]:
    """One JSON object per consumed sample, in training order: its place, and the records and items that it was made from."""
    more = ", target_record_id, record_ids, item_ids"
    query = f"""
        select to_json(x)::varchar from (
            select c.*, d.* exclude (sample_id) from {parquet([checkpoint.path("consumed")])} c
            left join ({select_training_rows(_parents(chain, checkpoint), more)}) d using (sample_id) order by position
        ) x
    """
    with duckdb.connect() as con:
        cursor = con.execute(query)
        while rows := cursor.fetchmany(2000):
            for (row,) in rows:
                yield row
