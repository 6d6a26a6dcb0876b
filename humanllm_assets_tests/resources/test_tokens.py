"""Laws of counting and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanllm_assets.asking.texts import CUT_MARK, cut_end, cut_oldest
from resources.models import ModelError
from resources.profile import ProfileError
from resources.prompting.tokens import FolderCounter


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_newest_are_kept_and_the_cut_is_counted() -> None:
    assert cut_oldest(["a b c", "d e", "f"], 3, words) == (["d e", "f"], 1)
    assert cut_oldest(["a b c", "d e", "f"], 6, words) == (["a b c", "d e", "f"], 0)
    assert cut_oldest([], 3, words) == ([], 0)


def test_gap_is_never_jumped() -> None:
    assert cut_oldest(["a", "b c d e", "f"], 3, words) == (["f"], 2)


def test_single_long_text_loses_its_end_and_is_marked() -> None:
    assert cut_oldest(["x", "a b c d e"], 3, words) == (["a b" + CUT_MARK], 1)
    with pytest.raises(ProfileError, match="max_input_tokens"):
        cut_end("a b c", 0, words)


@given(st.lists(st.text("ab \n", max_size=40), max_size=8), st.integers(1, 30))
def test_result_fits_and_nothing_is_lost_uncounted(texts: list[str], budget: int) -> None:
    kept, cut = cut_oldest(texts, budget, words)
    assert sum(words(kept)) <= budget and len(kept) + cut == len(texts)
    assert kept[1:] == texts[cut + 1 :]


def test_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        FolderCounter(tmp_path)


def test_folder_counts_with_its_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert FolderCounter(tmp_path)(["one two three", ""]) == [3, 0]
