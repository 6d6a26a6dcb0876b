"""Which records fed a checkpoint: the chain of its snapshots and the samples that it consumed, in order.

`checkpoint_report` collects plain data; `print_report`, `write_json` and `write_html` show it. What belongs here: collecting and
showing. What does not: the chain (`chain.py`), comparing hashes (`verify.py`), one record's way (`trace.py`).
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from humanllm_assets.lineage.audit.chain import AuditError, Chain, Target, resolve, walk
from humanllm_assets.lineage.audit.indexes import remembered, totals_of, training_rows
from humanllm_assets.lineage.audit.verify import Verification, models_of, prompts_of, verify
from humanllm_assets.lineage.inventory import Key, shown
from humanllm_assets.lineage.snapshots import Snapshot, SnapshotStore
from humanllm_assets.pages import plots
from humanllm_assets.pages.page import Cell, Context, Figure, Section, Table, TableRow, render_page
from humanllm_assets.sql import literal

if TYPE_CHECKING:
    from resources.profile import Profile

Echo = Callable[[str], None]
WIDTH = 80
TOP_USERS = 10
_NO_SETTINGS = {"asset", "partition", "code", "columns", "contract", "external", "upstream"}


def audit_checkpoint(
    home: Path, profile: Profile, key: str, as_json: bool, html: Path | None, check: bool, echo: Echo, say: Echo
) -> int:
    """Answer `humanllm audit checkpoint`; returns the exit code, 1 when something of the chain is missing or altered.

    Raises:
        AuditError: the key names no checkpoint, or more than one.
    """
    store = SnapshotStore(home)
    target = resolve(store, key)
    chain = walk(store, target.snapshot)
    found = verify(store, chain, target, profile, say) if check else None
    broken = any(d.altered for d in (found.damage if found else chain.damage))
    try:
        report = checkpoint_report(store, chain, target, fresh=check)
    except duckdb.Error as e:
        if not found or not broken:
            raise AuditError(
                f"the samples cannot be read ({str(e).splitlines()[0]}); run: humanllm audit checkpoint {key} --verify"
            ) from e
        report = None  # what was found altered says why
    if report and html:
        write_html(report, html, profile, found)
        say(f"wrote {html}")
    if as_json:
        data = {**(report or {}), **({"verification": verification_data(found)} if found else {})}
        sequence = consumed_sequence(chain, chain.checkpoint) if report and chain.checkpoint else None
        write_json(data, sequence, echo)
    else:
        if report:
            print_report(report, echo)
        if found:
            print_verification(found, echo)
        else:
            for d in chain.damage:
                echo(f"WRONG  {d}")
    return int(broken)


def settings_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Thresholds and parameters of an identity by dotted name, without code, columns, contract, prompts, models and upstream."""
    found: dict[str, Any] = {}

    def collect(value: Any, path: str) -> None:
        if isinstance(value, dict):
            if "text_sha256" in value or value.keys() == {"name", "revision"}:
                return
            for key, item in value.items():
                collect(item, f"{path}.{key}" if path else key)
        else:
            found[path] = value

    collect({k: v for k, v in identity.items() if k not in _NO_SETTINGS}, "")
    return found


def checkpoint_report(store: SnapshotStore, chain: Chain, target: Target, fresh: bool = False) -> dict[str, Any]:
    """Everything about a checkpoint but the consumed sequence.

    Fields: `key`; `published`; `nodes`, one per snapshot, the checkpoint first; `consumed` (None when the chain has no checkpoint);
    `damage` that was found while walking.
    """
    root = chain.nodes[chain.root]
    report: dict[str, Any] = {
        "asset": root.manifest.asset,
        "partition": root.manifest.partition,
        "data_version": root.data_version,
        "published": target.published,
        "folder": shown(store, target.folder or root.folder),
        "nodes": [_node(chain, key) for key in chain.nodes],
        "consumed": None,
        "damage": [d._asdict() for d in chain.damage],
    }
    if checkpoint := chain.checkpoint:
        report["consumed"] = consumed_totals(store, chain, checkpoint, fresh)
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
        "prompts": [{"name": p["name"], "text_sha256": p["text_sha256"]} for p in prompts_of(m.identity)],
        "models": models_of(m.identity),
        "settings": settings_of(m.identity),
        "contract": {"name": verdict.get("contract"), "passed": m.passed, "failed": verdict.get("failed", [])},
        "code": m.code,
        "run_id": m.run_id,
        "finished_at": m.finished_at,
        "answers_sha256": m.answers_sha256,
        "upstream": [u.model_dump() for u in m.upstream],
    }


def _parents(chain: Chain, checkpoint: Snapshot) -> list[Snapshot]:
    wanted = {(u.asset, u.partition, u.data_version) for u in checkpoint.manifest.upstream}
    return [s for s in chain.nodes.values() if (s.manifest.asset, s.manifest.partition, s.data_version) in wanted]


def consumed_totals(store: SnapshotStore, chain: Chain, checkpoint: Snapshot, fresh: bool = False) -> dict[str, Any]:
    """What training consumed: totals by source, task and both, and by user. Samples count once, `consumed` every time.

    `held_out`: samples of the test split, `unknown`: samples that no parent and no mixed-in data set holds; both must be 0.
    """
    return remembered(store.root, f"{checkpoint.manifest_sha256}-totals", checkpoint, lambda: _totals(chain, checkpoint), fresh)


def _totals(chain: Chain, checkpoint: Snapshot) -> dict[str, Any]:
    mixed = {m["name"] for m in checkpoint.manifest.identity.get("mix", [])}
    with duckdb.connect() as con:
        con.execute(f"create temp table totals as {totals_of(checkpoint, _parents(chain, checkpoint))}")
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
        "checkpoint": f"{m.asset}[{m.partition}] {m.data_version}",
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


def consumed_sequence(chain: Chain, checkpoint: Snapshot) -> Iterator[str]:
    """One JSON object per consumed sample, in training order: its place, and the records and items that it was made from."""
    more = ", target_record_id, record_ids, item_ids"
    query = f"""
        select to_json(x)::varchar from (
            select c.*, d.* exclude (sample_id) from read_parquet({literal(checkpoint.path("consumed"))}) c
            left join ({training_rows(_parents(chain, checkpoint), more)}) d using (sample_id) order by position
        ) x
    """
    with duckdb.connect() as con:
        cursor = con.execute(query)
        while rows := cursor.fetchmany(2000):
            for (row,) in rows:
                yield row


# ---- showing ---------------------------------------------------------------------------------------------------------


def write_json(report: Mapping[str, Any], sequence: Iterator[str] | None, echo: Echo) -> None:
    """The report as JSON, with the consumed sequence streamed as its last field, `sequence`."""
    head = json.dumps(report, indent=1, ensure_ascii=False)
    if sequence is None:
        echo(head)
        return
    echo(f'{head[:-2]},\n "sequence": [')
    before = None
    for row in sequence:
        if before is not None:
            echo(f"  {before},")
        before = row
    if before is not None:
        echo(f"  {before}")
    echo(" ]\n}")


def print_report(report: Mapping[str, Any], echo: Echo) -> None:
    """What a person reads, in 80 columns."""
    root = report["nodes"][0]
    echo(f"{report['asset']}[{report['partition']}] {report['data_version']}")
    echo(
        f"  {'published' if report['published'] else 'retained, not published'}; made {root['finished_at']}; {report['folder']}"[
            :WIDTH
        ]
    )
    echo("")
    _print_consumed(report["consumed"], echo)
    _print_tree(report["nodes"], echo)
    _print_inputs(report["nodes"], echo)


def _print_consumed(found: Mapping[str, Any] | None, echo: Echo) -> None:
    if found is None:
        echo("No consumed samples: nothing in this chain was trained.")
        return
    _wrapped(
        "",
        f"Trained on {found['samples']:,} samples of {found['users']:,} users, consumed {found['consumed']:,} times in "
        f"{found['steps']} steps",
        echo,
    )
    cells = {(p["source"], p["task"]): p["samples"] for p in found["by_source_and_task"]}
    for task in dict.fromkeys(t for _, t in cells):
        by_source = {s: n for (s, t), n in cells.items() if t == task}
        _wrapped(f"  {task:<24}{sum(by_source.values()):>10,}  ", ", ".join(f"{s} {n:,}" for s, n in by_source.items()), echo)
    _wrapped("  most samples: ", ", ".join(f"{u['user_id']} {u['samples']:,}" for u in found["top_users"]), echo)
    if found["held_out"]:
        echo(f"  WRONG: {found['held_out']:,} samples of the test split were trained on")
    if found["unknown"]:
        echo(f"  WRONG: {found['unknown']:,} samples are in none of the data sets that it was trained on")


def _print_tree(nodes: Sequence[Mapping[str, Any]], echo: Echo) -> None:
    echo("")
    echo(f"{f'Made from {len(nodes) - 1} snapshots':<46} {'rows kept':>11} {'of':>11}  contract")
    for asset, mine in _by_asset(nodes).items():
        name = f"{'  ' * min(n['depth'] for n in mine)}{asset}"
        parts = [n["partition"] for n in mine if n["partition"]]
        where = f"[{parts[0]}]" if len(parts) == 1 else f"{len(parts)} partitions" if parts else ""
        failed = sum(not n["contract"]["passed"] for n in mine)
        verdict = f"{failed} failed" if failed else "passed" if any(n["contract"]["name"] for n in mine) else "none"
        left, kept, entered = f"{name} {where}", sum(n["kept"] for n in mine), sum(n["entered"] for n in mine)
        echo(f"{left if len(left) <= 46 else left[:43] + '...':<46} {kept:>11,} {entered:>11,}  {verdict}")
    echo("")


def _by_asset(nodes: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for n in sorted(nodes, key=lambda n: n["depth"]):
        found.setdefault(n["asset"], []).append(n)
    deepest = {asset: max(n["depth"] for n in mine) for asset, mine in found.items()}
    return dict(sorted(found.items(), key=lambda x: (deepest[x[0]], x[0])))


def _print_inputs(nodes: Sequence[Mapping[str, Any]], echo: Echo) -> None:
    used: dict[tuple[str, str], set[str]] = {}
    for n in nodes:
        for p in n["prompts"]:
            used.setdefault(("Prompts", f"{p['name']} {p['text_sha256'][:12]}"), set()).add(n["asset"])
        for m in n["models"]:
            used.setdefault(("Models", f"{m['name']} {m['revision']}"), set()).add(n["asset"])
        code = n["code"]
        state = {True: "with changes that were not committed", False: "clean", None: "state unknown"}[code.get("dirty")]
        used.setdefault(("Code", f"{(code.get('commit') or 'no commit')[:12]}, {state}"), set()).add(n["asset"])
        values = ", ".join(f"{k} {_value(v)}" for k, v in n["settings"].items() if ".sampling." not in k)
        if values:
            used.setdefault(("Settings", values), set()).add(n["asset"])
    for title in ("Prompts", "Models", "Settings", "Code"):
        echo(title + (" (sampling is in --json and --html)" if title == "Settings" else ""))
        for (kind, name), assets in sorted(used.items()):
            if kind == title:
                users = ", ".join(sorted(assets)[:2]) + (f" and {len(assets) - 2} more" if len(assets) > 2 else "")
                _wrapped("  ", f"{users}: {name}" if kind == "Settings" else f"{name}: {users}", echo)
    runs = {n["run_id"] for n in nodes if n["run_id"]}
    echo(f"  {len(runs)} runs; that of {nodes[0]['asset']}: {nodes[0]['run_id'] or 'unknown'}")


def _value(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else str(value)


def _wrapped(start: str, content: str, echo: Echo) -> None:
    for i, line in enumerate(textwrap.wrap(content, WIDTH - len(start), break_on_hyphens=False) or [""]):
        echo((start if i == 0 else " " * len(start)) + line)


def print_verification(v: Verification, echo: Echo) -> None:
    """What was compared, then every file that is not what it was."""
    _wrapped(
        "Verified: ",
        f"{v.manifests:,} manifests, {v.files:,} files ({v.bytes / 1e6:,.1f} MB), {v.tables:,} tables with {v.rows:,} rows, {v.prompts} "
        f"prompt texts, {v.answers:,} journal answers, {v.source_files} source files, {v.base_models} base models",
        echo,
    )
    for d in sorted(v.damage, key=lambda d: not d.altered):
        echo(f"  {'WRONG' if d.altered else 'note '}  {d.file}")
        _wrapped(" " * 9, d.problem, echo)
    wrong = sum(d.altered for d in v.damage)
    many = "1 file is" if wrong == 1 else f"{wrong:,} files are"
    echo(f"{many} not what the checkpoint was made from" if wrong else "every byte is as it was")


def verification_data(v: Verification) -> dict[str, Any]:
    return {**asdict(v), "damage": [d._asdict() for d in v.damage], "passed": v.passed}


# ---- HTML ------------------------------------------------------------------------------------------------------------


def write_html(report: Mapping[str, Any], file: Path, profile: Profile, verification: Verification | None = None) -> None:
    """One page that needs nothing beside it: totals with plots, the tree, what it was made with."""

    name = f"{report['asset']}[{report['partition']}]"
    sections: list[Section] = []
    if found := report["consumed"]:
        sections.append(_consumed_section(found))
    tree = Section("Snapshots", ["From the checkpoint to the raw files; each manifest holds the hashes of the ones below."])
    columns = ["Version", "Kept", "Entered", "Contract", "Code", "Run"]
    rows = []
    for n in report["nodes"]:
        verdict = "none" if n["contract"]["name"] is None else "passed" if n["contract"]["passed"] else "failed"
        code = (n["code"].get("commit") or "unknown")[:12] + (" +changes" if n["code"].get("dirty") else "")
        cells = [n["data_version"], f"{n['kept']:,}", f"{n['entered']:,}", verdict, code, n["run_id"][:8]]
        rows.append(TableRow(f"{n['asset']} {n['partition']}", [Cell(c) for c in cells]))
    tree.tables.append(Table("", "Snapshot", columns, rows))
    sections.append(tree)
    made = Section("Prompts and models")
    for title, field_name, parts in (
        ("Prompts", "prompts", ("name", "text_sha256")),
        ("Models", "models", ("name", "revision")),
    ):
        users: dict[tuple[str, str], set[str]] = {}
        for n in report["nodes"]:
            for x in n[field_name]:
                users.setdefault((x[parts[0]], x[parts[1]]), set()).add(n["asset"])
        body = [TableRow(k[0], [Cell(k[1]), Cell(", ".join(sorted(v)))]) for k, v in sorted(users.items())]
        made.tables.append(Table(title, title[:-1], [parts[1].replace("_", " "), "used by"], body))
    settings = {(n["asset"], k, _value(v)) for n in report["nodes"] for k, v in n["settings"].items()}
    made.tables.append(
        Table("Settings", "Asset", ["Name", "Value"], [TableRow(a, [Cell(k), Cell(v)]) for a, k, v in sorted(settings)])
    )
    sections.append(made)
    if verification:
        said: list[str] = []
        print_verification(verification, said.append)
        sections.insert(0, Section("Verification", said))
    context = Context(
        profile=profile.name,
        engine=", ".join(sorted({f"{m['name']} {m['revision']}" for n in report["nodes"] for m in n["models"]})),
        data=report["folder"],
        made_at=report["nodes"][0]["finished_at"],
        notes=profile.notes,
    )
    lead = f"What {name}, data version {report['data_version']}, was made from."
    page = render_page(f"Lineage of {name}", lead, context, sections)
    file.write_text(page, encoding="utf-8")


def _consumed_section(found: Mapping[str, Any]) -> Section:

    section = Section(
        "What training consumed",
        [
            f"{found['samples']:,} samples of {found['users']:,} users, consumed {found['consumed']:,} times in {found['steps']} steps."
        ],
    )
    sources = list(found["by_source"])
    cells = {(p["source"], p["task"]): p["samples"] for p in found["by_source_and_task"]}
    tasks = list(dict.fromkeys(t for _, t in cells))
    rows = [TableRow(t, [Cell(f"{cells.get((s, t), 0):,}") for s in sources]) for t in tasks]
    section.tables.append(Table("", "Task", sources, rows))
    groups: dict[str, dict[str, plots.Bar]] = {
        t: {s: (float(n),) * 3 for s in sources if (n := cells.get((s, t)))}  # type: ignore[misc]
        for t in tasks
    }
    section.figures.append(Figure(plots.bars("Samples by task and source", groups, "samples"), "Samples by task and source."))
    if found["top_users"]:
        ranked = {u["user_id"]: float(u["samples"]) for u in found["top_users"]}
        section.figures.append(Figure(plots.ranked("Users with most samples", ranked, "samples"), "Users with most samples."))
    return section
