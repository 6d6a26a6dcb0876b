"""Q5: alpha and correlations are the published ones, and no number stands where none is defined."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.pages.agreement_table import agreement_table
from humanllm_assets.quality.agreement import krippendorff_alpha, measure_agreement, spearman
from humanllm_assets.tables import AS_IN_PAPER, VERDICT
from resources.item_kinds import SCENARIO
from resources.thresholds import Qc

# The example of K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): four observers, twelve units; a dot is no value.
PUBLISHED = ("123321412...", "1233224125.3", ".3332342251.", "1233244125" + "1.")


def ratings(observers: tuple[str, ...]) -> list[dict[str, float]]:
    return [{str(who): float(v) for who, v in enumerate(unit) if v != "."} for unit in zip(*observers, strict=True)]


def test_alpha_is_the_published_one() -> None:
    assert krippendorff_alpha(ratings(PUBLISHED), "interval") == pytest.approx(0.849, abs=0.0005)
    assert krippendorff_alpha(ratings(PUBLISHED), "nominal") == pytest.approx(0.743, abs=0.0005)


def test_alpha_is_one_minus_observed_over_expected_disagreement() -> None:
    """Worked out by hand: of ten values two pairs differ by one, so 4/10 is observed; all ten against each other give 352/90."""
    assert krippendorff_alpha(ratings(("12345", "22445")), "interval") == pytest.approx(1 - (4 / 10) / (352 / 90))


def test_alpha_does_not_depend_on_who_is_named_first_or_in_which_order_items_come() -> None:
    found = krippendorff_alpha(ratings(PUBLISHED), "interval")
    assert krippendorff_alpha(ratings(PUBLISHED[::-1])[::-1], "interval") == pytest.approx(found)


@pytest.mark.parametrize(
    "observers",
    [("1234", "1234"), ("777777", "777777"), ("12345", "....."), ("123...", "...456"), ("", "")],
    ids=["few items", "no variation", "one annotator", "nothing in common", "nothing"],
)
def test_what_is_not_defined_is_no_number(observers: tuple[str, ...]) -> None:
    assert krippendorff_alpha(ratings(observers), "interval") is None


def test_ranks_correlate_with_ties_sharing_their_mean_rank() -> None:
    """By hand: ranks 1, 2.5, 2.5, 4, 5 against 1, 2, 3, 4, 5 give 9.5 / sqrt(9.5 * 10)."""
    assert spearman([(1, 10), (2, 20), (2, 30), (3, 40), (9, 50)]) == pytest.approx(9.5 / (9.5 * 10) ** 0.5)
    assert spearman([(n, -n) for n in range(6)]) == pytest.approx(-1)
    assert spearman([(n, 3) for n in range(9)]) is None and spearman([(1, 1), (2, 2)]) is None and spearman([]) is None


def scored(item: str, annotator: str, judge: int, kept: bool, **scores: int) -> list[dict[str, Any]]:
    base = {"item_id": item, "item_kind": "scenario", "annotator": annotator, "kept": kept}
    return [{**base, "metric": m, "score": s, "judge_score": None if m == "plausibility" else judge} for m, s in scores.items()]


def six_items() -> list[dict[str, Any]]:
    """Six scenarios, scored alike by two people; the judge keeps those that it gives 9."""
    rows = []
    for n in range(6):
        value = 10 if n % 2 else 4
        for who in ("ann", "bo"):
            scores = dict.fromkeys((*SCENARIO.metrics, "plausibility"), value)
            rows += scored(f"i{n}", who, 9 if n % 2 else 4, bool(n % 2), **scores)
    return rows


def by_measure(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    return {(r["metric"], r["measure"], r["annotator"]): r for r in rows}


def test_people_who_agree_with_each_other_and_the_judge() -> None:
    found = by_measure(measure_agreement(six_items(), Qc()))
    value = {key: row["value"] for key, row in found.items()}
    assert value["overall", "mean", None] == value["overall", "mean", "ann"] == 7 and value["overall", "mean_kept", None] == 10
    assert value["overall", "alpha", None] == value["overall", "judge_spearman", None] == pytest.approx(1)
    assert value["overall", "judge_mean", None] == 6.5
    assert value[VERDICT, "same_verdict", None] == value[VERDICT, "alpha", None] == 1
    assert (value[AS_IN_PAPER, "mean_kept", None], found[AS_IN_PAPER, "mean_kept", None]["n"]) == (5, 3)  # 10 of 1-10 is 5 of 1-5
    assert value[AS_IN_PAPER, "alpha", None] is None  # three items, all scored alike
    assert ("plausibility", "judge_mean", None) not in value and ("leakage", "mean", None) not in value


def test_an_item_without_all_of_the_judges_metrics_has_no_verdict() -> None:
    rows = [r for r in six_items() if (r["item_id"], r["metric"]) != ("i0", "novelty")]
    found = by_measure(measure_agreement(rows, Qc()))
    assert found[VERDICT, "same_verdict", None]["n"] == 5 and found["novelty", "mean", None]["n"] == 5


def test_people_who_say_the_opposite_of_the_judge() -> None:
    rows = [{**r, "kept": not r["kept"], "judge_score": r["judge_score"] and 13 - r["judge_score"]} for r in six_items()]
    found = by_measure(measure_agreement(rows, Qc()))
    assert found[VERDICT, "same_verdict", None]["value"] == 0 and found[VERDICT, "alpha", None]["value"] < 0
    assert found["overall", "judge_spearman", None]["value"] == pytest.approx(-1)


def test_nothing_scored_gives_no_row() -> None:
    assert measure_agreement([], Qc()) == []


def test_a_number_that_is_not_defined_is_shown_as_such() -> None:
    rows = [r for r in six_items() if r["annotator"] == "ann"]
    table = agreement_table(measure_agreement(rows, Qc()))
    shown = {row.name: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    assert shown["overall"]["alpha"].text == "not defined" and shown["overall"]["mean"] == ("7.00", "n 6")
    assert shown["plausibility"]["judge"].text == "–"
