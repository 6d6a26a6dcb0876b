"""How far people agree with each other and with the judge (Q5): plain functions over rows of HUMAN_SCORES.

A number that so few items or so little variation cannot carry is None and shown as "not defined", never 0 or 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from humanllm_assets.quality.human_sheet import PLAUSIBILITY, QUESTIONS
from humanllm_assets.quality.keeping import first_failing
from humanllm_assets.tables import AS_IN_PAPER, VERDICT
from resources.item_kinds import ITEM_KINDS, METRICS

if TYPE_CHECKING:
    from resources.thresholds import Qc

Row = dict[str, Any]
FEWEST_ITEMS = 5  # below, alpha and a correlation say nothing

MEASURES = {
    "mean": "mean of the items' means over annotators; of one annotator where one is named",
    "mean_kept": "the same over items that the judge keeps",
    "alpha": "Krippendorff's alpha between annotators, interval level; nominal between people and judge for the verdict",
    "judge_mean": "mean of the judge's scores of the same items",
    "judge_spearman": "rank correlation between the mean over annotators and the judge's score",
    "same_verdict": "share of items of which people and judge say the same",
}


def krippendorff_alpha(ratings: Iterable[Mapping[str, float]], level: Literal["interval", "nominal"]) -> float | None:
    """Krippendorff's alpha; None where fewer than FEWEST_ITEMS items have two ratings, or all of these are equal.

    Args:
        ratings: of each item, by rater; a rater who did not rate an item is not in its mapping.
    """
    import krippendorff
    import numpy as np

    paired = [r for r in ratings if len(r) > 1]
    raters = sorted({rater for r in paired for rater in r})
    if len(paired) < FEWEST_ITEMS or len({value for r in paired for value in r.values()}) < 2:
        return None
    table = np.array([[r.get(rater, np.nan) for r in paired] for rater in raters], dtype=float)
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement=level))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None with fewer than FEWEST_ITEMS pairs or without variation."""
    import numpy as np

    if len(pairs) < FEWEST_ITEMS or any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count - 1) / 2)[place]

    first, second = zip(*pairs, strict=True)
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def measure_agreement(scores: Sequence[Row], qc: Qc) -> list[Row]:
    """Rows of AGREEMENT, by metric in the order of the sheet, then the verdict and the paper's number; none without scores.

    A metric is scored by one annotator or more. `n` counts items: for alpha those with two scores or more.
    """
    out: list[Row] = []

    def add(metric: str, measure: str, value: float | None, n: int, annotator: str | None = None) -> None:
        out.append({"metric": metric, "measure": measure, "annotator": annotator, "value": value, "n": n})

    items: dict[str, Row] = {}  # what the judge says of each
    by_metric: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))  # metric, item, annotator
    for s in scores:
        items[s["item_id"]] = s
        by_metric[s["metric"]][s["item_id"]][s["annotator"]] = s["score"]
    judged = {(s["item_id"], s["metric"]): s["judge_score"] for s in scores if s["judge_score"] is not None}
    for metric in (m for m in QUESTIONS if m in by_metric):
        ratings = by_metric[metric]
        means = {item: fmean(r.values()) for item, r in ratings.items()}
        add(metric, "mean", fmean(means.values()), len(means))
        for annotator in sorted({a for r in ratings.values() for a in r}):
            own = [r[annotator] for r in ratings.values() if annotator in r]
            add(metric, "mean", fmean(own), len(own), annotator)
        kept = [mean for item, mean in means.items() if items[item]["kept"]]
        add(metric, "mean_kept", fmean(kept) if kept else None, len(kept))
        add(metric, "alpha", krippendorff_alpha(ratings.values(), "interval"), _count_paired(ratings.values()))
        if metric in METRICS:
            beside = [(mean, float(judged[item, metric])) for item, mean in means.items() if (item, metric) in judged]
            add(metric, "judge_mean", fmean(j for _, j in beside) if beside else None, len(beside))
            add(metric, "judge_spearman", spearman(beside), len(beside))
    if out:
        verdicts = _compare_verdicts(items, by_metric, qc)
        same = fmean(v["people"] == v["judge"] for v in verdicts) if verdicts else None
        add(VERDICT, "same_verdict", same, len(verdicts))
        add(VERDICT, "alpha", krippendorff_alpha(verdicts, "nominal"), len(verdicts))
        paper = _as_in_paper(items, by_metric)
        add(AS_IN_PAPER, "mean_kept", fmean(fmean(r.values()) for r in paper) if paper else None, len(paper))
        add(AS_IN_PAPER, "alpha", krippendorff_alpha(paper, "interval"), _count_paired(paper))
    return out


_ByMetric = Mapping[str, Mapping[str, Mapping[str, float]]]


def _count_paired(ratings: Iterable[Mapping[str, float]]) -> int:
    return sum(len(r) > 1 for r in ratings)


def _compare_verdicts(items: Mapping[str, Row], by_metric: _ByMetric, qc: Qc) -> list[dict[str, float]]:
    """1 for kept, 0 for dropped, by people and by the judge, of every item of which all of the judge's metrics were scored."""
    metrics_of = {kind.name: kind.metrics for kind in ITEM_KINDS}
    found = []
    for item, row in items.items():
        metrics = metrics_of[row["item_kind"]]
        if all(item in by_metric.get(m, {}) for m in metrics):
            means = {m: fmean(by_metric[m][item].values()) for m in metrics}
            found.append({"people": float(first_failing(means, qc) is None), "judge": float(row["kept"])})
    return found


def _as_in_paper(items: Mapping[str, Row], by_metric: _ByMetric) -> list[dict[str, float]]:
    """Of every kept item, by annotator: the mean of hallucination and plausibility, moved from 1-10 to 1-5."""
    grounded, plausible = by_metric.get("hallucination", {}), by_metric.get(PLAUSIBILITY, {})
    found = []
    for item in (i for i, row in items.items() if row["kept"]):
        both = grounded.get(item, {}).keys() & plausible.get(item, {}).keys()
        if both:
            found.append({a: 1 + (fmean((grounded[item][a], plausible[item][a])) - 1) * 4 / 9 for a in sorted(both)})
    return found
