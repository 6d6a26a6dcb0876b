"""Scores where two conditions meet: language and source, places, subsets, ranks, scores far below a threshold."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.evaluation import scoring as sc
from humanllm_assets.evaluation.differences import compare
from humanllm_assets.quality.keeping import first_failing
from humanllm_assets_tests.evaluation.test_scoring import item, reply
from resources.thresholds import Qc


@pytest.mark.parametrize(
    ("name", "source", "chinese"), [("fixed", "zh", True), ("fixed", "en", False), ("llm", "zh", False), ("llm", "reddit", False)]
)
def test_only_a_chinese_public_benchmark_is_asked_in_chinese(name: str, source: str, chinese: bool):
    (question,) = sc.choice_questions([item(1, name=name, source=source)])
    assert ("只回答" in question.request.messages[0][1]) == chinese


def summary(items: list[dict[str, Any]], texts: str, top: dict[int, tuple] | None = None) -> dict[str, float]:
    replies = [reply(i, t, (top or {}).get(n, ())) for n, (i, t) in enumerate(zip(items, texts, strict=True))]
    return {r["metric"]: r["value"] for r in sc.summarise_choices(items, sc.score_choices(replies, "base"))}


def test_accuracy_by_place_counts_the_questions_with_the_right_option_there_alone():
    items = [item(0, "A"), item(1, "B"), item(2, "B"), item(3, "C")]
    found = summary(items, "ABAA")
    assert [found[f"accuracy_at_{place}"] for place in range(3)] == [1.0, 0.5, 0.0]


def test_accuracy_by_subset_is_by_source_and_for_public_benchmarks_by_ability():
    own = [item(0, source="reddit"), item(1, source="reddit"), item(2, source="twitter"), item(3, source="amazon")]
    found = summary(own, "ABAB")
    assert {k: v for k, v in found.items() if ":" in k} == {
        "accuracy:reddit": 0.5, "accuracy:twitter": 1.0, "accuracy:amazon": 0.0
    }  # fmt: skip
    public = [item(n, name="fixed", source="en", task=task) for n, task in enumerate(("Belief", "Belief", "Desire"))]
    found = summary(public, "ABB")
    assert {k: v for k, v in found.items() if ":" in k} == {"accuracy:Belief": 0.5, "accuracy:Desire": 0.0}


def test_ranks_count_where_log_probabilities_came_and_a_label_that_is_not_among_them_counts_nothing():
    items = [item(0, "A"), item(1, "A"), item(2, "A"), item(3, "A")]
    top = {0: (("A", -1.0), ("B", -2.0)), 1: (("B", -1.0), ("A", -2.0)), 2: (("B", -1.0),)}
    found = summary(items, "AAAA", top)
    assert found["hit_at_1"] == 0.25 and found["mrr"] == pytest.approx((1 + 0.5) / 4)


def test_a_control_is_compared_with_its_own_questions_and_sets():
    items = [item(n, control=c, name=name) for name in ("human", "llm") for c in ("none", "options_only") for n in range(2)]
    replies = [reply(i, "A" if i["control"] == "none" and i["distractor_set"] == "llm" else "B") for i in items]
    rows = sc.summarise_choices(items, sc.score_choices(replies, "base"))
    assert {(r["distractor_set"], r["control"], r["value"]) for r in rows if r["metric"] == "minus_options_only"} == {
        ("human", "none", 0.0), ("llm", "none", 1.0)
    }  # fmt: skip
    base = list(sc.score_choices([reply(i, "B") for i in items], "base"))
    other = list(sc.score_choices(replies, "other"))
    assert {k: (e.value, e.n) for k, e in compare(base, other).items()} == {"human": (0.0, 2), "llm": (1.0, 2)}
    assert {k: e.value for k, e in compare(base, other, "options_only").items()} == {"human": 0.0, "llm": 0.0}


def test_popularity_is_a_metric_of_the_catalogue_alone():
    options = [{"label": x, "text": x, "origin": x, "popularity": n} for n, x in enumerate("ABCD")]
    assert "popularity" not in summary([item(0, options=options)], "A")
    assert summary([item(0, "D", name="catalogue", options=options)], "A")["popularity"] == 1.0


@pytest.mark.parametrize("low", range(1, 8))
def test_every_score_up_to_the_threshold_drops_an_item(low: int):
    qc = Qc(overall_above=8, metric_above=7)
    assert first_failing({"coverage": low, "overall": 9}, qc) == "coverage"
    assert first_failing({"coverage": 8, "overall": low + 1}, qc) == "overall"
