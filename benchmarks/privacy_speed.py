"""How many texts a second the detector of private items passes, beside the two expressions that it took the place of.

    python benchmarks/privacy_speed.py                     made-up texts
    python benchmarks/privacy_speed.py texts.parquet       the column `text` of a Parquet file

The made-up texts are 300 to 3,000 characters of plain words; some hold numbers, few hold a private item, as in real sources. The
machine's other work counts: compare the ratios. Presidio's own engine is not run: it needs a language model.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from humanllm_assets.filtering.privacy.finding import find_private
from humanllm_assets.filtering.privacy.masking import mask
from humanllm_assets.sql import literal
from humanllm_assets_tests.filtering.private_texts import FORMS, WORDS, draw_innocent, draw_samples

_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.,$-])(?:(?:\+?\d{1,3}[ .-]?)?(?:\(\d{2,4}\) ?|\d{2,4}[ .-])\d{3,4}[ .-]\d{3,4}|\d{3}-\d{2}-\d{4}|\d(?:[ -]?\d){12,18})"
    r"(?![\w-])"
)


def find_by_two_expressions(text: str) -> list[str]:
    """What stood in the detector's place until version 0.1.0."""
    return _EMAIL.findall(text) + [re.sub(r"\D", "", m.group()) for m in _NUMBER.finditer(text)]


def make_texts(n: int) -> list[str]:
    rng = random.Random(0)
    private = [s.text for s in draw_samples(FORMS, 10)]
    numbers = [text for _, text in draw_innocent(10)]
    texts = []
    for _ in range(n):
        words = rng.choices([*WORDS, "and", "the", "at", "my", "is", "it,", "so.", "one", "two"], k=rng.randrange(60, 600))
        chance = rng.random()
        extra = private if chance < 0.01 else numbers if chance < 0.4 else [""]
        words.insert(rng.randrange(len(words)), rng.choice(extra))
        texts.append(" ".join(words))
    return texts


def measure(work: Callable[[str], Any], texts: Sequence[str]) -> float:
    """Texts per second of CPU time, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for text in texts:
            work(text)
        best = min(best, time.process_time() - started)
    return len(texts) / best


def main() -> None:
    if len(sys.argv) > 1:
        query = f"select text from read_parquet({literal(sys.argv[1])}) where text is not null limit 20000"
        texts = [row[0] for row in duckdb.sql(query).fetchall()]
    else:
        texts = make_texts(3_000)
    started = time.process_time()
    find_private("4111 1111 1111 1111")
    print(f"first use, with the import of presidio: {time.process_time() - started:.1f} s")
    old = measure(find_by_two_expressions, texts)
    print(f"{len(texts):,} texts of {sum(map(len, texts)) / len(texts):,.0f} characters")
    for name, work in (("two expressions", find_by_two_expressions), ("find_private", find_private), ("mask", mask)):
        speed = measure(work, texts)
        print(f"{name:16} {speed:10,.0f} texts/s   {speed / old:5.2f} of the two expressions")


if __name__ == "__main__":
    main()
