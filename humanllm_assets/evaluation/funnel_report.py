"""The report of the funnel: Table A1 beside the paper's numbers, dropped rows by reason, scores by the judge (V6) and by people.

Self-contained HTML: no script, no file, no address outside the page. `funnel_numbers` gives the same numbers as rows, so that the
report is also a table.

What belongs here: arranging numbers that others computed. What does not: computing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.evaluation.judge_report import JudgedKind, judge_numbers, judge_section, judge_warnings
from humanllm_assets.evaluation.paper import paper_numbers, paper_value, report_row, show_count
from humanllm_assets.pages import plots
from humanllm_assets.pages.agreement_table import agreement_table
from humanllm_assets.pages.page import Cell, Context, Figure, Section, Table, TableRow, render_page
from humanllm_assets.tables import AS_IN_PAPER
from resources.sources import SOURCES

Row = dict[str, Any]
FUNNEL_COLUMNS = (
    "Raw Texts",
    "After DF Texts",
    "After DS Users",
    "After DS Scenarios",
    "After DS Social QA",
    "After QC Users",
    "After QC Scenarios",
    "After QC Social QA",
)


# ---- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One cell of Table A1. column: one of FUNNEL_COLUMNS; value: rows, null where the stage does not exist for the source."""

    source: str
    column: str
    value: int | None


@dataclass(frozen=True)
class Drop:
    """Rows of one source that one stage left out for one reason."""

    stage: str
    source: str
    reason: str
    rows: int


@dataclass(frozen=True)
class ScoreCount:
    """How often the judge gave a score (1-10) to a kind of item in one metric."""

    item_kind: str
    metric: str
    score: int
    items: int


@dataclass(frozen=True)
class FunnelInputs:
    """Everything that the page shows. human: rows of AGREEMENT; the context is printed on the page's top."""

    stages: Sequence[Stage]
    drops: Sequence[Drop]
    scores: Sequence[ScoreCount]
    human: Sequence[Row]
    judges: Sequence[JudgedKind]
    context: Context
    rates: Sequence[Row] = ()
    """Rows of FUNNEL_RATES."""


# ---- funnel ----------------------------------------------------------------------------------------------------------


def funnel_numbers(stages: Iterable[Stage]) -> list[Row]:
    """Rows of REPORT_ROWS: section, row, column, value, paper; sources and Total."""
    cells = {(s.source, s.column): s.value for s in stages}
    sources = [s for s in SOURCES if any(k[0] == s for k in cells)]
    rows = []
    for source in sources:
        for column in FUNNEL_COLUMNS:
            title = SOURCES[source].label
            rows.append(report_row("Table A1", title, column, cells.get((source, column)), paper_value("A1", title, column)))
    for column in FUNNEL_COLUMNS:  # comments feed one task only: the paper's totals do not hold them
        values = [v for s in sources if SOURCES[s].has_profiles and (v := cells.get((s, column))) is not None]
        rows.append(report_row("Table A1", "Total", column, sum(values) if values else None, paper_value("A1", "Total", column)))
    return rows


def funnel_report(inputs: FunnelInputs) -> tuple[str, list[Row]]:
    """Page and rows of REPORT_ROWS: Table A1 beside the paper's, the funnel per source, drops by reason, the judge, its scores and those of people."""
    stages, drops, scores = inputs.stages, inputs.drops, inputs.scores
    numbers, warnings = funnel_numbers(stages), judge_warnings(inputs.judges)
    rows = []
    for name in dict.fromkeys(n["row"] for n in numbers):
        mine = [n for n in numbers if n["row"] == name]
        rows.append(TableRow(name, [Cell(show_count(n["value"])) for n in mine]))
        rows.append(TableRow(f"{name}, paper", [Cell(show_count(n["paper"])) for n in mine], paper=True))
    table = Section(
        "Table A1: rows after each stage",
        [
            f"Grey rows: {paper_numbers()['source']}. DF filtering, DS synthesis, QC quality control. "
            "Totals leave out Reddit comments, which the paper does not count.",
            *(f"After QC, {warning}" for warning in warnings),
        ],
    )
    table.tables.append(Table("", "Source", list(FUNNEL_COLUMNS), rows))
    groups = {
        SOURCES[s].label: {c: _bar(v.value) for c in FUNNEL_COLUMNS for v in stages if (v.source, v.column) == (s, c) and v.value}
        for s in dict.fromkeys(v.source for v in stages)
    }
    if any(groups.values()):
        table.figures.append(
            Figure(plots.bars("Funnel per source", groups, "rows (log scale)", log=True), "Rows per stage and source.")
        )
    dropped = Section("Dropped rows by reason", [] if drops else ["Nothing was dropped."])
    for stage in dict.fromkeys(d.stage for d in drops):
        values: dict[str, float] = {}
        for d in drops:
            if d.stage == stage:
                name = f"{SOURCES[d.source].label}: {d.reason}"
                values[name] = values.get(name, 0) + d.rows
        dropped.figures.append(
            Figure(plots.ranked(f"Dropped by {stage}", values, "rows"), f"{stage}: each row counts for its first reason.")
        )
        body = [TableRow(name, [Cell(show_count(n))]) for name, n in sorted(values.items(), key=lambda x: (-x[1], x[0]))]
        dropped.tables.append(Table(stage, "Source and reason", ["Rows"], body))
    judged = Section("Scores of the judge", warnings if scores else ["Nothing was judged."])
    for kind in dict.fromkeys(s.item_kind for s in scores):
        counts: dict[str, dict[int, int]] = {}
        for s in scores:
            if s.item_kind == kind:
                counts.setdefault(s.metric, {})[s.score] = counts.get(s.metric, {}).get(s.score, 0) + s.items
        judged.figures.append(
            Figure(plots.histograms(f"Scores of {kind}", counts), f"{kind}: items per score, 1-10, higher is better.")
        )
    shares = _shares(inputs.rates)
    lead = "How many rows each stage kept, beside the paper's Table A1, and why the others were left out."
    sections = [table, shares, dropped, judge_section(inputs.judges), judged, _human_section(inputs.human)]
    numbers += [report_row("Human check", *_name_number(r), r["value"], _paper_number(r)) for r in inputs.human]
    page = render_page(f"Funnel, profile {inputs.context.profile}", lead, inputs.context, sections)
    return page, [*numbers, *judge_numbers(inputs.judges)]


def _shares(rates: Sequence[Row]) -> Section:
    section = Section(
        "Kept shares",
        [
            "Of the rows that reached a stage or rule, the share that it kept. Bands are the profile's; outside one the report's check warns."
            if rates
            else "Nothing was counted."
        ],
    )
    body = []
    for r in rates:
        band = "–" if r["low"] is None else f"{r['low']:.2%} to {r['high']:.2%}"
        out = r["low"] is not None and (r["share"] is None or not r["low"] <= r["share"] <= r["high"])
        cells = [show_count(r["entered"]), show_count(r["kept"]), _share(r["share"]), _share(r["paper"])]
        body.append(TableRow(r["rate"], [*map(Cell, cells), Cell(band, "outside" if out else "")]))
    if body:
        section.tables.append(Table("", "Source, stage and rule", ["Reached it", "Kept", "Share", "Paper", "Band"], body))
    return section


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _human_section(human: Sequence[Row]) -> Section:
    """What people say of judged items (Q5), beside the paper's one number (A.4)."""
    paper = paper_numbers()["human_check"]
    section = Section(
        "Human check: people beside the judge",
        [
            "Means of scores from 1 to 10, higher is better; alpha: Krippendorff's, between annotators; n: items. Kept and dropped items "
            f"were drawn alike, so a mean over all is no mean of the data set. The row “{AS_IN_PAPER}” puts hallucination and plausibility of "
            f"kept items together on the paper's scale, {paper['scale']}.",
        ],
    )
    if not human:
        section.texts = ["No human check yet: humanllm human-sample."]
        return section
    shown = agreement_table(human)
    known = {"mean, kept": f"{paper['mean']:.2f}", "alpha": f"{paper['alpha']:.2f}"}
    detail = f"n {paper['items']}"
    cells = [Cell(known[c], detail) if c in known else Cell("–") for c in shown.columns]
    shown.rows.append(TableRow(f"{paper_numbers()['source']}, A.4", cells, paper=True))
    section.tables.append(shown)
    return section


def _name_number(row: Row) -> tuple[str, str]:
    """Row and column of a number of the human check."""
    return row["metric"], row["measure"] + (f" of {row['annotator']}" if row["annotator"] else "")


def _paper_number(row: Row) -> float | None:
    names = {"mean_kept": "mean", "alpha": "alpha"}
    return (
        paper_numbers()["human_check"][names[row["measure"]]]
        if row["metric"] == AS_IN_PAPER and row["measure"] in names
        else None
    )


def _bar(value: float | None) -> plots.Bar:
    return None if value is None else (float(value), float(value), float(value))
