"""How a checkpoint's report and its verification are shown: for a terminal of 80 columns, as JSON, as an HTML page.

What belongs here: layout. What does not: collecting (`checkpoint.py`), comparing (`verify.py`).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.lineage.audit.verify import Verification
from humanllm_assets.lineage.items import Item
from humanllm_assets.pages import plots
from humanllm_assets.pages.page import Cell, Context, Figure, Section, Table, TableRow, render_page

if TYPE_CHECKING:
    from resources.profile import Profile

Echo = Callable[[str], None]
WIDTH = 80


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
    echo(f"{Item(report['asset'], report['partition'])} {report['data_version']}")
    echo(
        f"  {'published' if report['published'] else 'retained, not published'}; made {root['finished_at'][:19]}Z; {report['folder']}"[
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
    _echo_wrapped(
        "",
        f"Trained on {found['samples']:,} samples of {found['users']:,} users, consumed {found['consumed']:,} times in "
        f"{found['steps']} steps",
        echo,
    )
    cells = {(p["source"], p["task"]): p["samples"] for p in found["by_source_and_task"]}
    for task in dict.fromkeys(t for _, t in cells):
        by_source = {s: n for (s, t), n in cells.items() if t == task}
        _echo_wrapped(
            f"  {task:<24}{sum(by_source.values()):>10,}  ", ", ".join(f"{s} {n:,}" for s, n in by_source.items()), echo
        )
    _echo_wrapped("  most samples: ", ", ".join(f"{u['user_id']} {u['samples']:,}" for u in found["top_users"]), echo)
    if found["held_out"]:
        echo(f"  WRONG: {found['held_out']:,} samples of the test split were trained on")
    if found["unknown"]:
        echo(f"  WRONG: {found['unknown']:,} samples are in none of the data sets that it was trained on")


def _print_tree(nodes: Sequence[Mapping[str, Any]], echo: Echo) -> None:
    echo("")
    echo(f"{f'Made from {len(nodes) - 1} snapshots':<46} {'rows kept':>11} {'of':>11}  contract")
    for asset, mine in _group_by_asset(nodes).items():
        name = f"{'  ' * min(n['depth'] for n in mine)}{asset}"
        parts = [n["partition"] for n in mine if n["partition"]]
        where = f"[{parts[0]}]" if len(parts) == 1 else f"{len(parts)} partitions" if parts else ""
        failed = sum(not n["contract"]["passed"] for n in mine)
        verdict = f"{failed} failed" if failed else "passed" if any(n["contract"]["name"] for n in mine) else "none"
        left, kept, entered = f"{name} {where}", sum(n["kept"] for n in mine), sum(n["entered"] for n in mine)
        echo(f"{left if len(left) <= 46 else left[:43] + '...':<46} {kept:>11,} {entered:>11,}  {verdict}")
    echo("")


def _group_by_asset(nodes: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
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
        values = ", ".join(f"{k} {_format_value(v)}" for k, v in n["settings"].items() if ".sampling." not in k)
        if values:
            used.setdefault(("Settings", values), set()).add(n["asset"])
    for title in ("Prompts", "Models", "Settings", "Code"):
        echo(title + (" (sampling is in --json and --html)" if title == "Settings" else ""))
        for (kind, name), assets in sorted(used.items()):
            if kind == title:
                users = ", ".join(sorted(assets)[:2]) + (f" and {len(assets) - 2} more" if len(assets) > 2 else "")
                _echo_wrapped("  ", f"{users}: {name}" if kind == "Settings" else f"{name}: {users}", echo)
    runs = {n["run_id"] for n in nodes if n["run_id"]}
    echo(f"  {len(runs)} runs; that of {nodes[0]['asset']}: {nodes[0]['run_id'] or 'unknown'}")


def _format_value(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else str(value)


def _echo_wrapped(start: str, content: str, echo: Echo) -> None:
    for i, line in enumerate(textwrap.wrap(content, WIDTH - len(start), break_on_hyphens=False) or [""]):
        echo((start if i == 0 else " " * len(start)) + line)


def print_verification(v: Verification, echo: Echo) -> None:
    """What was compared, then every file that is not what it was; of a whole data home also its anchor."""
    _echo_wrapped(
        "Verified: ",
        f"{v.manifests:,} manifests, {v.files:,} files ({v.bytes / 1e6:,.1f} MB), {v.tables:,} tables with {v.rows:,} rows, {v.prompts} "
        f"prompt texts, {v.answers:,} journal answers, {v.source_files} source files, {v.base_models} base models",
        echo,
    )
    for d in sorted(v.damage, key=lambda d: not d.altered):
        echo(f"  {'WRONG' if d.altered else 'note '}  {d.file}")
        _echo_wrapped(" " * 9, d.problem, echo)
    wrong = sum(d.altered for d in v.damage)
    many = "1 file is" if wrong == 1 else f"{wrong:,} files are"
    made = "it was" if v.anchor else "the checkpoint was made from"
    echo(f"{many} not what {made}" if wrong else "every byte is as it was")
    if v.anchor:
        echo(f"anchor {v.anchor}")


def describe_verification(v: Verification) -> dict[str, Any]:
    """What was compared, as plain data."""
    return {**asdict(v), "damage": [d._asdict() for d in v.damage], "passed": v.passed}


# ---- HTML ------------------------------------------------------------------------------------------------------------


def write_html(report: Mapping[str, Any], file: Path, profile: Profile, verification: Verification | None = None) -> None:
    """One page that needs nothing beside it: totals with plots, the tree, what it was made with."""
    name = Item(report["asset"], report["partition"])
    sections: list[Section] = []
    if found := report["consumed"]:
        sections.append(_make_consumed_section(found))
    tree = Section("Snapshots", ["From the checkpoint to the raw files; each manifest holds the hashes of the next ones."])
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
    settings = {(n["asset"], k, _format_value(v)) for n in report["nodes"] for k, v in n["settings"].items()}
    made.tables.append(
        Table("Settings", "Asset", ["Name", "Value"], [TableRow(a, [Cell(k), Cell(v)]) for a, k, v in sorted(settings)])
    )
    sections.append(made)
    if verification:
        lines: list[str] = []
        print_verification(verification, lines.append)
        sections.insert(0, Section("Verification", lines))
    context = Context(
        profile=profile.name,
        engine=", ".join(sorted({f"{m['name']} {m['revision']}" for n in report["nodes"] for m in n["models"]})),
        data=report["folder"],
        made_at=f"{report['nodes'][0]['finished_at'][:19]}Z",
        notes=profile.notes,
    )
    lead = f"What {name}, data version {report['data_version']}, was made from."
    page = render_page(f"Lineage of {name}", lead, context, sections)
    file.write_text(page, encoding="utf-8")


def _make_consumed_section(found: Mapping[str, Any]) -> Section:
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
