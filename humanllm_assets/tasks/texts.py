"""Lengths and cuts of the texts that several tasks show or want."""

from __future__ import annotations

import re
from typing import NamedTuple

from humanllm_assets.tasks.split import stable_unit

MIN_ANSWER_WORDS = 10  # a shorter text says too little of a person to be worth imitating
MIN_SPLIT_WORDS = 40  # a shorter text has no 30-70% split with something to continue


def wanted_words(text: str) -> int:
    """The length that a prompt asks for: the words of the true text rounded to 10, at least 10."""
    return max(10, (len(text.split()) + 5) // 10 * 10)


def cut_words(text: str, limit: int) -> str:
    """The first `limit` words, with the text's own white space; an ellipsis shows the cut."""
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= limit else text[: words[limit - 1].end()] + " …"


class SplitText(NamedTuple):
    """A text in two parts, the second of which is to be written."""

    beginning: str
    rest: str


def split_text(text: str, seed: str, low: float = 0.3, high: float = 0.7) -> SplitText:
    """A text cut between two words at a share of its words in [low, high] that the seed decides."""
    words = list(re.finditer(r"\S+", text))
    if len(words) < 2:
        return SplitText(text, "")
    n = min(len(words) - 1, max(1, round(len(words) * (low + (high - low) * stable_unit("cut", seed)))))
    return SplitText(text[: words[n - 1].end()].strip(), text[words[n].start() :].strip())
