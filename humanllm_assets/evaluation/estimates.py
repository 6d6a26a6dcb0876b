"""Means with bootstrap intervals over users (or scenarios and stories), and rows of SUMMARY made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Row = dict[str, Any]
DRAWS = 1000


class Estimate(NamedTuple):
    """A mean with its 95% bootstrap interval; n = answers behind it."""

    value: float
    low: float
    high: float
    n: int


Clustered = Iterable[tuple[str, float]]  # (user, value)


def estimate(values: Clustered, seed: int = 0) -> Estimate | None:
    """Mean over answers, interval by resampling users with all their answers; None without answers."""
    return bootstrap({"": list(values)}, lambda means: means[""], seed)


def average(groups: Mapping[str, Clustered], seed: int = 0) -> Estimate | None:
    """Unweighted mean of the groups' means, as in the paper's Avg. columns, with an interval over users."""
    return bootstrap({k: list(v) for k, v in groups.items()}, lambda means: sum(means.values()) / len(means), seed)


def bootstrap(
    groups: dict[str, list[tuple[str, float]]], statistic: Callable[[dict[str, Any]], Any], seed: int
) -> Estimate | None:
    """A statistic of the groups' means, with its 95% interval from DRAWS resamples of the users.

    Args:
        groups: (user, value) pairs by name of the group; empty groups are left out. A user is drawn with all answers of all groups.
        statistic: from the groups' means to one number.
        seed: of the draws.

    Returns:
        None without any answer; with a single user the interval is the point.
    """
    import numpy as np

    groups = {k: v for k, v in groups.items() if v}
    if not groups:
        return None
    users = sorted({u for v in groups.values() for u, _ in v})
    index = {u: i for i, u in enumerate(users)}
    sums, counts = {}, {}
    for name, values in groups.items():
        at = [index[u] for u, _ in values]
        sums[name] = np.bincount(at, weights=[x for _, x in values], minlength=len(users))
        counts[name] = np.bincount(at, minlength=len(users)).astype(float)
    point = statistic({k: sums[k].sum() / counts[k].sum() for k in groups})
    n = sum(map(len, groups.values()))
    if len(users) == 1:
        return Estimate(float(point), float(point), float(point), n)
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        weight = np.bincount(random.integers(0, len(users), len(users)), minlength=len(users))
        drawn = {k: weight @ counts[k] for k in groups}
        if all(drawn.values()):  # a draw without any answer of a group says nothing about it
            draws.append(statistic({k: (weight @ sums[k]) / drawn[k] for k in groups}))
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (point, point)
    return Estimate(float(point), float(low), float(high), n)


def summary_row(
    estimate: Estimate, *, benchmark: str, contestant: str, metric: str, distractor_set: str = "fixed", control: str = "none"
) -> Row:
    """One row of SUMMARY."""
    return {
        "benchmark": benchmark,
        "contestant": contestant,
        "distractor_set": distractor_set,
        "control": control,
        "metric": metric,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
