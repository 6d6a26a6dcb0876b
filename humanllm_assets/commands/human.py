"""`humanllm human-sample` and `humanllm human-score`: the sheets of the human check (Q5), given out and read back.

What belongs here: what is published, files, what is printed. What does not: drawing, reading and measuring
(`humanllm_assets/quality/`), which the asset `human_check` calls too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.lineage.snapshots import Snapshot, SnapshotStore
from humanllm_assets.pages.agreement_table import agreement_table
from humanllm_assets.pages.human_sheet import AskedQuestion, ShownItem, render_sheet
from humanllm_assets.partitions import Partitions
from humanllm_assets.quality.agreement import measure_agreement
from humanllm_assets.quality.human_sample import count_strata, draw_items
from humanllm_assets.quality.human_sheet import (
    COLUMNS,
    PLAUSIBILITY,
    QUESTIONS,
    QUESTIONS_OF,
    HumanSample,
    SheetError,
    item_cells,
    match_scores,
    read_sheets,
    sample_cells,
    sheet_csv,
)
from humanllm_assets.quality.item_texts import ITEM_ASSETS
from humanllm_assets.quality.judged_items import find_judged, verdicts
from resources.errors import Explained
from resources.files import write_atomically
from resources.item_kinds import ITEM_KINDS
from resources.prompting.prompts import Prompt
from resources.sources import SOURCES

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile

Echo = Callable[[str], None]
_DEFINITION = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)
PLAUSIBLE = "could it be true of a real person, and does it make sense? 10 = entirely; 5 = parts of it are odd; 1 = not at all."
TEXTS = ("item", "records")  # columns that a downloaded sheet leaves out: nobody needs to send users' texts back


class NothingJudged(Explained):
    """There is no published verdict of the judge to check."""


def draw_sample(profile: Profile, home: Home, wanted: int, seed: int, folder: Path, echo: Echo) -> None:
    """Draw a sample of what is published, and write `sheet.html` and `sheet.csv` into a folder.

    Raises:
        NothingJudged: no item of the profile was judged.
        SheetError: the folder holds a sheet already, which somebody may have filled in.
    """
    for name in ("sheet.html", "sheet.csv"):
        if (folder / name).exists():
            raise SheetError(f"{folder / name} is there already and may hold scores; name another folder with --out")
    store, parts = SnapshotStore(home.root), Partitions(profile)
    judged = _published_judged(store, parts)
    with duckdb.connect() as con:
        find_judged(con, _main_tables(judged))
        records = {
            source: [s.path("records") for p in parts.slices(source) if (s := store.published(f"filtered_{source}", p))]
            for source in judged["qc_scores"]
        }
        versions = {source: s.data_version for source, s in judged["qc_scores"].items()}
        items = draw_items(con, records, wanted, seed)
        strata = count_strata(con)
    if not items:
        raise NothingJudged("the judge gave no verdict on any published item; see the failures of qc_scores")
    sample = HumanSample(str(home.root), profile.name, seed, versions, items)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "sheet.html", sheet_html(sample).encode())
    write_atomically(folder / "sheet.csv", sheet_csv(sample).encode())
    for s in strata:
        echo(f"  {s.source:<16} {s.family:<9} {'kept' if s.kept else 'dropped':<8} {s.drawn:>4} of {s.judged:,} judged")
    echo(f"{len(items)} items, sample {sample.id}: {folder / 'sheet.html'} (or sheet.csv beside it)")
    if len(items) < wanted:
        echo(f"{wanted} were asked for; the judge gave a verdict on {len(items)} items in all")
    echo("The sheets hold texts of users: give them to annotators alone, and delete them afterwards.")
    echo("Give one to each annotator, then: humanllm human-score FIRST.csv SECOND.csv")


def sheet_html(sample: HumanSample) -> str:
    """The page on which the sample is scored; the metrics are defined as the judge reads them."""
    asked = {}
    for kind in ITEM_KINDS:
        known = {**dict(_DEFINITION.findall(Prompt.load(kind.judge_prompt).text)), PLAUSIBILITY: PLAUSIBLE}
        asked[kind.name] = [AskedQuestion(q, known[q]) for q in QUESTIONS_OF[kind.name]]
    cells = sample_cells(sample)
    facts = {
        "Sample": sample.id,
        "Items": cells["items"],
        "Profile": sample.profile,
        "Data home": sample.home,
        "Seed": cells["seed"],
        **{f"qc_scores[{source}]": version for source, version in sorted(sample.versions.items())},
    }
    return render_sheet(
        columns=[c for c in COLUMNS if c not in TEXTS],
        all_questions=QUESTIONS,
        cells=cells,
        facts=facts,
        items=[
            ShownItem(i.item_kind, SOURCES[i.source].label, i.text, i.records, asked[i.item_kind], item_cells(i))
            for i in sample.items
        ],
    )


def score_sheets(profile: Profile, home: Home, files: Sequence[Path], echo: Echo) -> None:
    """Print what annotators scored, and how far they agree with each other and with the judge.

    Raises:
        NothingJudged: no item of the profile was judged.
        SheetError: a sheet cannot be used.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    sheets = read_sheets(files, profile.name)
    judged = _published_judged(SnapshotStore(home.root), Partitions(profile))
    with duckdb.connect() as con:
        find_judged(con, _main_tables(judged))
        found = match_scores(sheets, verdicts(con), {p: s.data_version for p, s in judged["qc_scores"].items()})
    echo(f"sample {sheets.sample}: {sheets.items} items drawn, {len({r['item_id'] for r in found.rows})} scored")
    for annotator in sheets.annotators:
        own = [r for r in found.rows if r["annotator"] == annotator]
        handed_in = sum(row.annotator == annotator for row in sheets.rows)
        echo(
            f"  {annotator}: {len(own):,} scores of {len({r['item_id'] for r in own})} items, {found.missing[annotator]:,} missing, "
            f"{sheets.items - handed_in} items not in the sheet"
        )
    if found.outdated:
        echo(f"{found.outdated:,} scores are of items that were written anew or are gone since: they are left out")
    if not found.rows:
        echo("nothing was scored")
        return
    shown = agreement_table(measure_agreement(found.rows, profile.thresholds.qc))
    table = Table(title="Human check", title_justify="left", box=box.SIMPLE, title_style="bold", pad_edge=False)
    for i, column in enumerate(("metric", *shown.columns)):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in shown.rows:
        table.add_row(row.name, *[f"{cell.text} {cell.detail}".strip() for cell in row.cells])
    console = Console(highlight=False, markup=False)
    console.width = max(120, console.width)
    console.print(table)
    for note in profile.notes:
        console.print(f"Note: {note}", style="yellow")


def _published_judged(store: SnapshotStore, parts: Partitions) -> dict[str, dict[str, Snapshot]]:
    """What is published of qc_scores and the items that it judges, by asset and source.

    Raises:
        NothingJudged: of no source is it.
    """
    found: dict[str, dict[str, Snapshot]] = {}
    for source in parts.profile_sources:
        if (scores := store.published("qc_scores", source)) is None:
            continue
        found.setdefault("qc_scores", {})[source] = scores
        for asset in ITEM_ASSETS.values():
            if snapshot := store.published(asset, source):
                found.setdefault(asset, {})[source] = snapshot
    if not found:
        raise NothingJudged("nothing was judged yet; run: humanllm materialize qc_scores")
    return found


def _main_tables(judged: dict[str, dict[str, Snapshot]]) -> dict[str, dict[str, Path]]:
    return {a: {p: s.path("scores" if a == "qc_scores" else "items") for p, s in found.items()} for a, found in judged.items()}
