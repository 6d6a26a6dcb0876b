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
