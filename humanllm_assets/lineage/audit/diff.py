"""What differs between the data of two checkpoints: what they were made under, what they were made from, what they consumed.

Snapshots of equal data version hold equal rows, so only partitions that differ are read.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from humanllm_assets.lineage.audit.chain import AuditError, Chain, resolve, walk
from humanllm_assets.lineage.audit.indexes import remember
from humanllm_assets.lineage.identity import find_models, find_prompts
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.sql import parquet
from resources.canonical import differences

Echo = Callable[[str], None]
WIDTH = 80
FIRST = 5  # ids shown of those that only one checkpoint has
_PLACES = {"asset", "partition", "columns", "upstream"}  # of an identity: what a snapshot is called, not what it was made under


def compare(store: SnapshotStore, first: str, second: str) -> dict[str, Any]:
    """All differences of two checkpoints as plain data.

    Fields: `checkpoints`; `identity`, changed fields by asset; `upstream`, partitions whose data differ; `prompts`, `models`:
    those that only one has; `samples`, `users`, `records`: numbers and first ids of what only one consumed; `order`: whether the
    same samples came in the same order, and the first position where they did not.

    Raises:
        AuditError: a key names no checkpoint, a snapshot of one is missing, or a model was not trained.
    """
    chains = []
    for key in (first, second):
        chain = walk(store, resolve(store, key).snapshot)
        if chain.damage:
            raise AuditError(f"{chain.damage[0]}; run: humanllm audit checkpoint {key} --verify")
        if chain.checkpoint is None:
            raise AuditError(f"{key} was not trained: no snapshot behind it says what was consumed")
        chains.append(chain)
    a, b = chains
    trained = [c.checkpoint for c in chains if c.checkpoint]
    name = "-".join([s.manifest_sha256[:32] for s in trained] + ["diff"])
    sides = [_side(c) for c in chains]
    return {
        "checkpoints": [_name(store, c) for c in chains],
        "identity": _identity(*sides),
        "upstream": _upstream(*sides),
        "prompts": _only(_list_names(a, find_prompts), _list_names(b, find_prompts)),
        "models": _only(_list_names(a, find_models), _list_names(b, find_models)),
        **remember(store.root, name, trained[0], lambda: _consumed(a, b)),
    }


def _list_names(chain: Chain, find: Callable[[Any], Sequence[tuple[str, str]]]) -> set[str]:
    """What the identities of a chain name, prompts or models, each with its hash or revision."""
    return {" ".join(found) for s in chain.nodes.values() for found in find(s.manifest.identity)}


def _name(store: SnapshotStore, chain: Chain) -> dict[str, str]:
    s = chain.nodes[chain.root]
    return {
        "asset": s.manifest.asset,
        "partition": s.manifest.partition,
        "data_version": s.data_version,
        "folder": store.show_path(s.folder),
    }


Side = Mapping[Item, Snapshot]


def _side(chain: Chain) -> Side:
    """Snapshots by asset and partition; those of the recipe itself without their partition, so that two recipes can be compared."""
    recipe = [chain.nodes[chain.root], chain.checkpoint]
    return {Item(s.item.asset) if s in recipe else s.item: s for s in chain.nodes.values()}


def _made_under(s: Snapshot) -> dict[str, Any]:
    return {k: v for k, v in s.manifest.identity.items() if k not in _PLACES}


def _identity(a: Side, b: Side) -> list[dict[str, Any]]:
    """Changed fields, with the partitions in which they changed in the same way."""
    found: dict[str, dict[str, Any]] = {}
    for item in sorted(a.keys() & b.keys()):
        asset, partition = item
        old, new = (_made_under(side[item]) for side in (a, b))
        for path, before, after in differences(old, new):
            key = json.dumps([asset, path, before, after], sort_keys=True)
            entry = {"asset": asset, "field": path, "before": before, "after": after, "partitions": []}
            found.setdefault(key, entry)["partitions"].append(partition)
    return list(found.values())


def _upstream(a: Side, b: Side) -> list[dict[str, Any]]:
    return [
        {
            **key._asdict(),
            "before": a[key].data_version if key in a else None,
            "after": b[key].data_version if key in b else None,
            "kept_before": a[key].manifest.counts.kept if key in a else None,
            "kept_after": b[key].manifest.counts.kept if key in b else None,
        }
        for key in sorted(a.keys() | b.keys())
        if (a[key].data_version if key in a else None) != (b[key].data_version if key in b else None)
    ]


def _only(a: set[str], b: set[str]) -> dict[str, list[str]]:
    return {"only_first": sorted(a - b), "only_second": sorted(b - a)}


def _consumed(a: Chain, b: Chain) -> dict[str, Any]:
    """Samples, users and records that only one of two checkpoints consumed, and whether the order is the same."""
    with duckdb.connect() as con:
        for name, chain in (("a", a), ("b", b)):
            checkpoint = chain.checkpoint
            if checkpoint is None:
                raise AssertionError("both were found to be trained")
            con.execute(f"create view consumed_{name} as select * from {parquet([checkpoint.path('consumed')])}")
            con.execute(f"create temp table ids_{name} as select distinct sample_id from consumed_{name}")
            con.execute(f"create view data_{name} as {_data(chain, checkpoint)}")
        order = con.execute(
            "select min(position) from (select position, a.sample_id as x, b.sample_id as y from consumed_a a full join consumed_b b "
            "using (position)) where x is distinct from y"
        ).fetchall()[0][0]
        found: dict[str, Any] = {"order": {"same": order is None, "first_difference": order}}
        if order is None and a.checkpoint and b.checkpoint and a.checkpoint.manifest.upstream == b.checkpoint.manifest.upstream:
            nothing = {"only_first": 0, "only_second": 0, "first_ids": [], "second_ids": []}
            return found | {"samples": nothing, "users": nothing, "records": nothing}
        found["samples"] = _sides(con, "sample_id", "from ids_a", "from ids_b")
        found["users"] = _sides(con, "user_id", *(f"from data_{n} semi join ids_{n} using (sample_id)" for n in "ab"))
        lists = [f"from (select unnest(record_ids) as record_id from data_{n} semi join ids_{n} using (sample_id))" for n in "ab"]
        found["records"] = _sides(con, "record_id", *lists)
    return found


def _data(chain: Chain, checkpoint: Snapshot) -> str:
    """What a checkpoint could be trained on: sample_id, user_id, record_ids."""
    parents = [chain.nodes[k] for k in chain.upstream(next(k for k, s in chain.nodes.items() if s is checkpoint))]
    samples = [s.path("samples") for s in parents if "samples" in s.manifest.tables]
    if samples:
        return f"select sample_id, user_id, record_ids from {parquet(samples)}"
    records = [s.path("records") for s in parents if "records" in s.manifest.tables]
    return f"select record_id as sample_id, user_id, [record_id] as record_ids from {parquet(records)}"


def _sides(con: duckdb.DuckDBPyConnection, column: str, a: str, b: str) -> dict[str, Any]:
    con.execute(f"create or replace temp table side_a as select distinct {column} as id {a}")
    con.execute(f"create or replace temp table side_b as select distinct {column} as id {b}")
    found: dict[str, Any] = {}
    for name, ids, mine, other in (("only_first", "first_ids", "a", "b"), ("only_second", "second_ids", "b", "a")):
        query = f"from side_{mine} anti join side_{other} using (id) where id is not null"
        found[name] = con.execute(f"select count(*) {query}").fetchall()[0][0]
        found[ids] = [r[0] for r in con.execute(f"select id {query} order by id limit {FIRST}").fetchall()]
    return found


# ---- showing ---------------------------------------------------------------------------------------------------------


def print_diff(found: Mapping[str, Any], echo: Echo) -> None:
    """What a person reads, in 80 columns: before is the first checkpoint, after the second."""
    for side, c in zip(("first ", "second"), found["checkpoints"], strict=True):
        echo(f"{side} {Item(c['asset'], c['partition'])} {c['data_version']}")
    if found["checkpoints"][0] == found["checkpoints"][1]:
        echo("They are the same snapshot.")
    fields = []
    for e in found["identity"]:
        many = f" ({len(e['partitions'])} partitions)" if len(e["partitions"]) > 1 else ""
        fields.append(f"{e['asset']}{many}: {e['field']} {_short(e['before'])} -> {_short(e['after'])}")
    _list(echo, "Made under", fields)
    for kind in ("prompts", "models"):
        lines = [f"only {side}: {name}" for side in ("first", "second") for name in found[kind][f"only_{side}"]]
        _list(echo, kind.capitalize(), lines)
    by_asset: dict[str, list[Mapping[str, Any]]] = {}
    for u in found["upstream"]:
        by_asset.setdefault(u["asset"], []).append(u)
    lines = []
    for asset, changed in by_asset.items():
        kept = [sum(u[k] or 0 for u in changed) for k in ("kept_before", "kept_after")]
        names = ", ".join(_state(u) for u in changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        lines.append(f"{asset}: {names}; rows kept {kept[0]:,} -> {kept[1]:,}")
    _list(echo, "Data", lines)
    lines = []
    for kind in ("records", "users", "samples"):
        for side in ("first", "second"):
            if n := found[kind][f"only_{side}"]:
                shown_ids = ", ".join(found[kind][f"{side}_ids"]) + (", ..." if n > FIRST else "")
                lines.append(f"{n:,} {kind} only in the {side}: {shown_ids}")
    if not found["order"]["same"]:
        lines.append(f"the order differs from position {found['order']['first_difference']:,} on")
    _list(echo, "Consumed", lines)


def _state(u: Mapping[str, Any]) -> str:
    name = u["partition"] or "changed"
    return f"{name} is new" if u["before"] is None else f"{name} is gone" if u["after"] is None else name


def _short(value: Any) -> str:
    shown_value = "unset" if value is None else str(value)
    return shown_value if len(shown_value) <= 40 else f"{shown_value[:18]}...{shown_value[-18:]}"


def _list(echo: Echo, title: str, lines: list[str]) -> None:
    echo("")
    echo(title + ("" if lines else ": no difference"))
    for line in lines:
        for part in textwrap.wrap(line, WIDTH - 2, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False):
            echo(part)
