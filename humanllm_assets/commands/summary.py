"""What a newcomer reads when the demo ends: numbers of the published snapshots, and the next command to type.

Every number comes from a manifest or a table; nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.inventory import read_publication
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets.partitions import Partitions, parse_score_key
from humanllm_assets.quality.assets import judged_sources

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile


def print_status(profile: Profile, home: Home, echo: Callable[[str], None]) -> None:
    """One line per asset: how many partitions exist, are published, are stale; then what is published but damaged."""
    graph, store = build_graph(profile, home), SnapshotStore(home.root)
    stale, damage = {s.item for s in plan(graph, store)}, []
    echo(f"profile {profile.name}: {profile.description}\ndata home {home.root}")
    for node in graph.nodes.values():
        found = [read_publication(store, Item(node.name, p)) for p in node.partitions]
        published = sum(p is not None and p.damage is None for p in found)
        damage += [f"{p.damage.sentence}; run: humanllm materialize '{p.item}'" for p in found if p and p.damage]
        behind = sum(Item(node.name, p) in stale for p in node.partitions)
        echo(f"  {node.group:<11} {node.name:<26} {published:>3} of {len(node.partitions):>3} published, {behind} stale")
    for line in damage:
        echo(line)


def print_summary(profile: Profile, home: Home) -> None:
    """Print funnel, quality outcome, training and benchmark results of what is published."""
    from rich.console import Console

    console = Console(highlight=False, width=max(90, Console().width))
    store, parts = SnapshotStore(home.root), Partitions(profile)
    for title, columns, rows in (
        ("Funnel: rows per source", FUNNEL_COLUMNS, funnel_rows(store, parts)),
        ("Quality control: what the judge kept", QC_COLUMNS, qc_rows(store, parts)),
        ("Training", TRAINING_COLUMNS, training_rows(store, parts)),
        ("Benchmarks: share of right answers, chance beside it", BENCHMARK_COLUMNS, benchmark_rows(store, parts)),
    ):
        console.print()
        console.print(_table(title, columns, rows))
        if columns is QC_COLUMNS and (line := judge_line(store, profile)):
            console.print(line, style="yellow", soft_wrap=True)
    for note in profile.notes:
        console.print(f"Note: {note}", style="yellow")
    for report in ("funnel_report", "benchmark_report"):
        if (snapshot := store.published(report, "")) and (page := snapshot.manifest.measures.get("report")):
            console.print(f"{report:<17} {snapshot.folder / str(page)}", soft_wrap=True)
    console.print(f"{'snapshots':<17} {home.root / 'snapshots'}", soft_wrap=True)
    console.print(f"{'SQL':<17} duckdb {home.warehouse}   (a view per asset)", soft_wrap=True)
    console.print("Next: make ui     (the same graph in Dagster, on http://127.0.0.1:3000)", style="bold")


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]):
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, title_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0 or column == "contestant")
    for row in rows:
        table.add_row(*[f"{v:,}" if isinstance(v, int) else f"{v:.2f}" if isinstance(v, float) else str(v) for v in row])
    return table


def _each(store: SnapshotStore, asset: str, partitions: Iterable[str]) -> list[Snapshot]:
    return [s for p in partitions if (s := store.published(asset, p))]


FUNNEL_COLUMNS = ("source", "read", "rules", "to LLM", "kept", "users", "scenes", "QA", "train/test")


def funnel_rows(store: SnapshotStore, parts: Partitions) -> list[list[object]]:
    """Rows of FUNNEL_COLUMNS, one per source, each a count; `-` where nothing is published.

    "to LLM" is what entered filtering and is left out neither by a cap nor for want of the post that it answers; "train/test" sums the samples of the source's tasks.
    """
    rows: list[list[object]] = []
    for source in parts.sources:
        eligible = _each(store, f"eligible_{source}", parts.slices(source))
        filtered = _each(store, f"filtered_{source}", parts.slices(source))
        capped = sum(n for s in filtered for reason, n in s.manifest.counts.dropped.items() if reason in NOT_ASKED)
        users = [s.manifest.measures.get("users", 0) for s in _each(store, "user_profiles", [source])]
        tasks = [s for s in _each(store, "task_datasets", parts.pairs) if s.manifest.partition.endswith(f"-{source}")]
        split = "/".join(str(sum(int(s.manifest.measures.get(f"{k}_samples") or 0) for s in tasks)) for k in ("train", "test"))
        rows.append(
            [
                source,
                sum(s.manifest.counts.entered for s in eligible),
                sum(s.manifest.counts.kept for s in eligible),
                sum(s.manifest.counts.entered for s in filtered) - capped,
                sum(s.manifest.counts.kept for s in filtered),
                users[0] if users else "-",
                *[
                    (s[0].manifest.tables["items"].rows if (s := _each(store, a, [source])) else "-")
                    for a in ("scenarios", "social_qa")
                ],
                split,
            ]
        )
    return rows


NOT_ASKED = ("over_user_cap", "over_record_cap", "too_few_records", "post_not_filtered")
QC_COLUMNS = ("source", "kind", "judged", "kept", "share", "most dropped by")


def qc_rows(store: SnapshotStore, parts: Partitions) -> list[list[object]]:
    """Rows of QC_COLUMNS, one per source and item kind, from the published `qc_scores`."""
    rows: list[list[object]] = []
    for snapshot in _each(store, "qc_scores", parts.profile_sources):
        found = duckdb.execute(
            """select item_kind, count(*), count(*) filter (kept), coalesce(mode(dropped_by), '-')
               from read_parquet(?) group by 1 order by 1""",
            [str(snapshot.path("scores"))],
        ).fetchall()
        rows += [[snapshot.manifest.partition, kind, n, kept, f"{kept / n:.0%}", why] for kind, n, kept, why in found]
    return rows


def judge_line(store: SnapshotStore, profile: Profile) -> str:
    """What is known of the judge, by item kind, from the published `judge_approval`; empty when nothing is."""
    said: dict[str, list[str]] = {}
    for snapshot in _each(store, "judge_approval", judged_sources(profile)):
        query = "select item_kind, says from read_parquet(?)"
        for kind, says in duckdb.execute(query, [str(snapshot.path("approvals"))]).fetchall():
            said.setdefault(says, []).append(kind)
    return "; ".join(f"{', '.join(kinds)}: {says}" for says, kinds in said.items())


TRAINING_COLUMNS = ("recipe", "samples", "steps", "tokens", "loss: first", "last", "merge error")


def training_rows(store: SnapshotStore, parts: Partitions) -> list[list[object]]:
    """Rows of TRAINING_COLUMNS, one per published checkpoint; "merge error" is the largest deviation of a weight from the exact mean."""
    rows: list[list[object]] = []
    for snapshot in _each(store, "sft_checkpoint", parts.recipes):
        m = snapshot.manifest.measures
        merged = store.published("merged_model", snapshot.manifest.partition)
        check = merged.manifest.measures if merged else {}
        rows.append(
            [
                snapshot.manifest.partition,
                *[m.get(k, "-") for k in ("consumed_samples", "steps", "tokens", "first_loss", "final_loss")],
                f"{check['max_abs_error']:g}" if "max_abs_error" in check else "-",
            ]
        )
    return rows


BENCHMARK_COLUMNS = ("benchmark, options", "contestant", "n", "right", "95% interval", "chance", "invalid")


def benchmark_rows(store: SnapshotStore, parts: Partitions) -> list[list[object]]:
    """Rows of BENCHMARK_COLUMNS, one per published score and set of options, without controls; numbers are shares from 0 to 1."""
    rows: list[list[object]] = []
    for snapshot in _each(store, "benchmark_scores", parts.score_keys()):
        benchmark, contestant = parse_score_key(snapshot.manifest.partition)
        found = duckdb.execute(
            """select distractor_set, any_value(n) filter (metric = 'accuracy'), any_value(value) filter (metric = 'accuracy'),
                      any_value(low) filter (metric = 'accuracy'), any_value(high) filter (metric = 'accuracy'),
                      any_value(value) filter (metric = 'chance'), any_value(value) filter (metric = 'invalid_rate')
               from read_parquet(?) where control = 'none' group by 1 order by 1""",
            [str(snapshot.path("summary"))],
        ).fetchall()
        for options, n, value, low, high, chance, invalid in found:
            interval = f"{low:.2f}-{high:.2f}" if low is not None else "-"
            rows.append([f"{benchmark}, {options}", contestant, n, value, interval, chance, invalid])
    return rows
