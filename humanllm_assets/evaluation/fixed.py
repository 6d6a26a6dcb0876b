"""What public benchmarks with given options share: MotiveBench (V2) and ToMBench (V3), read from the user's own copy.

Neither is shipped: MotiveBench has no licence file, and both are for evaluation only. Repeated asks of one question are items
whose ids share the part before `#`; options carry their original letter as `origin`, so that repeats can be compared.
`user_id` holds the scenario or story, the unit over which confidence intervals resample; `task` the ability as printed in the
file; `source` the subset or language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from humanllm_assets.tasks.labels import LABELS
from resources.errors import Explained

Row = dict[str, Any]


class MissingBenchmark(Explained):
    """The benchmark's files are not where the profile says."""


class BadBenchmark(Explained):
    """A question that does not have the documented form."""


class Shown(NamedTuple):
    """An option at its place: its letter in the file, and its text without one."""

    letter: str
    text: str


def strip_label(option: str, letter: str) -> str:
    """An option's text without the letter in front of it: "A. ", "A: ", "A)"."""
    return re.sub(rf"^\s*{letter}\s*[.:：．)]\s*", "", option).strip()


def fixed_item(
    item_id: str, *, benchmark: str, task: str, source: str, unit: str, prompt: str, shown: Iterable[Shown], answer: str
) -> Row:
    """A row of BENCHMARK_ITEMS. unit: what intervals resample; shown: the options in their order; answer: the true one's letter."""
    options = [{"label": label, "text": o.text, "origin": o.letter} for label, o in zip(LABELS, shown, strict=False)]
    return {
        "item_id": item_id,
        "benchmark": benchmark,
        "task": task,
        "source": source,
        "user_id": unit,
        "distractor_set": "fixed",
        "control": "none",
        "prompt": prompt,
        "options": orjson.dumps(options).decode(),
        "correct": next(o["label"] for o in options if o["origin"] == answer),
        "sample_id": None,
        "record_ids": [],
    }
