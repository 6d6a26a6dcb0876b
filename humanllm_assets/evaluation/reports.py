"""The two reports: the funnel (Table A1) and the benchmarks (Tables 1-3, B2-B4, Figure 2), beside the paper's numbers (V6).

Self-contained HTML: no script, no file, no address outside the page. `funnel_numbers` and `benchmark_numbers` give the same
numbers as rows, so that a report is also a table.

What belongs here: arranging numbers that others computed. What does not: computing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from humanllm_assets.evaluation.applications import APPLICATIONS
from humanllm_assets.evaluation.fixed import TOM_GROUPS
from humanllm_assets.evaluation.scoring import Estimate
from humanllm_assets.pages import plots
from humanllm_assets.pages.page import Cell, Context, Figure, Section, Table, TableRow, render_page
from resources.profile import Benchmark
from resources.sources import SOURCES

Row = dict[str, Any]
_HERE = Path(__file__).parent
_TASK_COLUMNS = {
    "profile_generation": "Profile Generation",
    "scenario_generation": "Scenario Generation",
    "social_qa": "Social QA",
    "writing_imitation": "Writing Imitation",
}
_MOTIVE_COLUMNS = {"Amazon": "Amazon", "Blog": "Blogger", "Persona": "Persona"}
_LANGUAGES = {"en": "English", "zh": "Chinese"}
FEW_ANSWERS = 30  # below, a bootstrap over so few users says too little, and the report says so
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
class Difference:
    """Accuracy of the merged model minus accuracy of its base, from `scoring.compare`."""

    base: str
    merged: str
    benchmark: str
    distractor_set: str
    estimate: Estimate


@dataclass(frozen=True)
class FunnelInputs:
    stages: Sequence[Stage]
    drops: Sequence[Drop]
    scores: Sequence[ScoreCount]
    context: Context


@dataclass(frozen=True)
class BenchmarkInputs:
    """summaries: rows of SUMMARY of all benchmarks and contestants. differences: merged models against their bases. benchmarks:
    the profile's; a table none of whose benchmarks has results says so.
    """

    summaries: Sequence[Row]
    differences: Sequence[Difference]
    benchmarks: Mapping[str, Benchmark]
    context: Context


@cache
def page_files() -> dict[str, str]:
    """Content hashes of the page's template and the paper's numbers: what a report shows beside its code."""
    return {name: hashlib.sha256((_HERE / name).read_bytes()).hexdigest() for name in ("paper_numbers.yaml",)}


def paper_numbers() -> dict[str, Any]:
    """`paper_numbers.yaml`: source, contestants (ours -> the paper's row), tables (caption, unit, columns, rows)."""
    return yaml.safe_load((_HERE / "paper_numbers.yaml").read_text(encoding="utf-8"))


def paper_value(table: str, row: str, column: str) -> float | None:
    """What the paper prints, null where it prints a dash or has no such row or column."""
    printed = paper_numbers()["tables"][table]
    if row not in printed["rows"] or column not in printed["columns"]:
        return None
    return printed["rows"][row][printed["columns"].index(column)]


# ---- funnel ----------------------------------------------------------------------------------------------------------


def funnel_numbers(stages: Iterable[Stage]) -> list[Row]:
    """Rows of REPORT_ROWS: section, row, column, value, paper; sources and Total."""
    cells = {(s.source, s.column): s.value for s in stages}
    sources = [s for s in SOURCES if any(k[0] == s for k in cells)]
    rows = []
    for source in sources:
        for column in FUNNEL_COLUMNS:
            title = SOURCES[source].label
            rows.append(_number("Table A1", title, column, cells.get((source, column)), paper_value("A1", title, column)))
    for column in FUNNEL_COLUMNS:  # comments feed one task only: the paper's totals do not hold them
        values = [v for s in sources if s != "reddit_comments" and (v := cells.get((s, column))) is not None]
        rows.append(_number("Table A1", "Total", column, sum(values) if values else None, paper_value("A1", "Total", column)))
    return rows


def funnel_report(inputs: FunnelInputs) -> tuple[str, list[Row]]:
    """Page and rows of REPORT_ROWS: Table A1 beside the paper's, the funnel per source, drops by reason, the judge's scores."""
    stages, drops, scores = inputs.stages, inputs.drops, inputs.scores
    numbers = funnel_numbers(stages)
    rows = []
    for name in dict.fromkeys(n["row"] for n in numbers):
        mine = [n for n in numbers if n["row"] == name]
        rows.append(TableRow(name, [Cell(_count(n["value"])) for n in mine]))
        rows.append(TableRow(f"{name}, paper", [Cell(_count(n["paper"])) for n in mine], paper=True))
    table = Section(
        "Table A1: rows after each stage",
        [
            f"Grey rows: {paper_numbers()['source']}. DF filtering, DS synthesis, QC quality control. "
            "Totals leave out Reddit comments, which the paper does not count."
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
        body = [TableRow(name, [Cell(_count(n))]) for name, n in sorted(values.items(), key=lambda x: (-x[1], x[0]))]
        dropped.tables.append(Table(stage, "Source and reason", ["Rows"], body))
    judged = Section("Scores of the judge", [] if scores else ["Nothing was judged."])
    for kind in dict.fromkeys(s.item_kind for s in scores):
        counts: dict[str, dict[int, int]] = {}
        for s in scores:
            if s.item_kind == kind:
                counts.setdefault(s.metric, {})[s.score] = counts.get(s.metric, {}).get(s.score, 0) + s.items
        judged.figures.append(
            Figure(plots.histograms(f"Scores of {kind}", counts), f"{kind}: items per score, 1-10, higher is better.")
        )
    lead = "How many rows each stage kept, beside the paper's Table A1, and why the others were left out."
    return render_page(f"Funnel, profile {inputs.context.profile}", lead, inputs.context, [table, dropped, judged]), numbers


# ---- benchmarks ------------------------------------------------------------------------------------------------------


class _Column(NamedTuple):
    """Where a number of a table comes from: benchmark, metric, set of distractors; scale multiplies it."""

    title: str
    benchmark: str
    metric: str
    distractors: str
    scale: float = 1.0


class _Layout(NamedTuple):
    """One table of the report, its number in the paper and its columns; digits of its numbers.

    A table of the paper has the paper's columns, so that Avg. means the same; a column without benchmark stays empty.
    """

    title: str
    paper_table: str
    columns: list[_Column]
    digits: int
    text: str = ""


def _slots(layout: _Layout) -> list[tuple[str, _Column | None]]:
    """Title and source of each column."""
    by_title = {c.title: c for c in reversed(layout.columns)}  # of several benchmarks for one column the first counts
    if not layout.paper_table:
        return [(c.title, c) for c in layout.columns]
    printed = paper_numbers()["tables"][layout.paper_table]["columns"]
    return [(c, by_title.get(c)) for c in printed if c not in ("Avg.", "Imp. (%)")]


def _layouts(benchmarks: Mapping[str, Benchmark]) -> list[_Layout]:
    def choice(name: str) -> list[_Column]:
        selection = [k for k, b in benchmarks.items() if b.kind == "item_selection" and name == "llm"]
        found = [_Column("Item Selection", k, "accuracy", "catalogue", 100) for k in selection]
        for task, title in _TASK_COLUMNS.items():
            found += [
                _Column(title, k, "accuracy", name, 100) for k, b in benchmarks.items() if b.kind == "choice" and b.task == task
            ]
        return found

    motive = [
        _Column(_MOTIVE_COLUMNS.get(b.subset or "", b.subset or k), k, "accuracy", "fixed")
        for k, b in benchmarks.items()
        if b.kind == "motivebench"
    ]
    llm_text = (
        "Accuracy in percent against texts written by other models, as in the paper. A model is not asked about distractors "
        "of its own base model where enough others remain."
    )
    human_text = "Accuracy in percent against other users' true texts of about the same length; the paper has no such set."
    layouts = [
        _Layout("Table 1: in-domain, distractors written by models", "1", choice("llm"), 2, llm_text),
        _Layout("Table 1, distractors written by people", "", choice("human"), 2, human_text),
        _Layout("Table 2: MotiveBench", "2", motive, 4, "Share of correct answers over all questions in six option orders."),
    ]
    names = {g: "NLC" if g.startswith("Non") else g for g in TOM_GROUPS}
    ways = {
        "by_ability": "mean over ability strings, as for the paper's open models",
        "pooled": "pooled over questions, as for its GPT-4o row",
    }
    tom = {k: b for k, b in benchmarks.items() if b.kind == "tombench"}
    for way, text in ways.items():
        for k, b in tom.items():
            title = f"Table 3: ToMBench, {_LANGUAGES.get(b.subset or '', b.subset)}, {text.partition(',')[0]}"
            columns = [_Column(name, k, f"{way}:{g}", "fixed") for g, name in names.items()]
            layouts.append(_Layout(title, "3", columns, 4, f"Majority of five asks; {text}. Intervals over stories."))
    if not tom:
        layouts.append(_Layout("Table 3: ToMBench", "3", [], 4))
    for name, app in APPLICATIONS.items():
        columns = [
            _Column(m.replace("_", " ").title(), k, m, "fixed")
            for k, b in benchmarks.items()
            if b.kind == "application" and b.subset == name
            for m in app.metrics
        ]
        title = f"Table {app.paper_table}: {name.replace('_', ' ')}"
        layouts.append(_Layout(title, app.paper_table, columns, 4, "Mean of the judge's scores, 1-10."))
    return layouts


def benchmark_numbers(summaries: Iterable[Row], benchmarks: Mapping[str, Benchmark]) -> list[Row]:
    """Rows of REPORT_ROWS of all tables that have results; `paper` is filled for contestants that the paper has."""
    found = _index(summaries)
    rows = []
    for layout in _layouts(benchmarks):
        for contestant in _contestants(found, layout):
            printed = paper_numbers()["contestants"].get(contestant, "")
            values = {title: _value(found, contestant, c) for title, c in _slots(layout)}
            ours = {**{title: v and v.value for title, v in values.items()}, "Avg.": _mean(list(values.values()))}
            for title, value in ours.items():
                paper = paper_value(layout.paper_table, printed, title) if layout.paper_table else None
                rows.append(_number(layout.title, contestant, title, value, paper))
    return rows


def benchmark_report(inputs: BenchmarkInputs) -> tuple[str, list[Row]]:
    """Page and rows of REPORT_ROWS: Tables 1-3 and B2-B4 beside the paper's, base against merged, Figure 2, controls."""
    differences, benchmarks = inputs.differences, inputs.benchmarks
    found = _index(inputs.summaries)
    sections = [_table_section(layout, found) for layout in _layouts(benchmarks)]
    sections += [
        _difference_section(differences),
        _application_section(found, differences, benchmarks),
        *_detail_sections(found, benchmarks),
    ]
    lead = (
        "Every number is printed with its 95% bootstrap interval over users (stories and scenarios in public benchmarks) and the "
        "number of answers. An invalid reply counts as wrong. Avg. is the unweighted mean of all columns, as in the paper. "
        f"Grey rows: {paper_numbers()['source']}; other questions about other people, so the two do not rank together."
    )
    if 0 < (fewest := min((s["n"] for s in inputs.summaries if s["control"] == "none"), default=0)) < FEW_ANSWERS:
        lead += (
            f" Some numbers here rest on {fewest} {'answer' if fewest == 1 else 'answers'}: an interval over so few users is too narrow "
            "to believe."
        )
    return render_page(f"Benchmarks, profile {inputs.context.profile}", lead, inputs.context, sections), benchmark_numbers(
        inputs.summaries, benchmarks
    )


def _table_section(layout: _Layout, found: _Found) -> Section:
    section = Section(layout.title, [layout.text] if layout.text else [])
    contestants = _contestants(found, layout)
    if not contestants:
        section.texts.append("Not run.")
    columns = [title for title, _ in _slots(layout)]
    rows = []
    for contestant in contestants:
        values = [_value(found, contestant, c) for _, c in _slots(layout)]
        average = _mean(values)
        cells = [*(_cell(v, layout.digits) for v in values), Cell("–" if average is None else f"{average:.{layout.digits}f}")]
        rows.append(TableRow(contestant, cells))
    if layout.paper_table:
        digits = 2 if layout.paper_table == "1" else 4
        for name in paper_numbers()["tables"][layout.paper_table]["rows"]:
            printed = [paper_value(layout.paper_table, name, c) for c in (*columns, "Avg.")]
            rows.append(TableRow(f"{name}, paper", [Cell("–" if v is None else f"{v:.{digits}f}") for v in printed], paper=True))
    if rows:
        section.tables.append(Table("", "Model", [*columns, "Avg."], rows))
    return section


def _difference_section(differences: Sequence[Difference]) -> Section:
    section = Section(
        "Merged against base model", ["Accuracy of the merged model minus accuracy of its base, on the same questions."]
    )
    if not differences:
        section.texts.append("Not run: no base model and merged model have answered the same benchmark.")
        return section
    names = {f"{d.merged} − {d.base}: {d.benchmark} ({d.distractor_set})": d.estimate for d in differences}
    rows = [TableRow(k, [Cell(f"{e.value:+.4f}", f"{e.low:+.4f} to {e.high:+.4f}"), Cell(_count(e.n))]) for k, e in names.items()]
    section.tables.append(Table("", "Comparison", ["Difference", "Answers"], rows))
    svg = plots.forest("Merged minus base", {k: (e.value, e.low, e.high) for k, e in names.items()}, "difference in accuracy")
    section.figures.append(Figure(svg, "Green: the interval is above zero; orange: below; grey: it holds zero."))
    return section


def _application_section(found: _Found, differences: Sequence[Difference], benchmarks: Mapping[str, Benchmark]) -> Section:
    section = Section("Figure 2: applications")
    pairs = list(dict.fromkeys((d.base, d.merged) for d in differences))
    contestants = list(dict.fromkeys(c for pair in pairs for c in pair)) or list(dict.fromkeys(k[1] for k in found))
    for name, app in APPLICATIONS.items():
        key = next((k for k, b in benchmarks.items() if b.kind == "application" and b.subset == name), None)
        groups = {
            m.replace("_", " "): {c: v for c in contestants if (v := found.get((key or "", c, "fixed", "none", m)))}
            for m in app.metrics
        }
        if any(groups.values()):
            bars: dict[str, dict[str, plots.Bar]] = {m: {c: v[:3] for c, v in g.items()} for m, g in groups.items()}
            svg = plots.bars(name.replace("_", " "), bars, "mean score, 1-10")
            section.figures.append(Figure(svg, f"{name.replace('_', ' ').capitalize()}: mean score with interval."))
    if not section.figures:
        section.texts.append("Not run.")
    return section


_DETAIL = {
    "accuracy": "Accuracy",
    "chance": "Chance",
    "popularity": "Most popular",
    "invalid_rate": "Invalid",
    "hit_at_1": "hit@1",
    "mrr": "MRR",
    "minus_options_only": "− options only",
    "minus_no_persona": "− no persona",
    "minus_other_persona": "− other persona",
}


def _detail_sections(found: _Found, benchmarks: Mapping[str, Benchmark]) -> list[Section]:
    text = (
        "A score says something about the person only by its distance from the controls: the options without the task, the task "
        "without the person, the task with somebody else in it. Ranks come from log-probabilities of the first token."
    )
    sections = []
    for benchmark in benchmarks:
        section, rows = Section(f"Controls, ranks and positions: {benchmark}", [text]), []
        groups: dict[str, dict[str, plots.Bar]] = {}
        places: dict[str, dict[str, plots.Bar]] = {}
        chance: dict[str, dict[str, float]] = {}
        for contestant, name in dict.fromkeys(k[1:3] for k in found if (k[0], *k[3:]) == (benchmark, "none", "accuracy")):
            label = f"{contestant} ({name})"
            values = {m: found.get((benchmark, contestant, name, "none", m)) for m in _DETAIL}
            rows.append(TableRow(label, [_cell(v, 3) for v in values.values()]))
            for control, title in _CONTROL_NAMES.items():
                if v := found.get((benchmark, contestant, name, control, "accuracy")):
                    groups.setdefault(label, {})[title] = v[:3]
            if v := values["chance"]:
                chance[label] = {"chance": v.value}
            for k, v in found.items():
                if k[:4] == (benchmark, contestant, name, "none") and k[4].startswith("accuracy_at_"):
                    places.setdefault(k[4].rpartition("_")[2], {})[label] = v[:3]
        if rows:
            section.tables.append(Table("", "Model (distractors)", list(_DETAIL.values()), rows))
            svg = plots.bars(f"{benchmark}, controls", groups, "accuracy", lines=chance)
            section.figures.append(Figure(svg, "The question and its controls."))
            by_place = {str(int(place) + 1): places[place] for place in sorted(places, key=int)}
            if by_place:
                svg = plots.bars(f"{benchmark}, positions", by_place, "accuracy")
                section.figures.append(Figure(svg, "Accuracy by place of the true option."))
            sections.append(section)
    return sections


_CONTROL_NAMES = {
    "none": "question",
    "options_only": "options only",
    "no_persona": "no persona",
    "other_persona": "other persona",
}


# ---- small pieces ----------------------------------------------------------------------------------------------------

_Found = dict[tuple[str, str, str, str, str], Estimate]


def _index(summaries: Iterable[Row]) -> _Found:
    names = ("benchmark", "contestant", "distractor_set", "control", "metric")
    return {tuple(s[k] for k in names): Estimate(s["value"], s["low"], s["high"], s["n"]) for s in summaries}  # type: ignore[misc]


def _value(found: _Found, contestant: str, column: _Column | None) -> Estimate | None:
    if column is None:
        return None
    v = found.get((column.benchmark, contestant, column.distractors, "none", column.metric))
    return v and Estimate(v.value * column.scale, v.low * column.scale, v.high * column.scale, v.n)


def _contestants(found: _Found, layout: _Layout) -> list[str]:
    return [c for c in dict.fromkeys(k[1] for k in found) if any(_value(found, c, column) for column in layout.columns)]


def _mean(values: Sequence[Estimate | None]) -> float | None:
    known = [v.value for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _cell(v: Estimate | None, digits: int) -> Cell:
    return Cell("–") if v is None else Cell(f"{v.value:.{digits}f}", f"{v.low:.{digits}f} to {v.high:.{digits}f}\nn {v.n:,}")


def _number(section: str, row: str, column: str, value: float | None, paper: float | None) -> Row:
    return {"section": section, "row": row, "column": column, "value": value, "paper": paper}


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _bar(value: float | None) -> plots.Bar:
    return None if value is None else (float(value), float(value), float(value))
