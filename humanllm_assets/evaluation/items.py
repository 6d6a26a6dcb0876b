"""What in-domain benchmark questions (V1, V4) share: which samples are asked about, whose person is shown, where options stand.

Every question comes with its controls, in the same order of options: `options_only` (no task, no person), `no_persona` (the task
without the person) and `other_persona` (the task with somebody else in it). A score means something by its distance from them.

What belongs here: pieces of several kinds of benchmarks. What does not: the kinds (`benchmarks/`), asking and scoring
(`scoring.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from humanllm_assets.sql import read_rows
from humanllm_assets.tasks.labels import LABELS
from humanllm_assets.tasks.split import stable_shuffle

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]
PERSON_FIELDS = ("persona", "history", "style")


def read_test_samples(step: Step) -> list[Row]:
    """Rows of `samples` of the test split, of all pairs that the step reads; leaves a view `samples` of both splits."""
    step.view("samples", "task_datasets", "samples")
    return list(read_rows(step.con, "select * from samples where split = 'test'"))


def choose_samples(
    samples: Iterable[Row], task: str, subtasks: Sequence[str] | None, name: str, max_items: int | None
) -> list[Row]:
    """The samples that a benchmark asks about: test split only, at most `max_items`, chosen by a stable hash of their ids.

    Args:
        samples: rows of `samples`; rows of other tasks, subtasks and of the training split are passed over.
        name: benchmark, part of the hash.
    """
    mine = [s for s in samples if s["split"] == "test" and s["task"] == task and (subtasks is None or s["subtask"] in subtasks)]
    return stable_shuffle(mine, "items", name, key=lambda s: s["sample_id"])[:max_items]


def _shape(fields: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f for f in PERSON_FIELDS if fields.get(f))


def find_donors(samples: Sequence[Row]) -> dict[str, Row]:
    """For each sample the next one, in the given order, of another user of whom the same is shown."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for s in samples:
        if shape := _shape(orjson.loads(s["fields"])):
            groups.setdefault((s["source"], shape), []).append(s)
    donors = {}
    for group in groups.values():
        for i, s in enumerate(group):
            donor = next((d for d in (*group[i + 1 :], *group[:i]) if d["user_id"] != s["user_id"]), None)
            if donor:
                donors[s["sample_id"]] = donor
    return donors


def records_behind(control: str, sample: Row, donor: Row | None) -> list[str]:
    """The records that a question shows something of: with another persona, the donor's too."""
    return sorted({*sample["record_ids"], *donor["record_ids"]}) if donor and control == "other_persona" else sample["record_ids"]


def without_person(fields: Mapping[str, Any]) -> Row:
    """Fields of a prompt in which nothing of the person is shown."""
    return {**fields, **{f: [] if f == "history" else None for f in PERSON_FIELDS if f in fields}}


def with_person_of(fields: Mapping[str, Any], donor: Row) -> Row:
    """Fields of a prompt that show the person of another sample."""
    person = orjson.loads(donor["fields"])
    return {**fields, **{f: person[f] for f in PERSON_FIELDS if f in fields}}


class Placed(NamedTuple):
    """Options with labels, in the order in which they are shown, and the label of the true one."""

    options: list[Row]
    correct: str


def place_true(gold: Row, rest: Sequence[Row], index: int, *seed: str) -> Placed:
    """Options in seeded order, the true one at place `index` modulo their number."""
    order = stable_shuffle(rest, "order", gold["origin"], *seed, key=lambda o: o["origin"])
    place = index % (len(order) + 1)
    order.insert(place, gold)
    return Placed([{"label": label, **o} for label, o in zip(LABELS, order, strict=False)], LABELS[place])


def in_domain_item(sample: Row, benchmark: str, name: str, control: str, prompt: str, placed: Placed, records: list[str]) -> Row:
    """A row of BENCHMARK_ITEMS about a sample. name: its set of distractors; records: ids of the records behind it."""
    return {
        "item_id": f"{benchmark}:{sample['sample_id']}:{name}:{control}",
        "benchmark": benchmark,
        "task": sample["task"],
        "source": sample["source"],
        "user_id": sample["user_id"],
        "distractor_set": name,
        "control": control,
        "prompt": prompt,
        "options": orjson.dumps(placed.options).decode(),
        "correct": placed.correct,
        "sample_id": sample["sample_id"],
        "record_ids": records,
    }
