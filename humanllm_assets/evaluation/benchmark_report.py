"""The report of the benchmarks: Tables 1-3, B2-B4 and Figure 2 beside the paper's numbers (V6), and whatever else was scored.

Self-contained HTML: no script, no file, no address outside the page. `benchmark_numbers` gives the same numbers as rows, so that
the report is also a table. Each kind of benchmark contributes its tables and sections (`benchmarks/`); results without a table
get one of their own, so none is lost.

What belongs here: arranging numbers that others computed. What does not: computing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from humanllm_assets.evaluation.benchmarks import Kind, list_kinds, load_kind
from humanllm_assets.evaluation.estimates import Estimate
from humanllm_assets.evaluation.leaked import Leaks
from humanllm_assets.evaluation.paper import paper_numbers, paper_value, report_row, show_count
from humanllm_assets.evaluation.report_parts import Column, Layout, Pair, Results, SummaryKey
from humanllm_assets.pages import plots
from humanllm_assets.pages.page import Cell, Context, Figure, Section, Table, TableRow, render_page
from resources.profile import Benchmark

Row = dict[str, Any]
_Found = dict[SummaryKey, Estimate]
FEW_ANSWERS = 30  # below, a bootstrap over so few users says too little, and the report says so


@dataclass(frozen=True)
class Difference:
    """Accuracy of the merged model minus accuracy of its base, from `scoring.compare`."""

    base: str
    merged: str
    benchmark: str
    distractor_set: str
    estimate: Estimate


@dataclass(frozen=True)
class BenchmarkInputs:
    """summaries: rows of SUMMARY of all benchmarks and contestants. differences: merged models against their bases. benchmarks:
    the profile's; a table none of whose benchmarks has results says so. leaks: how many questions of each benchmark have a text
    that stands in the training data. unleaked: rows of SUMMARY without those questions, of benchmarks that have any.
    """

    summaries: Sequence[Row]
    differences: Sequence[Difference]
    benchmarks: Mapping[str, Benchmark]
    context: Context
    leaks: Mapping[str, Leaks] = field(default_factory=dict)
    unleaked: Sequence[Row] = ()


# ---- tables ----------------------------------------------------------------------------------------------------------


class _Slot(NamedTuple):
    """A printed column and where its numbers come from; None where nothing was run for it."""

    title: str
    column: Column | None


def _slots(layout: Layout) -> list[_Slot]:
    by_title = {c.title: c for c in reversed(layout.columns)}  # of several benchmarks for one column the first counts
    if not layout.paper_table:
        return [_Slot(c.title, c) for c in layout.columns]
    printed = paper_numbers()["tables"][layout.paper_table]["columns"]
    return [_Slot(c, by_title.get(c)) for c in printed if c not in ("Avg.", "Imp. (%)")]


def _layouts(found: _Found, benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """The tables of all kinds, then one for each benchmark with results that none of them shows."""
    by_title: dict[str, Layout] = {}
    for kind, own in _by_kind(benchmarks):
        for layout in kind.tables(own):
            known = by_title.get(layout.title)
            by_title[layout.title] = known._replace(columns=known.columns + layout.columns) if known else layout
    shown = {slot.column.benchmark for layout in by_title.values() for slot in _slots(layout) if slot.column}
    others = [_layout_of(found, name) for name in dict.fromkeys(k.benchmark for k in found) if name not in shown]
    return [*by_title.values(), *others]


def _by_kind(benchmarks: Mapping[str, Benchmark]) -> list[tuple[Kind, dict[str, Benchmark]]]:
    """Every kind with the benchmarks that are of it, in the order of the report."""
    return [(load_kind(name), {k: b for k, b in benchmarks.items() if b.kind == name}) for name in list_kinds()]


def _layout_of(found: _Found, benchmark: str) -> Layout:
    """All metrics of a benchmark whose kind draws no table of it."""
    metrics = dict.fromkeys((k.distractor_set, k.metric) for k in found if (k.benchmark, k.control) == (benchmark, "none"))
    several = len({name for name, _ in metrics}) > 1
    columns = [Column(f"{metric} ({name})" if several else metric, benchmark, metric, name) for name, metric in metrics]
    return Layout(f"Benchmark {benchmark}", "", columns, 4, "All its metrics; the paper has no such column.", average=False)


def benchmark_numbers(summaries: Iterable[Row], benchmarks: Mapping[str, Benchmark]) -> list[Row]:
    """Rows of REPORT_ROWS of all tables that have results; `paper` is filled for contestants that the paper has."""
    found = _index(summaries)
    rows = []
    for layout in _layouts(found, benchmarks):
        for contestant in _contestants(found, layout):
            printed = paper_numbers()["contestants"].get(contestant, "")
            values = {title: _value(found, contestant, c) for title, c in _slots(layout)}
            ours = {title: v and v.value for title, v in values.items()}
            if layout.average:
                ours["Avg."] = _mean(list(values.values()))
            for title, value in ours.items():
                paper = paper_value(layout.paper_table, printed, title) if layout.paper_table else None
                rows.append(report_row(layout.title, contestant, title, value, paper))
    return rows


def benchmark_report(inputs: BenchmarkInputs) -> tuple[str, list[Row]]:
    """Page and rows of REPORT_ROWS: Tables 1-3 and B2-B4 beside the paper's, base against merged, Figure 2, controls."""
    differences, benchmarks = inputs.differences, inputs.benchmarks
    found = _index(inputs.summaries)
    sections = [_table_section(layout, found) for layout in _layouts(found, benchmarks)]
    results = Results(found, list(dict.fromkeys(Pair(d.base, d.merged) for d in differences)))
    sections += [_difference_section(differences), _leak_section(inputs, found)]
    sections += [section for kind, own in _by_kind(benchmarks) for section in kind.sections(own, results)]
    sections += _detail_sections(found)
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
    numbers = benchmark_numbers(inputs.summaries, benchmarks)
    for row in benchmark_numbers(inputs.unleaked, benchmarks):
        numbers.append({**row, "section": f"{row['section']}, without questions that leak", "paper": None})
    return render_page(f"Benchmarks, profile {inputs.context.profile}", lead, inputs.context, sections), numbers


def _table_section(layout: Layout, found: _Found) -> Section:
    section = Section(layout.title, [layout.text] if layout.text else [])
    contestants = _contestants(found, layout)
    if not contestants:
        section.texts.append("Not run.")
    slots = _slots(layout)
    columns = [slot.title for slot in slots] + (["Avg."] if layout.average else [])
    rows = []
    for contestant in contestants:
        values = [_value(found, contestant, slot.column) for slot in slots]
        cells = [_cell(v, layout.digits) for v in values]
        if layout.average:
            cells.append(Cell(_show(_mean(values), layout.digits)))
        rows.append(TableRow(contestant, cells))
    if layout.paper_table:
        for name in paper_numbers()["tables"][layout.paper_table]["rows"]:
            printed = [paper_value(layout.paper_table, name, c) for c in columns]
            rows.append(TableRow(f"{name}, paper", [Cell(_show(v, layout.digits)) for v in printed], paper=True))
    if rows:
        section.tables.append(Table("", "Model", columns, rows))
    return section


def _difference_section(differences: Sequence[Difference]) -> Section:
    section = Section(
        "Merged against base model", ["Accuracy of the merged model minus accuracy of its base, on the same questions."]
    )
    if not differences:
        section.texts.append("Not run: no base model and merged model have answered the same benchmark.")
        return section
    names = {f"{d.merged} − {d.base}: {d.benchmark} ({d.distractor_set})": d.estimate for d in differences}
    rows = [
        TableRow(k, [Cell(f"{e.value:+.4f}", f"{e.low:+.4f} to {e.high:+.4f}"), Cell(show_count(e.n))]) for k, e in names.items()
    ]
    section.tables.append(Table("", "Comparison", ["Difference", "Answers"], rows))
    svg = plots.forest("Merged minus base", {k: (e.value, e.low, e.high) for k, e in names.items()}, "difference in accuracy")
    section.figures.append(Figure(svg, "Green: the interval is above zero; orange: below; grey: it holds zero."))
    return section


def _leak_section(inputs: BenchmarkInputs, found: _Found) -> Section:
    """Questions with a text that stands in the training data, and what the scores are without them."""
    leaking = {name: f"{n.leaking:,} of {n.questions:,} questions of {name}" for name, n in inputs.leaks.items() if n.leaking}
    section = Section("Without questions that leak", ["A question leaks when a text of it stands in the training data."])
    section.texts.append(f"{'; '.join(leaking.values())}." if leaking else "No question of these benchmarks leaks.")
    left = _index(inputs.unleaked)
    for layout in _layouts(left, inputs.benchmarks):
        rows = []
        for contestant in _contestants(left, layout):
            for title, column in _slots(layout):
                if column and column.benchmark in leaking:
                    values = (_value(found, contestant, column), _value(left, contestant, column))
                    rows.append(TableRow(f"{contestant}: {title}", [_cell(v, layout.digits) for v in values]))
        if rows:
            section.tables.append(Table(layout.title, "Model: column", ["All questions", "Without those that leak"], rows))
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


def _detail_sections(found: _Found) -> list[Section]:
    """Of every benchmark with right and wrong answers: controls, ranks and positions."""
    text = (
        "A score says something about the person only by its distance from the controls: the options without the task, the task "
        "without the person, the task with somebody else in it. Ranks come from log-probabilities of the first token."
    )
    sections = []
    for benchmark in dict.fromkeys(k.benchmark for k in found):
        section, rows = Section(f"Controls, ranks and positions: {benchmark}", [text]), []
        groups: dict[str, dict[str, plots.Bar]] = {}
        places: dict[str, dict[str, plots.Bar]] = {}
        chance: dict[str, dict[str, float]] = {}
        for contestant, name in dict.fromkeys(k[1:3] for k in found if (k[0], *k[3:]) == (benchmark, "none", "accuracy")):
            label = f"{contestant} ({name})"
            values = {m: found.get(SummaryKey(benchmark, contestant, name, "none", m)) for m in _DETAIL}
            rows.append(TableRow(label, [_cell(v, 3) for v in values.values()]))
            for control, title in _CONTROL_NAMES.items():
                if v := found.get(SummaryKey(benchmark, contestant, name, control, "accuracy")):
                    groups.setdefault(label, {})[title] = v[:3]
            if v := values["chance"]:
                chance[label] = {"chance": v.value}
            for k, v in found.items():
                if k[:4] == (benchmark, contestant, name, "none") and k.metric.startswith("accuracy_at_"):
                    places.setdefault(k.metric.rpartition("_")[2], {})[label] = v[:3]
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


def _index(summaries: Iterable[Row]) -> _Found:
    return {SummaryKey(*(s[k] for k in SummaryKey._fields)): Estimate(s["value"], s["low"], s["high"], s["n"]) for s in summaries}


def _value(found: _Found, contestant: str, column: Column | None) -> Estimate | None:
    if column is None:
        return None
    v = found.get(SummaryKey(column.benchmark, contestant, column.distractors, "none", column.metric))
    return v and Estimate(v.value * column.scale, v.low * column.scale, v.high * column.scale, v.n)


def _contestants(found: _Found, layout: Layout) -> list[str]:
    return [c for c in dict.fromkeys(k.contestant for k in found) if any(_value(found, c, column) for column in layout.columns)]


def _mean(values: Sequence[Estimate | None]) -> float | None:
    known = [v.value for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _cell(v: Estimate | None, digits: int) -> Cell:
    return Cell("–") if v is None else Cell(f"{v.value:.{digits}f}", f"{v.low:.{digits}f} to {v.high:.{digits}f}\nn {v.n:,}")


def _show(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
