"""How good a judge is, from its scores of originals and damaged copies, and what that makes of its numbers.

Plain functions over rows of the table `scores` of `judge_calibration`. The judge's scores are whole numbers from 1 to 10, higher is
better; a good judge scores an original above its damaged copy, says the same twice, and does not care for order or length.

What belongs here: statistics. What does not: making copies (`damage.py`), asking the judge (`copies.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from humanllm_assets.quality.damage import DAMAGES, noticing
from humanllm_assets.quality.keeping import first_failing

if TYPE_CHECKING:
    from resources.thresholds import Calibration, Qc

Row = Mapping[str, Any]
Z = 1.959964  # of a 95% interval
ORIGINAL, REPEAT, NEWEST_FIRST = "none", "repeat", "newest_first"  # what is no damage
ANY = "any"  # all kinds of damage together that a metric is there to notice
_SAME = 1  # points between two scores of one item that count as the same answer
_LONGER = "verbosity"


class Interval(NamedTuple):
    """A number with its 95% interval; n = items behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


# ---- single numbers --------------------------------------------------------------------------------------------------


def auc(originals: Sequence[float], copies: Sequence[float], items: int | None = None) -> Interval | None:
    """How often an original scores above a damaged copy, ties counting half (Mann-Whitney): 1 perfect, 0.5 blind, 0 inverted.

    The interval is Newcombe's (2006, method 5): Hanley and McNeil's variance at the interval's own ends, so that it has a width
    even where the judge is perfect.

    Args:
        items: how many different items the copies were made of, when some were made of the same one: copies of one item say little
            more than one of them, so the interval counts items.

    Returns:
        None without an original or without a copy.
    """
    if not originals or not copies:
        return None
    wins = sum((a > b) + (a == b) / 2 for a in originals for b in copies)
    value = wins / (len(originals) * len(copies))
    m, n = len(originals), items or len(copies)

    def too_far(theta: float) -> bool:
        spare = (m + n) / 2 - 1
        variance = theta * (1 - theta) * (1 + spare * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (m * n)
        return abs(theta - value) > Z * math.sqrt(variance)

    return Interval(value, _edge(value, 0.0, too_far), _edge(value, 1.0, too_far), n)


def _edge(inside: float, outside: float, too_far: Any) -> float:
    """Where, between a point of an interval and the end of the scale, the interval ends."""
    inside = min(max(inside, 1e-9), 1 - 1e-9)  # at the very end of the scale the variance is 0
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
    return round(outside, 9)


def share(hits: int, n: int) -> Interval | None:
    """A share with Wilson's interval; None of nothing."""
    if not n:
        return None
    p, spread = hits / n, Z * Z / n
    middle, half = (p + spread / 2) / (1 + spread), Z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half), n)


def mean(values: Sequence[float]) -> Interval | None:
    """A mean with its normal interval; of a single value the interval is the value. None of nothing."""
    if not values:
        return None
    n = len(values)
    value = sum(values) / n
    half = Z * math.sqrt(sum((v - value) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0
    return Interval(value, value - half, value + half, n)


def correlation(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    """Pearson's correlation with Fisher's interval; None where one side does not vary."""
    n = len(pairs)
    mx, my = (sum(p[i] for p in pairs) / n for i in (0, 1)) if n else (0.0, 0.0)
    xx, yy = sum((x - mx) ** 2 for x, _ in pairs), sum((y - my) ** 2 for _, y in pairs)
    if xx == 0 or yy == 0:
        return None
    r = max(-1.0, min(1.0, sum((x - mx) * (y - my) for x, y in pairs) / math.sqrt(xx * yy)))
    if n < 4:  # Fisher's interval needs more
        return Interval(r, -1.0, 1.0, n)
    at = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r)))
    return Interval(r, math.tanh(at - Z / math.sqrt(n - 3)), math.tanh(at + Z / math.sqrt(n - 3)), n)


# ---- the judge as a test that items pass -----------------------------------------------------------------------------


class Rates(NamedTuple):
    """A judge as a test: `sensitivity`, the share of good items that it keeps; `specificity`, the share of bad ones that it drops."""

    sensitivity: Interval
    specificity: Interval


def rates(scores: Iterable[Row], qc: Qc) -> Rates | None:
    """Sensitivity and specificity of the judge of one item kind at the profile's thresholds (Q3).

    Originals stand for good items and damaged copies for bad ones. An original that is bad by itself is counted against the judge's
    sensitivity. Copies that are only longer are no bad items for most metrics, and are left out.

    Returns:
        None when nothing was answered.
    """
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for (damage, _), values in _by_copy(scores).items():
        if damage == ORIGINAL or (damage in DAMAGES and damage != _LONGER):
            kept[damage == ORIGINAL].append(first_failing(values, qc) is None)
    sensitivity = share(sum(kept[True]), len(kept[True]))
    specificity = share(sum(not k for k in kept[False]), len(kept[False]))
    return Rates(sensitivity, specificity) if sensitivity and specificity else None


def correct_rate(passed: int, judged: int, found: Rates | None) -> Interval | None:
    """The share of good items that a judge's share of kept ones stands for, with its interval, both within 0 and 1.

    The estimator of Rogan and Gladen with the interval of Lang and Reiczigel, as "How to Correctly Report LLM-as-a-Judge
    Evaluations" (arXiv 2511.21140) puts them together: (p + q0 - 1) / (q0 + q1 - 1) for the raw share p, specificity q0 and
    sensitivity q1; the interval holds the uncertainty of all three.

    Returns:
        None, "not defined", when the judge is no better than a coin (q0 + q1 <= 1), was not measured, or judged nothing.
    """
    if not judged or found is None:
        return None
    q1, q0 = found.sensitivity, found.specificity
    if q0.value + q1.value <= 1:
        return None
    p = passed / judged
    value = _clip((p + q0.value - 1) / (q0.value + q1.value - 1))
    n, m0, m1 = judged + Z * Z, q0.n + 2, q1.n + 2
    p = (passed + Z * Z / 2) / n
    s0, s1 = (q0.value * q0.n + 1) / m0, (q1.value * q1.n + 1) / m1
    if s0 + s1 <= 1:  # so few copies that the interval knows nothing
        return Interval(value, 0.0, 1.0, judged)
    theta = (p + s0 - 1) / (s0 + s1 - 1)
    v0, v1 = s0 * (1 - s0) / m0, s1 * (1 - s1) / m1
    shift = 2 * Z * Z * (theta * v1 - (1 - theta) * v0)
    half = Z * math.sqrt(p * (1 - p) / n + theta**2 * v1 + (1 - theta) ** 2 * v0) / (s0 + s1 - 1)
    return Interval(value, min(value, _clip(theta + shift - half)), max(value, _clip(theta + shift + half)), judged)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


# ---- the table -------------------------------------------------------------------------------------------------------


def measure_judge(scores: Iterable[Row], metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of CALIBRATION_FIGURES for the judge of one item kind.

    Args:
        scores: rows of CALIBRATION_SCORES.
        metrics: that apply to the kind (Q2). Each gets an AUC for every kind of damage, one for all together that it is there to
            notice, the agreement of the repeat, and what order and length do to it.
    """
    rows: list[dict[str, Any]] = []
    by_metric: dict[str, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))  # metric, damage, item
    for row in scores:
        by_metric[row["metric"]][row["damage"]][row["item_id"]] = row
    for metric in metrics:
        found = by_metric[metric]
        first = found[ORIGINAL]
        originals = [r["score"] for r in first.values()]

        def add(measure: str, damage: str, found: Interval | None, metric: str = metric, required: bool = False) -> None:
            value, low, high, n = found or (None, None, None, 0)
            row = {"figure_id": f"{metric} {measure} {damage}", "metric": metric, "damage": damage, "measure": measure}
            rows.append({**row, "value": value, "low": low, "high": high, "n": n, "required": required})

        for damage in (d for d in DAMAGES if found[d]):
            add("auc", damage, auc(originals, [r["score"] for r in found[damage].values()]))
        wanted = [d for d in DAMAGES if metric in noticing(d, metrics)]
        if wanted:
            pooled = [r for d in wanted for r in found[d].values()]
            together = auc(originals, [r["score"] for r in pooled], len({r["item_id"] for r in pooled}))
            add("auc", ANY, together, required=True)
        repeats = [(first[i]["score"], r["score"]) for i, r in found[REPEAT].items() if i in first]
        agreement = share(sum(abs(a - b) <= _SAME for a, b in repeats), len(repeats))
        add("repeat_agreement", REPEAT, agreement, required=True)
        turned = [r["score"] - first[i]["score"] for i, r in found[NEWEST_FIRST].items() if i in first]
        add("order_bias", NEWEST_FIRST, mean(turned))
        longer = [(first[i], r) for i, r in found[_LONGER].items() if i in first]
        add("length_bias", _LONGER, correlation(_deviations(longer)))
    return rows


def _deviations(pairs: Iterable[tuple[Row, Row]]) -> list[tuple[float, float]]:
    """Length (logarithm) and score of both members of each pair, as differences from the pair's mean: quality is equal inside it."""
    found = []
    for pair in pairs:
        sizes, scores = [math.log(max(1, r["n_chars"])) for r in pair], [r["score"] for r in pair]
        found += [(sizes[i] - sum(sizes) / 2, scores[i] - sum(scores) / 2) for i in (0, 1)]
    return found


def _by_copy(scores: Iterable[Row]) -> dict[tuple[str, str], dict[str, int]]:
    """Scores by metric of every copy, in the order of the metrics; the copies by damage and item."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in scores:
        found[row["damage"], row["item_id"]][row["metric"]] = row["score"]
    return found


# ---- the verdict -----------------------------------------------------------------------------------------------------

CALIBRATED = "judge calibrated"
NEVER_MEASURED = "judge not calibrated: it was never measured"
_LEAST = {"auc": ("AUC", "min_auc"), "repeat_agreement": ("agreement on repeat", "min_repeat_agreement")}


def describe_judge(figures: Iterable[Row], calibration: Calibration) -> str:
    """CALIBRATED when every required figure reaches what the profile wants, else why not: the worst figure with its interval."""
    required = [f for f in figures if f["required"]]
    if not required or all(f["value"] is None for f in required):
        return NEVER_MEASURED
    if missing := [f["metric"] for f in required if f["value"] is None]:
        return f"judge not calibrated: no valid scores of {', '.join(dict.fromkeys(missing))}"
    short = [(f["value"] - getattr(calibration, _LEAST[f["measure"]][1]), f) for f in required]
    gap, worst = min(short, key=lambda pair: pair[0])
    if gap >= 0:
        return CALIBRATED
    name, field = _LEAST[worst["measure"]]
    found = Interval(worst["value"], worst["low"], worst["high"], worst["n"])
    return f"judge not calibrated: {name} {found} for {worst['metric']}, at least {getattr(calibration, field):g} is wanted"
