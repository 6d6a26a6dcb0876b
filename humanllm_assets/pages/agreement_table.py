"""Rows of AGREEMENT as a table for people: one row per metric, as the command prints it and the report shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from humanllm_assets.pages.page import Cell, Table, TableRow

UNDEFINED = "not defined"
_COLUMNS = {
    "mean": "mean",
    "mean_kept": "mean, kept",
    "alpha": "alpha",
    "judge_mean": "judge",
    "judge_spearman": "Spearman with judge",
}
SAME = "same verdict"


def agreement_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per metric; columns: means, the mean of each annotator, alpha, and how the judge compares. A number has its items beside
    it; a dash stands where there is no such number, "not defined" where the items or their variation are too few for it."""
    annotators = list(dict.fromkeys(r["annotator"] for r in rows if r["annotator"] is not None))
    found = {(r["metric"], r["measure"], r["annotator"]): r for r in rows}
    keys = [("mean", None), *(("mean", a) for a in annotators), *((m, None) for m in list(_COLUMNS)[1:]), ("same_verdict", None)]

    def cell(metric: str, measure: str, annotator: str | None) -> Cell:
        row = found.get((metric, measure, annotator))
        if row is None:
            return Cell("–")
        if row["value"] is None:
            return Cell(UNDEFINED, f"n {row['n']}")
        share = measure == "same_verdict"
        return Cell(f"{row['value']:.0%}" if share else f"{row['value']:.2f}", f"n {row['n']}")

    titles = ["mean", *annotators, *list(_COLUMNS.values())[1:], SAME]
    metrics = dict.fromkeys(r["metric"] for r in rows)
    return Table("", "Metric", titles, [TableRow(m, [cell(m, *key) for key in keys]) for m in metrics])
