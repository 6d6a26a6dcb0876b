"""Limits of an answer's length that its JSON schema cannot say, and how a model is told which one its answer did not keep.

A decoder that is held to a `maxLength` closes a string in the middle of a word when it gets there; the answer is then of the schema,
but nobody's words. And a limit in words has no place in a schema at all. Both are looked at here, in the answer.

What belongs here: what an answer's length is, and the sentence about it. What does not: asking again (`resources/llm/open_request.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class WordLimits:
    """Fewest and most words of an answer, over all its texts; None = no limit."""

    shortest: int | None = None
    longest: int | None = None

    def find_fault(self, answer: BaseModel | str) -> str:
        """What is wrong with the answer's length, in words for the model that wrote it; empty when nothing is."""
        n = sum(count_words(text) for text in _texts(answer))
        if self.longest is not None and n > self.longest:
            return f"it had {n} words, and {self.longest} are the most"
        if self.shortest is not None and n < self.shortest:
            return f"it had {n} words, and {self.shortest} are the fewest"
        return ""


def count_words(text: str) -> int:
    """WordLimits of a text, as contracts and tables count them: what stands between blanks."""
    return len(text.split())


def find_cut(answer: BaseModel | str, longest: int | None) -> str:
    """That a text of the answer reached `longest` characters, where a decoder had to close it; empty when none did."""
    if longest is not None and isinstance(answer, BaseModel) and any(len(text) >= longest for text in _texts(answer)):
        return f"one of its texts was cut off at {longest} characters; each must come to its end before"
    return ""


def name_fault(content: str, fault: str) -> str:
    """A question's text with what was wrong with the answer before."""
    return f"{content}\n\nAn earlier answer could not be used: {fault}. Answer again, within this limit."


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        for _, child in value:
            yield from _texts(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _texts(child)
