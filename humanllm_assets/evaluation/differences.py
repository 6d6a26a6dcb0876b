"""Differences between two sets of answers to the same questions, paired and resampled by user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from humanllm_assets.evaluation.estimates import Estimate, estimate

Row = dict[str, Any]


def compare(base: Iterable[Row], other: Iterable[Row], control: str = "none") -> dict[str, Estimate]:
    """Accuracy of `other` minus accuracy of `base` on the questions both answered, by set of distractors; paired over users."""
    first = [a for a in base if a["control"] == control]
    second = [a for a in other if a["control"] == control]
    found = {
        name: difference(
            [a for a in first if a["distractor_set"] == name],
            [a for a in second if a["distractor_set"] == name],
            lambda a: a["item_id"],
        )
        for name in sorted({a["distractor_set"] for a in first})
    }
    return {k: v for k, v in found.items() if v}


def difference(base: Iterable[Row], other: Iterable[Row], question: Callable[[Row], str]) -> Estimate | None:
    """Accuracy of `other` minus accuracy of `base`, over the questions that both answered; None where there are none."""
    before = {question(a): a for a in base}
    pairs = [(a, before[question(a)]) for a in other if question(a) in before]
    return estimate((unit_of(a), float(a["is_correct"]) - float(b["is_correct"])) for a, b in pairs)


def unit_of(answer: Row) -> str:
    """What is resampled: the user, or the question where it is nobody's."""
    return answer["user_id"] or answer["item_id"]
