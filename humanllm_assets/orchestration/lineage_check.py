"""What the UI shows of lineage: a checkpoint's summary with a plot, and the check that nothing behind it is missing or altered.

Concept: https://docs.dagster.io/guides/test/asset-checks (No `from __future__ import annotations` here: Dagster reads the annotation
of `context`.)
"""

import base64
import io
from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg

from humanllm_assets.lineage.audit.chain import walk
from humanllm_assets.lineage.audit.checkpoint import count_consumed
from humanllm_assets.lineage.audit.verify import verify
from humanllm_assets.lineage.inventory import read_publication
from humanllm_assets.lineage.items import NO_PARTITION, Item
from humanllm_assets.lineage.manifests import Damage, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.pages.markdown import escape_markdown
from resources.home import Home
from resources.profile import Profile

LINEAGE_COMPLETE = "lineage_complete"
_SHOWN = 100  # damaged files listed in the UI


def summarise_lineage(store: SnapshotStore, checkpoint: Snapshot) -> str:
    """Markdown: what a checkpoint consumed, by task and source, its users, and a plot as an embedded PNG."""
    found = count_consumed(store, walk(store, checkpoint), checkpoint)
    m = checkpoint.manifest
    sources = list(found["by_source"])
    cells = {(p["source"], p["task"]): p["samples"] for p in found["by_source_and_task"]}
    lines = [
        f"**{found['samples']:,} samples of {found['users']:,} users**, consumed {found['consumed']:,} times in {found['steps']} steps",
        "",
        f"| task | {' | '.join(sources)} | all |",
        f"|---|{'---:|' * (len(sources) + 1)}",
    ]
    for task in dict.fromkeys(t for _, t in cells):
        numbers = [cells.get((s, task), 0) for s in sources]
        lines.append(f"| {task} | {' | '.join(f'{n:,}' for n in numbers)} | {sum(numbers):,} |")
    lines += ["", "| user | samples | consumed |", "|---|---:|---:|"]
    lines += [f"| {escape_markdown(u['user_id'])} | {u['samples']:,} | {u['consumed']:,} |" for u in found["top_users"]]
    lines += ["", f"![samples by task and source](data:image/png;base64,{_plot(cells, sources)})", ""]
    lines.append(f"From the checkpoint to the raw files: `humanllm audit checkpoint {m.partition}@{m.data_version}`")
    return "\n".join(lines)


def _plot(cells: Mapping[tuple[str, str], int], sources: list[str]) -> str:
    """Stacked bars of samples by task, one colour per source, as a base64 PNG of some 10 kB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from humanllm_assets.pages.plots import COLORS

    tasks = list(dict.fromkeys(t for _, t in cells))[::-1]
    figure = Figure(figsize=(7, 1.1 + 0.3 * len(tasks)), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    left = [0] * len(tasks)
    for n, source in enumerate(sources):
        values = [cells.get((source, t), 0) for t in tasks]
        ax.barh(tasks, values, left=left, label=source, color=COLORS[n % len(COLORS)])
        left = [a + b for a, b in zip(left, values, strict=True)]
    ax.set_xlabel("samples")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, ncols=min(5, len(sources)), loc="outside upper center")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return base64.b64encode(png.getvalue()).decode()


def lineage_check(
    asset: str, partitions_def: dg.PartitionsDefinition | None, profile: Profile, home: Home, declared: Collection[Item]
) -> dg.AssetChecksDefinition:
    """The check `lineage_complete` of an asset: every snapshot behind what is published is there and unaltered, byte by byte.

    `declared`: all partitions of the graph."""

    @dg.asset_check(
        asset=asset,
        name=LINEAGE_COMPLETE,
        description="Every snapshot that the published one was made from is there, and no byte of them, of prompts, journal answers, source "
        "files or base models differs from what the manifests say. Reads everything; `humanllm audit checkpoint --verify` is the same.",
        blocking=False,
        partitions_def=partitions_def,
    )
    def _check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        partition = context.partition_key if context.has_partition_key else NO_PARTITION
        return verify_lineage(SnapshotStore(home.root), asset, partition, profile, declared)

    return _check


def verify_lineage(
    store: SnapshotStore, asset: str, partition: str, profile: Profile, declared: Collection[Item] = ()
) -> dg.AssetCheckResult:
    """Verify what is published of a partition."""
    found = read_publication(store, Item(asset, partition))
    if found is None or found.snapshot is None:
        nothing = Damage(store.show_path(store.pointer_file(asset, partition)), "nothing is published")
        return _result([found.damage if found and found.damage else nothing], {})
    v = verify(store, walk(store, found.snapshot), None, profile, declared=declared)
    counted = {
        "manifests": v.manifests,
        "files": v.files,
        "megabytes": round(v.bytes / 1e6, 1),
        "rows": v.rows,
        "journal_answers": v.answers,
        "source_files": v.source_files,
    }
    return _result(v.damage, counted)


def _result(damage: list[Damage], counted: dict[str, Any]) -> dg.AssetCheckResult:
    altered = [d for d in damage if d.altered]
    metadata = dict(counted)
    if damage:
        rows = [dg.TableRecord({"file": d.file, "problem": d.problem, "fails": str(d.altered).lower()}) for d in damage[:_SHOWN]]
        metadata["damaged"] = dg.MetadataValue.table(
            rows, schema=dg.TableSchema([dg.TableColumn(c) for c in ("file", "problem", "fails")])
        )
    return dg.AssetCheckResult(
        passed=not altered,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(altered)} files are missing or altered; the first: {altered[0]}"
        if altered
        else "every byte is as it was",
        metadata=metadata,
    )
