"""Texts in prompts, cut to a role's token limit.

What belongs here: what is left of a text that is too long. What does not: a record's text (`record_text.py`), templates (`resources/prompting/prompts.py`),
counting tokens (`resources/prompting/tokens.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from resources.profile import ProfileError

if TYPE_CHECKING:
    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.tokens import Counter

CUT_MARK = " […]"  # ends a text that was itself cut


class ShownRecords(NamedTuple):
    """Records as one prompt text."""

    text: str
    left_out: int
    """How many of the oldest records it lacks."""
    was_cut: bool
    """Whether it lacks anything: a record, or the end of one."""


def records_text(engine: Asker, role: Role, texts: list[str]) -> ShownRecords:
    """Chronological texts as one prompt text within `role.max_input_tokens`.

    The newest text always stays; when it alone is too long it loses its end.
    """
    if sum(len(text.encode("utf-8", "replace")) for text in texts) <= role.max_input_tokens:  # a token holds at least one byte
        return ShownRecords("\n\n".join(texts), 0, False)
    kept, left_out = cut_oldest(texts, role.max_input_tokens, partial(engine.count_tokens, role.model))
    return ShownRecords("\n\n".join(kept), left_out, left_out > 0 or kept[-1] != texts[-1])


class FittedText(NamedTuple):
    """One record's text as far as it fits, and whether anything was cut."""

    text: str
    was_cut: bool


def cut_to_fit(engine: Asker, role: Role, text: str) -> FittedText:
    """The beginning of one record's text that fits `role.max_input_tokens`."""
    if len(text.encode("utf-8", "replace")) <= role.max_input_tokens:  # a token holds at least one byte: no need to count
        return FittedText(text, False)
    kept = cut_end(text, role.max_input_tokens, partial(engine.count_tokens, role.model))
    return FittedText(kept, kept != text)


class NewestTexts(NamedTuple):
    """The newest of several texts, oldest first, and how many of the oldest were left out."""

    kept: list[str]
    left_out: int


def cut_oldest(texts: Sequence[str], budget: int, counter: Counter) -> NewestTexts:
    """Keep the newest of `texts` (oldest first) that fit in `budget` tokens together.

    The newest text is always kept: when it alone exceeds the budget, its end is cut and marked with `CUT_MARK` (people put
    first what matters), and it does not count as left out.

    Raises:
        ProfileError: the budget cannot hold even the cut mark.
    """
    if not texts:
        return NewestTexts([], 0)
    counts = counter(texts)
    kept = len(texts)
    left = budget
    while kept and counts[kept - 1] <= left:
        kept -= 1
        left -= counts[kept]
    if kept == len(texts):
        return NewestTexts([cut_end(texts[-1], budget, counter)], len(texts) - 1)
    return NewestTexts(list(texts[kept:]), kept)


def cut_end(text: str, budget: int, counter: Counter) -> str:
    """`text` if it fits in `budget` tokens, else its longest beginning that fits together with `CUT_MARK`."""
    if counter([text])[0] <= budget:
        return text
    if counter([CUT_MARK])[0] > budget:
        raise ProfileError(f"a budget of {budget} tokens cannot hold any text; raise max_input_tokens of the role")
    low, high = 0, len(text)  # the beginning of length `low` fits, the one of length `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if counter([text[:middle].rstrip() + CUT_MARK])[0] <= budget:
            low = middle
        else:
            high = middle
    return text[:low].rstrip() + CUT_MARK
