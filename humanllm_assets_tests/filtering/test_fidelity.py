"""F5: how much of a record's own words a rewritten text holds."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from humanllm_assets.filtering.fidelity import count_common, measure_fidelity
from humanllm_assets_tests.filtering.tables import ENGLISH
from resources.thresholds import Labels

SOURCE = (
    "So I quit my job last Tuesday. My boss didn't even look up from his desk, he just said good luck and went on typing. I walked "
    "to the lake with my sister and we laughed about it, and then I cried a little. Tomorrow I start painting the kitchen."
)


def slow_common(a: str, b: str) -> int:
    for n in range(len(a), 0, -1):
        if any("".join(kept) in subsequences(b, n) for kept in combinations(a, n)):
            return n
    return 0


def subsequences(text: str, n: int) -> set[str]:
    return {"".join(kept) for kept in combinations(text, n)}


def test_the_alignment_is_the_longest_one() -> None:
    draw = random.Random(1)
    for _ in range(200):
        a, b = ("".join(draw.choice("abc") for _ in range(draw.randrange(8))) for _ in range(2))
        assert count_common(a, b) == slow_common(a, b), (a, b)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (SOURCE, True),
        (SOURCE.replace("didn't", "did not").replace("So I", "I").replace("Tuesday", "Wednesday"), True),
        (SOURCE[:80], False),
        (
            "The writer left a job without a word from the manager, talked it over with a relative near the water and felt sad.",
            False,
        ),
        (
            f"{SOURCE} {ENGLISH} And then, as everybody knows, things went on for a while in quite another way than one had thought.",
            False,
        ),
        (" ".join(sorted(SOURCE.split())), False),
    ],
    ids=["copy", "corrections", "beginning", "retold", "made up", "shuffled"],
)
def test_the_persons_own_words_survive(text: str, passes: bool) -> None:
    found, labels = measure_fidelity(SOURCE, text, twitter=False), Labels()
    assert (found.kept >= labels.min_kept and found.added <= labels.max_added) is passes


def test_what_the_rewriter_is_told_to_remove_is_no_loss() -> None:
    source = "<b>We won</b> the cup today, see https://example.org/cup #cup @jo. Gestern bin ich mit meiner Schwester zum See gegangen."
    assert measure_fidelity(source, "We won the cup today, see.", twitter=True) == (1.0, 0.0)


def test_nothing_is_kept_whole_and_an_empty_text_adds_nothing() -> None:
    assert measure_fidelity("\U0001f600", "\U0001f600", twitter=False) == (1.0, 0.0)
    assert measure_fidelity(SOURCE, "", twitter=False) == (0.0, 0.0)
