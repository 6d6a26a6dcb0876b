"""How the way of a record or user is shown: for a terminal of 80 columns, as data for programs.

What belongs here: layout. What does not: finding the rows (`trace.py`), what a row says (`tables.py`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import duckdb

from humanllm_assets.lineage.audit.trace import Trace
from humanllm_assets.lineage.manifests import Key
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.tables import describe_rows

Echo = Callable[[str], None]
WIDTH = 80


def as_data(kind: str, found: Trace) -> dict[str, Any]:
    """The whole answer as plain data: every row without its texts."""
    return {
        kind: found.subject,
        "rows": [
            {**k._asdict(), "published": k in found.published, "table": table, "via": via, "row": row}
            for k, table, row, via in found.hits
        ],
        "models": [{**k._asdict(), "published": k in found.published} for k in found.models],
        "sources": [{**k._asdict(), "published": k in found.published} for k in found.raw],
        "journal_answers": found.answers,
        "damage": [d._asdict() for d in found.damage],
    }


def print_trace(store: SnapshotStore, kind: str, found: Trace, echo: Echo) -> None:
    """The way through the graph, one line per snapshot and table, in 80 columns."""
    user = next((h.row["user_id"] for h in found.hits if h.row.get("user_id") and h.via == "own"), None)
    echo(f"{kind} {found.subject}" + (f", of user {user}" if kind == "record" and user else ""))
    if found.answers:
        echo(f"{found.answers:,} answers of models in the journal are about it")
    lines: dict[tuple[Key, str, str], list[dict[str, Any]]] = {}
    for h in found.hits:
        lines.setdefault((h.key, h.table, h.via), []).append(h.row)
    for via, title in (("own", ""), ("context", "What others wrote in answer to it, without its text:")):
        mine = {k: v for k, v in lines.items() if k[2] == via}
        if not mine:
            continue
        echo("")
        if title:
            echo(title)
        else:
            for key in found.raw:
                _print_line(echo, found, key, _describe_raw_files(store, key))
        order = list(dict.fromkeys(k[0] for k in mine))
        for (key, _, _), rows in sorted(mine.items(), key=lambda x: order.index(x[0][0])):
            _print_line(echo, found, key, describe_rows(rows))
    if found.models:
        echo("")
        echo("Made from a checkpoint that consumed it:")
        for asset, keys in _group_by_asset(found.models).items():
            names = ", ".join(k.partition or k.data_version for k in keys)
            for i, line in enumerate(textwrap.wrap(names, WIDTH - 28) or [""]):
                echo(f"  {asset if i == 0 else '':<25} {line}")
    elif not any(h.table == "consumed" and h.via == "own" for h in found.hits):
        echo("")
        echo("No checkpoint consumed it.")
    for d in found.damage:
        echo(f"WRONG  {d}")


def _group_by_asset(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.asset, []).append(key)
    return found


def _print_line(echo: Echo, found: Trace, key: Key, content: str) -> None:
    name = str(key.item)
    if key not in found.published:
        name += f" {key.data_version[:8]} (old)"
    lines = textwrap.wrap(content, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    if len(name) + 2 + len(content) <= WIDTH and len(name) <= 38:
        echo(f"{name:<39} {content}" if len(content) <= WIDTH - 40 else f"{name}  {content}")
        return
    echo(name)
    for line in lines:
        echo(f"    {line}")


def _describe_raw_files(store: SnapshotStore, key: Key) -> str:
    path = store.partition_folder(*key.item) / key.data_version / "files.parquet"
    if not path.is_file():
        return "its files are not known any more"
    names = [r[0] for r in duckdb.execute("select file from read_parquet(?) where kind = 'records'", [str(path)]).fetchall()]
    return "in " + (names[0] if len(names) == 1 else f"one of {len(names)} files")
