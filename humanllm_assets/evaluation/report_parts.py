"""What a kind of benchmark hands to the report: tables as data, and the results that sections are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from humanllm_assets.evaluation.estimates import Estimate


class Column(NamedTuple):
    """Where a number of a table comes from: benchmark, metric, set of distractors; scale multiplies it."""

    title: str
    benchmark: str
    metric: str
    distractors: str
    scale: float = 1.0


class Layout(NamedTuple):
    """One table of the report, its number in the paper ("" = none) and its columns; digits of its numbers.

    A table of the paper has the paper's columns, so that Avg. means the same; a column without benchmark stays empty. Layouts with
    one title become one table. average: whether the columns have a common unit, so that an Avg. column says something.
    """

    title: str
    paper_table: str
    columns: list[Column]
    digits: int
    text: str = ""
    average: bool = True


TABLE_1 = Layout(
    "Table 1: in-domain, distractors written by models",
    "1",
    [],
    2,
    "Accuracy in percent against texts written by other models, as in the paper. A model is not asked about distractors "
    "of its own base model where enough others remain.",
)
"""Two kinds fill its columns."""


class SummaryKey(NamedTuple):
    """What one row of SUMMARY is about."""

    benchmark: str
    contestant: str
    distractor_set: str
    control: str
    metric: str


class Pair(NamedTuple):
    """A merged model and its base, both contestants."""

    base: str
    merged: str


@dataclass(frozen=True)
class Results:
    """Everything that was scored. pairs: whom a figure compares; empty = every contestant."""

    found: Mapping[SummaryKey, Estimate]
    pairs: list[Pair]

    @property
    def contestants(self) -> list[str]:
        """The pairs' contestants, base models first; all in the order of the results where there are no pairs."""
        return list(dict.fromkeys(c for pair in self.pairs for c in pair) or dict.fromkeys(k.contestant for k in self.found))
