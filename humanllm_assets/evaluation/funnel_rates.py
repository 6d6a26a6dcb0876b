"""What share of its rows each stage and each rule keeps, beside the paper's share and the band of the profile.

The paper prints Table A1 and no numbers of single rules. A share is of the rows that reached the stage or the rule: a rule sees what
those before it left. Outside its band a share is a warning: the thresholds, the files or a model are not what the profile means.

What belongs here: arranging counts as shares. What does not: counting, the bands (`resources/thresholds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.evaluation.paper import paper_value
from resources.sources import SOURCES
from resources.thresholds import SourceBands

# stage, a field of SourceBands -> its columns in Table A1; None where the paper has no numbers
STAGES: Mapping[str, tuple[str, str] | None] = {
    "filtering": ("Raw Texts", "After DF Texts"),
    "rules": None,
    "labels": None,
    "qc_users": ("After DS Users", "After QC Users"),
    "qc_scenarios": ("After DS Scenarios", "After QC Scenarios"),
    "qc_social_qa": ("After DS Social QA", "After QC Social QA"),
}


@dataclass(frozen=True)
class Rate:
    """Rows that reached a stage of a source, or one rule of the stage `rules`, and how many of them it kept."""

    source: str
    stage: str
    entered: int
    kept: int
    rule: str | None = None

    @property
    def name(self) -> str:
        return f"{self.source} {self.stage}" + (f" {self.rule}" if self.rule else "")

    @property
    def share(self) -> float | None:
        return self.kept / self.entered if self.entered else None


def rule_rates(source: str, entered: int, dropped: Mapping[str, int], order: Sequence[str]) -> list[Rate]:
    """One rate for each reason, in the order in which the rules are applied; reasons that are in no order come first."""
    rates, left = [], entered
    for reason in [*sorted({*dropped} - {*order}), *order]:
        n = dropped.get(reason, 0)
        rates.append(Rate(source, "rules", left, left - n, reason))
        left -= n
    return rates


def paper_share(source: str, stage: str) -> float | None:
    """The share that the paper's Table A1 prints for a stage of a source; null where it prints none."""
    columns = STAGES[stage]
    if columns is None:
        return None
    before, after = (paper_value("A1", SOURCES[source].label, column) for column in columns)
    return after / before if before and after is not None else None


def rate_rows(rates: Sequence[Rate], bands: Mapping[str, SourceBands]) -> list[dict[str, Any]]:
    """Rows of FUNNEL_RATES."""
    rows = []
    for rate in rates:
        band = bands[rate.source].by_rule.get(rate.rule) if rate.rule else getattr(bands[rate.source], rate.stage)
        paper = None if rate.rule else paper_share(rate.source, rate.stage)
        low, high = band or (None, None)
        rows.append(
            {
                "rate": rate.name,
                "source": rate.source,
                "stage": rate.stage,
                "rule": rate.rule,
                "entered": rate.entered,
                "kept": rate.kept,
            }
            | {"share": rate.share, "paper": paper, "low": low, "high": high}
        )
    return rows
