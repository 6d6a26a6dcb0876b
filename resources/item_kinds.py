"""The kinds of items that an LLM synthesizes and a judge scores (P1-P4, E1, B1): one declaration each.

A new text about the user, say P6, is its line here, the schema of its answer (`humanllm_assets/synthesis/users.py`), and two
prompts: `prompts/<prompt>.md` writes it, `prompts/judge_<name>.md` judges it. What is missing is named when the graph is built.

What belongs here: facts that several stages share. This module is in the identity of no asset: each asset names the facts that
it uses in its own identity or contract, so that a new metric makes no persona stale. What does not: code that decides a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, create_model

from resources.errors import Explained

METRICS = ("hallucination", "coverage", "conciseness", "relevance", "fidelity", "novelty", "leakage", "overall")


def read_score(value: Any) -> Any:
    """A score as servers without constrained decoding write it: 8, "8" and 8.0 are the same; everything else stays what it is, but
    no truth value is a number."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no score")
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.0+)?\s*", value):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Score = Annotated[Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], BeforeValidator(read_score)]


class IncompleteKind(Explained):
    """An item kind lacks a part that a stage needs; the message names the part and the file."""


@dataclass(frozen=True)
class ItemKind:
    """One kind of item."""

    name: str
    """Ends the item's id and is the value of `kind` or `item_kind` in the tables."""
    number: str
    """Of the paper's requirement, such as P1."""
    prompt: str
    """Name of the prompt that writes it; its front matter names the schema of the answer."""
    metrics: tuple[str, ...]
    """What the judge scores (Q2), of METRICS, in the order in which a failing one is named."""
    about_user: bool = False
    """Written from all of a user's earlier records: a row of user_profiles. Else it belongs to one record."""
    shown_as: Literal["person", "style"] | None = None
    """How tasks may show it beside a target: as the description of the person, as the writing style, or not at all."""
    shortest: int | str | None = None
    """Fewest words: a number, or the dotted name of a threshold that a profile can change."""
    longest: int | str | None = None
    """Most words, likewise."""

    @property
    def judge_prompt(self) -> str:
        """Name of the prompt that judges it."""
        return f"judge_{self.name}"

    @cached_property
    def scores(self) -> type[BaseModel]:
        """Schema of the judge's answer: one score from 1 to 10 per metric (Q1)."""
        fields = {metric: (Score, ...) for metric in self.metrics}
        return create_model(f"{self.name.title()}Scores", __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]


PERSONA = ItemKind(
    name="persona",
    number="P1",
    prompt="user_persona",
    metrics=("hallucination", "coverage", "conciseness", "relevance", "novelty", "overall"),
    about_user=True,
    shown_as="person",
    longest="words.persona_max",
)
PROFILE = ItemKind(
    name="profile",
    number="P2",
    prompt="user_profile",
    metrics=("hallucination", "coverage", "conciseness", "relevance", "novelty", "overall"),
    about_user=True,
    shown_as="person",
    shortest="words.profile_min",
    longest="words.profile_max",
)
STORIES = ItemKind(
    name="stories",
    number="P3",
    prompt="user_stories",
    metrics=("hallucination", "coverage", "novelty", "overall"),
    about_user=True,
)
STYLE = ItemKind(
    name="style",
    number="P4",
    prompt="writing_style",
    metrics=("overall",),  # the paper names no other metric for the writing style
    about_user=True,
    shown_as="style",
)
SCENARIO = ItemKind(
    name="scenario",
    number="E1",
    prompt="scenario",
    metrics=("hallucination", "coverage", "fidelity", "novelty", "overall"),
)
QA = ItemKind(
    name="qa",
    number="B1",
    prompt="social_qa",
    metrics=("hallucination", "coverage", "fidelity", "novelty", "leakage", "overall"),
)

ITEM_KINDS = (PERSONA, PROFILE, STORIES, STYLE, SCENARIO, QA)
USER_TEXTS = tuple(kind for kind in ITEM_KINDS if kind.about_user)


def list_kinds(kinds: Sequence[ItemKind]) -> str:
    """The kinds as descriptions name them: `persona (P1), profile (P2)`."""
    return ", ".join(f"{kind.name} ({kind.number})" for kind in kinds)
