"""The judge in the funnel report: how good it is for each kind of item, and what that makes of the shares that it keeps.

What belongs here: arranging numbers. What does not: computing them (`humanllm_assets/quality/calibration.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.evaluation.paper import report_row, show_count
from humanllm_assets.pages.page import Cell, Section, Table, TableRow
from humanllm_assets.quality.calibration import ANY, CALIBRATED, Interval, Rates, correct_rate
from humanllm_assets.quality.damage import DAMAGES

Row = dict[str, Any]
TITLE = "The judge"
_NOT_DEFINED = Cell("not defined")
_MEASURES = {
    "AUC": ("auc", ANY),
    "Agreement on repeat": ("repeat_agreement", "repeat"),
    "Order bias, points": ("order_bias", "newest_first"),
    "Length bias, correlation": ("length_bias", "verbosity"),
}
_RATES = ("Judged", "Kept", "Kept share, raw", "Sensitivity", "Specificity", "Kept share, corrected")


@dataclass(frozen=True)
class JudgedKind:
    """One kind of item: what the judge's approval says, rows of CALIBRATION_FIGURES, how many items it judged and kept, and the
    judge as a test at the profile's thresholds."""

    item_kind: str
    says: str
    figures: Sequence[Mapping[str, Any]]
    judged: int
    kept: int
    rates: Rates | None

    @property
    def corrected(self) -> Interval | None:
        """The share of good items that the kept share stands for; None where it is not defined."""
        return correct_rate(self.kept, self.judged, self.rates)


def judge_warnings(kinds: Sequence[JudgedKind]) -> list[str]:
    """What stands beside every number of a judge that is not calibrated; nothing for one that is."""
    return [f"{k.item_kind}: {k.says}." for k in kinds if k.says != CALIBRATED]


def judge_section(kinds: Sequence[JudgedKind]) -> Section:
    """The section: verdicts, the worst figure of each measure, AUC by damage, raw and corrected shares."""
    section = Section(
        TITLE,
        [
            "How the judge scored copies of our own items that plain code damaged. AUC: how often an original scores above a damaged "
            "copy, ties counting half, over all damage that a metric is there to notice; 1 perfect, 0.5 blind. Of several metrics the worst "
            "is shown. Agreement: repeated scores within one point. Order bias: points that the records' opposite order adds to overall. "
            "Length bias: correlation of overall with the length of the same content. Small numbers: 95% interval, items.",
        ]
        if kinds
        else ["No judge was measured."],
    )
    if not kinds:
        return section
    section.texts += judge_warnings(kinds) or ["The judge is calibrated for every kind of item."]
    rows = [TableRow(k.item_kind, [_shown(_worst(k, *where)) for where in _MEASURES.values()]) for k in kinds]
    section.tables.append(Table("How good the judge is", "Item kind", list(_MEASURES), rows))
    found = [d for d in DAMAGES if any(f["damage"] == d and f["measure"] == "auc" for k in kinds for f in k.figures)]
    rows = [TableRow(k.item_kind, [_shown(_figure(k, "overall", "auc", d)) for d in found]) for k in kinds]
    columns = [DAMAGES[d].says for d in found]
    section.tables.append(Table("AUC of overall by damage", "Item kind", columns, rows))
    rows = [TableRow(k.item_kind, _rate_cells(k)) for k in kinds]
    section.tables.append(
        Table("Kept shares, raw and corrected by the judge's errors (arXiv 2511.21140)", "Item kind", list(_RATES), rows)
    )
    section.texts.append(
        "The corrected share takes originals for good items and damaged copies for bad ones; it is not defined where sensitivity and "
        "specificity together are no more than 1, as of a judge that tells nothing."
    )
    return section


def judge_numbers(kinds: Sequence[JudgedKind]) -> list[Row]:
    """The section's numbers as rows of REPORT_ROWS."""
    rows = []
    for k in kinds:
        values = {title: _value(_worst(k, *where)) for title, where in _MEASURES.items()}
        values["Kept share, raw"] = k.kept / k.judged if k.judged else None
        values["Kept share, corrected"] = _value(k.corrected)
        rows += [report_row(TITLE, k.item_kind, title, value, None) for title, value in values.items()]
    return rows


def _worst(kind: JudgedKind, measure: str, damage: str) -> Interval | None:
    """Of the metrics that are required, the lowest; of a bias, the one of `overall`."""
    required = [f for f in kind.figures if f["measure"] == measure and f["required"] and f["value"] is not None]
    if required:
        return _interval(min(required, key=lambda f: f["value"]))
    return _figure(kind, "overall", measure, damage)


def _figure(kind: JudgedKind, metric: str, measure: str, damage: str) -> Interval | None:
    wanted = (metric, measure, damage)
    found = [f for f in kind.figures if (f["metric"], f["measure"], f["damage"]) == wanted and f["value"] is not None]
    return _interval(found[0]) if found else None


def _interval(figure: Mapping[str, Any]) -> Interval:
    return Interval(figure["value"], figure["low"], figure["high"], figure["n"])


def _value(found: Interval | None) -> float | None:
    return found.value if found else None


def _shown(found: Interval | None) -> Cell:
    return Cell(f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}, {found.n}") if found else Cell("–")


def _rate_cells(kind: JudgedKind) -> list[Cell]:
    raw = Cell(f"{kind.kept / kind.judged:.2f}") if kind.judged else Cell("–")
    both = [_shown(r) for r in kind.rates] if kind.rates else [Cell("–"), Cell("–")]
    corrected = _shown(kind.corrected) if kind.corrected else _NOT_DEFINED
    return [Cell(show_count(kind.judged)), Cell(show_count(kind.kept)), raw, *both, corrected]
