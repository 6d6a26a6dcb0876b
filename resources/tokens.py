"""Counting and cutting texts by a model's own tokens.

A counter is a function from texts to token counts: `FolderCounter` reads the model folder's `tokenizer.json`;
`Engine.count_tokens` falls back to a server's POST /tokenize for models known by endpoints alone. Special tokens and the
chat template are not counted: budgets leave room for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resources.models import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Counter = Callable[[Sequence[str]], list[int]]
CUT_MARK = " […]"  # ends a text that was itself cut


class FolderCounter:
    """Counts with the tokenizer of a model folder.

    Raises:
        ModelError: the folder has no `tokenizer.json`.
    """

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{folder} has no tokenizer.json; save the model's fast tokenizer there")
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        return [len(e.ids) for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def cut_oldest(texts: Sequence[str], budget: int, counter: Counter) -> tuple[list[str], int]:
    """Keep the newest of `texts` (oldest first) that fit in `budget` tokens together.

    Returns the kept texts, oldest first, and how many of the oldest were left out. The newest text is always kept: when it
    alone exceeds the budget, its end is cut and marked with `CUT_MARK` (people put first what matters), and it does not
    count as left out.

    Raises:
        ValueError: the budget cannot hold even the cut mark.
    """
    if not texts:
        return [], 0
    counts = counter(texts)
    kept = len(texts)
    left = budget
    while kept and counts[kept - 1] <= left:
        kept -= 1
        left -= counts[kept]
    if kept == len(texts):
        return [cut_end(texts[-1], budget, counter)], len(texts) - 1
    return list(texts[kept:]), kept


def cut_end(text: str, budget: int, counter: Counter) -> str:
    """`text` if it fits in `budget` tokens, else its longest beginning that fits together with `CUT_MARK`."""
    if counter([text])[0] <= budget:
        return text
    if counter([CUT_MARK])[0] > budget:
        raise ValueError(f"a budget of {budget} tokens cannot hold any text; raise max_input_tokens of the role")
    low, high = 0, len(text)  # the beginning of length `low` fits, the one of length `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if counter([text[:middle].rstrip() + CUT_MARK])[0] <= budget:
            low = middle
        else:
            high = middle
    return text[:low].rstrip() + CUT_MARK
