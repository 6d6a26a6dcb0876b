"""Q3 and Q4: which items a judge's scores keep, and which shares that makes beside the paper's Table A1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resources.thresholds import Qc

Row = Mapping[str, Any]
_OF_A_USER = ("persona", "profile")  # a user is kept with both


def threshold_name(metric: str) -> str:
    """Q3: the field of `Qc` that holds the score which `metric` must exceed."""
    return "overall_above" if metric == "overall" else "metric_above"


def threshold(metric: str, qc: Qc) -> float:
    """Q3: the score that `metric` must exceed."""
    return getattr(qc, threshold_name(metric))


def first_failing(scores: Mapping[str, float], qc: Qc) -> str | None:
    """The first metric that does not exceed its threshold, or None when the item is kept (Q3).

    Args:
        scores: of every metric that applies to the item, in the order of its kind's declaration.
    """
    return next((metric for metric, score in scores.items() if score <= threshold(metric, qc)), None)


class KeptShares:
    """Which shares of users, scenarios and questions a judge keeps (Q4), counted while its rows are written."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}  # kept texts of each
        self._judged: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()

    def add(self, scores: Iterable[Row]) -> None:
        """Count rows of SCORES."""
        for row in scores:
            kind = row["item_kind"]
            if kind in _OF_A_USER:
                self._users[row["user_id"]] = self._users.get(row["user_id"], 0) + row["kept"]
            else:
                self._judged[kind] += 1
                self._kept[kind] += row["kept"]

    def measures(self, bands: Mapping[Any, tuple[float, float]]) -> dict[str, float]:
        """`kept_<kind>`, the share, where there is any; `<kind>_outside_band`, how far it lies outside the profile's band, 0 inside
        it or without a band."""
        kept = {k: self._kept[k] / self._judged[k] for k in ("scenario", "qa") if self._judged[k]}
        if self._users:
            kept["users"] = sum(n == len(_OF_A_USER) for n in self._users.values()) / len(self._users)
        found = {f"kept_{kind}": value for kind, value in kept.items()}
        for kind in ("users", "scenario", "qa"):
            low, high = bands.get(kind, (0.0, 1.0))
            value = kept.get(kind, low)
            found[f"{kind}_outside_band"] = round(max(low - value, 0.0, value - high), 6)
        return found
