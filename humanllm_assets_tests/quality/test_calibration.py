"""Laws of the numbers by which a judge is measured."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from humanllm_assets.quality.calibration import (
    CALIBRATED,
    NEVER_MEASURED,
    Interval,
    Rates,
    auc,
    correct_rate,
    correlation,
    describe_judge,
    mean,
    measure_judge,
    rates,
    share,
)
from humanllm_assets.quality.damage import DAMAGES
from humanllm_assets.quality.keeping import KeptShares
from resources.item_kinds import PERSONA, STYLE
from resources.thresholds import Calibration, Qc


def test_auc_of_a_perfect_a_blind_and_an_inverted_judge() -> None:
    good, bad = [9, 9, 10, 8], [3, 4, 7, 1]
    assert auc(good, bad) == (1.0, pytest.approx(0.45, abs=0.15), 1.0, 4)
    assert auc(bad, good).value == 0.0  # type: ignore[union-attr]
    assert auc([5] * 6, [5] * 6).value == 0.5  # type: ignore[union-attr]
    assert auc(good, []) is None and auc([], bad) is None


def test_auc_is_the_share_of_pairs_and_its_interval_holds_it() -> None:
    draw = Random(1)
    for _ in range(100):
        a, b = ([draw.randint(1, 10) for _ in range(draw.randint(1, 12))] for _ in (0, 1))
        found = auc(a, b)
        assert found is not None
        assert found.value == pytest.approx(sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b) / len(a) / len(b))
        assert 0 <= found.low <= found.value + 1e-9 and found.value - 1e-9 <= found.high <= 1
        assert found.low < found.high, "even a perfect judge is not known for sure"


def test_the_interval_of_an_auc_narrows_with_items_and_holds_the_true_one() -> None:
    widths = [found.high - found.low for n in (2, 10, 50, 200) if (found := auc([9] * n, [3] * n))]
    assert all(later < earlier for earlier, later in pairwise(widths))
    draw, held = Random(2), 0
    for _ in range(200):  # P(A > B) + P(A = B) / 2 of dice with ten sides, one of which has 2 points more
        a, b = [draw.randint(1, 10) + 2 for _ in range(40)], [draw.randint(1, 10) for _ in range(40)]
        found = auc(a, b)
        held += found is not None and found.low <= 0.68 <= found.high
    assert held >= 180
    several, one = auc([9] * 10, [3] * 60, items=10), auc([9] * 10, [3] * 10)
    assert several == one, "copies of one item say no more than one of them"


def test_the_corrected_rate_holds_the_planted_one() -> None:
    draw = Random(3)
    held = inside = 0
    for _ in range(200):
        truth, sensitivity, specificity = draw.uniform(0.05, 0.95), draw.uniform(0.7, 0.98), draw.uniform(0.6, 0.98)

        def flips(n: int, chance: float) -> int:
            return sum(draw.random() < chance for _ in range(n))

        good = flips(500, truth)
        passed = flips(good, sensitivity) + flips(500 - good, 1 - specificity)
        q1, q0 = share(flips(40, sensitivity), 40), share(flips(240, specificity), 240)
        assert q1 and q0
        found = correct_rate(passed, 500, Rates(q1, q0))
        assert found is not None and 0 <= found.low <= found.value <= found.high <= 1
        held += found.low <= truth <= found.high
        inside += found.low <= passed / 500 <= found.high
    assert held >= 180, "in at least 90 of 100"
    assert inside < held, "the raw rate is off where the corrected one is not"


def test_the_corrected_rate_of_a_perfect_judge_is_the_raw_one() -> None:
    perfect = Rates(Interval(1.0, 1.0, 1.0, 10**6), Interval(1.0, 1.0, 1.0, 10**6))
    found = correct_rate(300, 1000, perfect)
    assert found is not None and found.value == pytest.approx(0.3) and found.high - found.low < 0.06


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3), (1.0, 0.0)])
def test_a_judge_no_better_than_a_coin_corrects_nothing(sensitivity: float, specificity: float) -> None:
    found = Rates(Interval(sensitivity, 0, 1, 50), Interval(specificity, 0, 1, 50))
    assert correct_rate(10, 20, found) is None
    assert correct_rate(10, 20, None) is None and correct_rate(0, 0, Rates(Interval(1, 1, 1, 9), Interval(1, 1, 1, 9))) is None


def test_the_corrected_rate_stays_a_share() -> None:
    found = Rates(Interval(0.9, 0, 1, 40), Interval(0.9, 0, 1, 40))
    assert correct_rate(0, 30, found)[:2] == (0.0, 0.0)  # type: ignore[index]
    assert correct_rate(30, 30, found)[0] == 1.0  # type: ignore[index]


def test_shares_means_and_correlations() -> None:
    assert share(0, 0) is None and mean([]) is None and correlation([]) is None and correlation([(1, 2), (1, 3)]) is None
    assert share(8, 10) == (0.8, pytest.approx(0.49, abs=0.01), pytest.approx(0.943, abs=0.01), 10)
    assert mean([1, 2, 3]) == (2.0, pytest.approx(0.87, abs=0.01), pytest.approx(3.13, abs=0.01), 3)
    assert correlation([(i, -2.0 * i) for i in range(6)]) == (
        pytest.approx(-1),
        pytest.approx(-1),
        pytest.approx(-1, abs=1e-3),
        6,
    )


# ---- the table -------------------------------------------------------------------------------------------------------


def scored(judge: Any, metrics: tuple[str, ...] = PERSONA.metrics, items: int = 10) -> list[dict[str, Any]]:
    """Rows of CALIBRATION_SCORES by a scripted judge of (damage, metric, item number)."""
    damages = ["none", "repeat", "newest_first", *(d for d in DAMAGES if d not in ("pasted_answer", "flipped_answer"))]
    return [
        {"item_id": f"i{i}", "damage": d, "metric": m, "score": judge(d, m, i), "n_chars": 200 if d == "verbosity" else 100}
        for i in range(items)
        for d in damages
        for m in metrics
    ]


def figures(rows: list[dict[str, Any]], metrics: tuple[str, ...] = PERSONA.metrics) -> dict[str, Any]:
    return {f["figure_id"]: f["value"] for f in measure_judge(rows, metrics)}


SOUND = ("none", "repeat", "newest_first")


def perfect(damage: str, metric: str, item: int) -> int:
    return 9 if damage in SOUND or metric not in DAMAGES[damage].noticed_by else 2


@pytest.mark.parametrize(
    ("judge", "wanted"),
    [(perfect, 1.0), (lambda d, m, i: 5, 0.5), (lambda d, m, i: 11 - perfect(d, m, i), 0.0)],
    ids=["perfect", "blind", "inverted"],
)
def test_a_scripted_judge_gets_the_auc_that_it_deserves(judge: Any, wanted: float) -> None:
    found = figures(scored(judge))
    assert {m for m in PERSONA.metrics if f"{m} auc any" in found} == set(PERSONA.metrics) - {"novelty"}
    for metric in set(PERSONA.metrics) - {"novelty"}:
        assert found[f"{metric} auc any"] == wanted
    assert found["conciseness auc filler"] == found["conciseness auc verbosity"] == wanted
    assert found["conciseness auc truncation"] == 0.5, "a metric need not notice what it does not ask about"


def test_the_repeat_counts_within_a_point() -> None:
    found = figures(scored(lambda d, m, i: 9 - (d == "repeat") * (i % 4)))
    assert found["overall repeat_agreement repeat"] == 0.6


def test_order_and_length_leave_a_good_judge_alone_and_show_in_a_bad_one() -> None:
    assert figures(scored(perfect))["overall order_bias newest_first"] == 0
    turned = figures(scored(lambda d, m, i: 5 + 2 * (d == "newest_first")))
    assert turned["overall order_bias newest_first"] == 2
    assert figures(scored(perfect))["overall length_bias verbosity"] is None  # nothing varies
    assert figures(scored(lambda d, m, i: 5 + (d == "verbosity")))["overall length_bias verbosity"] == pytest.approx(1)
    assert figures(scored(perfect))["conciseness length_bias verbosity"] == pytest.approx(-1)


def test_what_was_not_answered_is_no_number() -> None:
    rows = [r for r in scored(perfect) if r["metric"] != "overall" and r["damage"] != "repeat"]
    found = {f["figure_id"]: f for f in measure_judge(rows, PERSONA.metrics)}
    assert found["overall auc any"]["value"] is None and found["overall auc any"]["required"]
    assert found["coverage repeat_agreement repeat"]["n"] == 0


def test_sensitivity_and_specificity_at_the_profiles_thresholds() -> None:
    found = rates(scored(perfect), Qc())
    assert found is not None and found.sensitivity.value == found.specificity.value == 1.0
    assert found.specificity.n == 50, "longer copies are no bad items"
    lenient = rates(scored(perfect), Qc(overall_above=1, metric_above=0))
    assert lenient is not None and (lenient.sensitivity.value, lenient.specificity.value) == (1.0, 0.0)
    assert rates([], Qc()) is None


# ---- the verdict -----------------------------------------------------------------------------------------------------


def test_a_judge_is_calibrated_when_every_required_figure_is_reached() -> None:
    def says(judge: Any, **least: float) -> str:
        return describe_judge(measure_judge(scored(judge), PERSONA.metrics), Calibration(**least))

    assert says(perfect) == CALIBRATED
    blind = says(lambda d, m, i: 5)
    assert blind.startswith("judge not calibrated: AUC 0.50 (0.27-0.73) for ") and blind.endswith(", at least 0.7 is wanted")
    assert says(lambda d, m, i: 5, min_auc=0.5) == CALIBRATED
    forgetful = says(lambda d, m, i: 1 if d == "repeat" else perfect(d, m, i))
    assert forgetful.startswith("judge not calibrated: agreement on repeat 0.00 (0.00-0.28) for ")
    one_bad = says(lambda d, m, i: 5 if m == "relevance" else perfect(d, m, i))
    assert "for relevance" in one_bad
    assert describe_judge([], Calibration()) == describe_judge(measure_judge([], STYLE.metrics), Calibration()) == NEVER_MEASURED
    partly = [r for r in scored(perfect) if r["metric"] != "coverage"]
    assert describe_judge(measure_judge(partly, PERSONA.metrics), Calibration()).endswith("no valid scores of coverage")


# ---- kept shares -----------------------------------------------------------------------------------------------------


def test_kept_shares_and_their_distance_from_the_band() -> None:
    shares = KeptShares()
    rows = [("persona", "u1", True), ("profile", "u1", True), ("persona", "u2", True), ("profile", "u2", False)]
    rows += [("stories", "u2", False), ("scenario", "u1", True), ("scenario", "u2", False), ("scenario", "u3", False)]
    shares.add([{"item_kind": k, "user_id": u, "kept": kept} for k, u, kept in rows])
    found = shares.measures({"users": (0.4, 0.6), "scenario": (0.5, 0.7), "qa": (0.5, 0.7)})
    assert found == {
        "kept_users": 0.5,
        "kept_scenario": pytest.approx(1 / 3),
        "users_outside_band": 0.0,
        "scenario_outside_band": pytest.approx(0.166667, abs=1e-6),
        "qa_outside_band": 0.0,
    }
    assert shares.measures({"users": (0.1, 0.2)})["users_outside_band"] == pytest.approx(0.3)
    assert set(KeptShares().measures({}).values()) == {0.0}


def test_the_default_bands_hold_the_papers_shares() -> None:
    from humanllm_assets.evaluation.paper import paper_value

    columns = {"users": "Users", "scenario": "Scenarios", "qa": "Social QA"}
    for source, bands in Qc().kept_bands.items():
        for kind, (low, high) in bands.items():
            before, after = (paper_value("A1", source.title(), f"After {stage} {columns[kind]}") for stage in ("DS", "QC"))
            assert before and after and low + 0.08 < after / before < high - 0.08
    assert all(set(b) == {"users", "scenario", "qa"} for s, b in Qc().kept_bands.items() if s != "amazon")
