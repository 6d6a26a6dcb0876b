"""Laws of the reports (V6): the page shows the numbers it was given, names what it is, and refers to nothing outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from humanllm_assets.evaluation import benchmark_report as bp
from humanllm_assets.evaluation import funnel_report as rp
from humanllm_assets.evaluation.estimates import Estimate
from humanllm_assets.evaluation.paper import paper_numbers
from humanllm_assets.pages import plots
from humanllm_assets.quality.calibration import Interval, Rates
from resources.profile import Benchmark

CONTEXT = rp.Context(
    profile="tiny",
    engine="engine 1.2 at <two> servers",
    data="embedded sample, 4 sources",
    made_at="2026-01-02 03:04 UTC",
    models={"judge": "Some/Model at main"},
    notes=["A model this small can't judge."],
)
BENCHMARKS = {
    "items": Benchmark(kind="item_selection", task="item_selection"),
    "qa": Benchmark(kind="choice", task="social_qa"),
    "motive-amazon": Benchmark(kind="motivebench", folder="f", subset="Amazon"),
    "tom-en": Benchmark(kind="tombench", folder="f", subset="en"),
    "app-explainer": Benchmark(kind="application", subset="human_explainer"),
}


def summary(
    benchmark: str, contestant: str, metric: str, value: float, name: str = "llm", control: str = "none"
) -> dict[str, Any]:
    row = {"benchmark": benchmark, "contestant": contestant, "distractor_set": name, "control": control, "metric": metric}
    return {**row, "value": value, "low": value - 0.01, "high": value + 0.01, "n": 1234}


SUMMARIES = [
    row
    for contestant, shift in (("qwen2.5-7b", 0.0), ("qwen2.5-7b-humanllm", 0.1))
    for row in (
        summary("items", contestant, "accuracy", 0.1523 + shift, "catalogue"),
        summary("items", contestant, "accuracy", 0.05, "catalogue", "options_only"),
        summary("items", contestant, "chance", 0.05, "catalogue"),
        summary("items", contestant, "popularity", 0.21, "catalogue"),
        summary("items", contestant, "accuracy_at_0", 0.3, "catalogue"),
        summary("items", contestant, "accuracy_at_10", 0.2, "catalogue"),
        summary("qa", contestant, "accuracy", 0.1111 + shift),
        summary("qa", contestant, "accuracy", 0.2222 + shift, "human"),
        summary("motive-amazon", contestant, "accuracy", 0.7433, "fixed"),
        *(
            summary("tom-en", contestant, f"by_ability:{g}", 0.6, "fixed")
            for g in ("Emotion", "Desire", "Intention", "Knowledge", "Belief")
        ),
        summary("tom-en", contestant, "by_ability:Non-literal communication", 0.9, "fixed"),
        summary("app-explainer", contestant, "alignment", 7.63 + shift, "fixed"),
        summary("app-explainer", contestant, "contextual_relevance", 9.0 + shift, "fixed"),
        summary("app-explainer", contestant, "logical_consistency", 8.9 + shift, "fixed"),
    )
]
DIFFERENCE = bp.Difference("qwen2.5-7b", "qwen2.5-7b-humanllm", "items", "catalogue", Estimate(0.1, 0.07, 0.13, 1234))


@pytest.fixture(scope="module")
def benchmark_page():
    return bp.benchmark_report(bp.BenchmarkInputs(SUMMARIES, [DIFFERENCE], BENCHMARKS, CONTEXT))


HUMAN = [
    {"metric": "overall", "measure": "mean", "annotator": None, "value": 7.125, "n": 118},
    {"metric": "overall", "measure": "mean", "annotator": "ann <b>", "value": 7.5, "n": 117},
    {"metric": "overall", "measure": "alpha", "annotator": None, "value": None, "n": 3},
    {"metric": "as in the paper", "measure": "mean_kept", "annotator": None, "value": 4.333, "n": 60},
    {"metric": "as in the paper", "measure": "alpha", "annotator": None, "value": 0.512, "n": 59},
]


def figure(metric: str, measure: str, damage: str, value: float | None, required: bool = False) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.12, value + 0.08)
    row = {"metric": metric, "measure": measure, "damage": damage, "value": value, "low": low, "high": high, "n": 17}
    return {**row, "required": required}


JUDGES = [
    rp.JudgedKind(
        "persona",
        "judge not calibrated: AUC 0.52 (0.40-0.60) for coverage, at least 0.7 is wanted",
        [
            figure("overall", "auc", "any", 0.9, required=True),
            figure("coverage", "auc", "any", 0.5234, required=True),
            figure("overall", "auc", "filler", 0.8125),
            figure("overall", "repeat_agreement", "repeat", 0.75, required=True),
            figure("overall", "order_bias", "newest_first", None),
        ],
        judged=200,
        kept=120,
        rates=Rates(Interval(0.5, 0.3, 0.7, 20), Interval(0.5, 0.4, 0.6, 100)),
    ),
    rp.JudgedKind("qa", "judge calibrated", [], 100, 30, Rates(Interval(0.8, 0.7, 0.9, 40), Interval(0.9, 0.8, 1.0, 200))),
]


@pytest.fixture(scope="module")
def funnel_page():
    stages = [
        rp.Stage("reddit", "Raw Texts", 12345),
        rp.Stage("reddit", "After DF Texts", 678),
        rp.Stage("amazon", "Raw Texts", 1000),
        rp.Stage("amazon", "After DS Scenarios", None),
        rp.Stage("reddit_comments", "Raw Texts", 5),
    ]
    drops = [rp.Drop("filtering", "reddit", "too_short", 4321), rp.Drop("filtering", "amazon", "bad <b>", 2)]
    scores = [rp.ScoreCount("persona", "overall", s, s) for s in range(1, 11)]
    return rp.funnel_report(rp.FunnelInputs(stages, drops, scores, HUMAN, JUDGES, CONTEXT))


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object", "embed"):
            self.found.append(tag)
        self.found += [
            str(v) for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data") and not str(v).startswith("#")
        ]


@pytest.mark.parametrize("name", ["funnel_page", "benchmark_page"])
def test_pages_refer_to_nothing_outside_and_say_what_they_are(name: str, request: pytest.FixtureRequest):
    html, rows = request.getfixturevalue(name)
    parser = _References()
    parser.feed(html)
    assert parser.found == []
    assert "http" not in html and "@import" not in html and not re.search(r"url\((?!['\"]?#)", html)
    assert html.count("<svg") >= 2 and "prefers-color-scheme: dark" in html and "currentColor" in html
    for text in (
        "profile tiny",
        "engine 1.2 at &lt;two&gt; servers",
        "embedded sample",
        "Some/Model at main",
        "can&#39;t judge",
        "arXiv 2601.15793",
    ):
        assert text in html
    assert all(set(r) == {"section", "row", "column", "value", "paper"} for r in rows)


def test_pages_are_equal_on_rerun(benchmark_page):
    assert bp.benchmark_report(bp.BenchmarkInputs(SUMMARIES, [DIFFERENCE], BENCHMARKS, CONTEXT)) == benchmark_page


def test_funnel_shows_its_numbers_beside_the_papers(funnel_page):
    html, rows = funnel_page
    for number in ("12,345", "678", "47,200,000", "4,321", "13,345", "707,520,000"):
        assert number in html
    assert "bad &lt;b&gt;" in html
    found = {(r["row"], r["column"]): (r["value"], r["paper"]) for r in rows}
    assert found["Reddit", "Raw Texts"] == (12345, 47_200_000)
    assert found["Total", "Raw Texts"] == (13345, 707_520_000)  # without comments, which the paper's table lacks
    assert found["Amazon", "After DS Scenarios"] == (None, None) and found["Reddit comments", "Raw Texts"] == (5, None)


def test_the_human_check_stands_beside_the_papers_or_says_that_there_is_none(funnel_page):
    html, rows = funnel_page
    for shown in ("7.12", "n 118", "ann &lt;b&gt;", "not defined", "4.33", "4.65", "0.65", "n 120", "1-5"):
        assert shown in html, shown
    found = {(r["row"], r["column"]): (r["value"], r["paper"]) for r in rows if r["section"] == "Human check"}
    assert found["as in the paper", "mean_kept"] == (4.333, 4.65) and found["as in the paper", "alpha"] == (0.512, 0.65)
    assert found["overall", "mean of ann <b>"] == (7.5, None) and found["overall", "alpha"] == (None, None)
    none, numbers = rp.funnel_report(rp.FunnelInputs([], [], [], [], [], CONTEXT))
    assert "No human check yet: humanllm human-sample." in none and "4.65" not in none
    assert not [r for r in numbers if r["section"] == "Human check"]


def test_benchmark_tables_show_their_numbers_beside_the_papers(benchmark_page):
    html, rows = benchmark_page
    for number in ("15.23", "25.23", "11.11", "22.22", "0.7433", "7.7300", "+0.1000", "+0.0700 to +0.1300", "n 1,234", "33.16"):
        assert number in html
    found = {(r["section"][:8], r["row"], r["column"]): (r["value"], r["paper"]) for r in rows}
    assert found["Table 1:", "qwen2.5-7b", "Item Selection"] == (pytest.approx(15.23), 15.23)
    assert found["Table 1:", "qwen2.5-7b-humanllm", "Avg."] == (None, 27.38)  # three columns were not run
    assert found["Table 1,", "qwen2.5-7b", "Social QA"] == (pytest.approx(22.22), None)
    assert found["Table 1,", "qwen2.5-7b", "Avg."] == (pytest.approx(22.22), None)
    assert found["Table 2:", "qwen2.5-7b", "Amazon"] == (0.7433, 0.7433)
    assert found["Table 3:", "qwen2.5-7b", "Avg."] == (pytest.approx((0.6 * 5 + 0.9) / 6), 0.6195)
    assert found["Table B3", "qwen2.5-7b", "Alignment"] == (pytest.approx(7.63), 7.6300)


def test_numbers_from_a_few_answers_are_not_to_be_believed(benchmark_page):
    few = [{**s, "n": 3} if s["benchmark"] == "qa" else s for s in SUMMARIES]
    html, _ = bp.benchmark_report(bp.BenchmarkInputs(few, [DIFFERENCE], BENCHMARKS, CONTEXT))
    assert "rest on 3 answers" in html and "rest on" not in benchmark_page[0]


def test_a_legend_fits_its_figure():
    """Chromium cut off names at both ends: the legend was wider than the figure."""
    names = [f"smollm2-humanllm-seven ({n})" for n in range(4)]
    svg = plots.bars("t", {"1": dict.fromkeys(names, (0.5, 0.4, 0.6))}, "accuracy")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])  # type: ignore[index]
    starts = {n: re.search(rf' x="([-\d.]+)"[^>]*>{re.escape(n)}<', svg) for n in names}
    for name, start in starts.items():
        assert start and float(start[1]) > 0 and float(start[1]) + 4 * len(name) < width, name  # a letter is some 4.4 points wide


def test_tables_without_results_say_so(benchmark_page):
    html, _ = benchmark_page
    assert re.search(r"<h2>Table B2: profile generation</h2>\s*<p>[^<]*</p>\s*<p>Not run.</p>", html)
    nothing, rows = bp.benchmark_report(bp.BenchmarkInputs([], [], {}, CONTEXT))
    assert rows == [] and nothing.count("Not run") >= 8


def test_paper_numbers_are_consistent():
    printed = paper_numbers()
    assert set(printed["tables"]) == {"A1", "1", "2", "3", "B2", "B3", "B4"}
    for name, table in printed["tables"].items():
        assert all(len(row) == len(table["columns"]) for row in table["rows"].values())
        if name == "A1":
            assert table["columns"] == list(rp.FUNNEL_COLUMNS)
            continue
        for model, row in table["rows"].items():
            columns = [v for c, v in zip(table["columns"], row, strict=True) if c not in ("Avg.", "Imp. (%)")]
            tolerance = {"1": 0.011}.get(name, 0.002 if model == "Qwen2.5-3B-Instruct" and name == "2" else 0.00011)
            assert sum(columns) / len(columns) == pytest.approx(row[table["columns"].index("Avg.")], abs=tolerance), (name, model)
    assert set(printed["contestants"].values()) == set(printed["tables"]["1"]["rows"])


def test_the_judge_stands_beside_every_number_that_it_decided(funnel_page):
    html, rows = funnel_page
    said = "persona: judge not calibrated: AUC 0.52 (0.40-0.60) for coverage, at least 0.7 is wanted."
    assert html.count(said) == 3, "in its own section, at its scores, at the counts after quality control"
    assert "qa: judge" not in html
    section = html[html.index("<h2>The judge</h2>") : html.index("<h2>Scores of the judge</h2>")]
    for text in (
        "<td>0.52<small>0.40 to 0.60, 17</small>",
        "0.81",
        "not defined",
        "arXiv 2511.21140",
        "0.60",
        "sentences that say",
    ):
        assert text in section
    found = {(r["row"], r["column"]): r["value"] for r in rows if r["section"] == "The judge"}
    assert found["persona", "AUC"] == 0.5234 and found["persona", "Kept share, raw"] == 0.6
    assert found["persona", "Kept share, corrected"] is None and found["persona", "Order bias, points"] is None
    assert found["qa", "Kept share, corrected"] == pytest.approx((0.3 - 0.1) / 0.7)


def test_scores_of_a_judge_that_was_never_measured_say_so(benchmark_page):
    html, _ = benchmark_page
    assert html.count("Judge not calibrated: the one of contestants") >= 2


def test_scores_stand_beside_those_without_questions_that_leak():
    left = [{**row, "value": row["value"] - 0.05, "n": 900} for row in SUMMARIES if row["benchmark"] == "items"]
    inputs = bp.BenchmarkInputs(SUMMARIES, [], BENCHMARKS, CONTEXT, {"items": bp.Leaks(3, 12), "qa": bp.Leaks(0, 9)}, left)
    html, rows = bp.benchmark_report(inputs)
    assert "3 of 12 questions of items." in html and "of qa" not in html
    part = html[html.index("Without questions that leak") :]
    assert "15.23" in part and "10.23" in part
    title = "Table 1: in-domain, distractors written by models, without questions that leak"
    beside = {r["row"]: r["value"] for r in rows if r["section"] == title and r["column"] == "Item Selection"}
    assert beside == {"qwen2.5-7b": pytest.approx(10.23), "qwen2.5-7b-humanllm": pytest.approx(20.23)}


def test_a_page_says_when_no_question_leaks(benchmark_page: tuple[str, list[dict[str, Any]]]):
    assert "No question of these benchmarks leaks." in benchmark_page[0]
