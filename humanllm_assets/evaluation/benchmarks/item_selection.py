"""Item selection (V1): which of 20 items of the catalogue did this person buy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from humanllm_assets.asking.questions import Sink, Tally
from humanllm_assets.evaluation.benchmarks import Kind, add_nothing
from humanllm_assets.evaluation.contest import Built, Contest
from humanllm_assets.evaluation.items import (
    choose_samples,
    find_donors,
    in_domain_item,
    place_true,
    read_test_samples,
    records_behind,
    with_person_of,
    without_person,
)
from humanllm_assets.evaluation.report_parts import TABLE_1, Column, Layout, Results
from humanllm_assets.evaluation.scoring import answer_choices, choice_identity, summarise_choices
from humanllm_assets.pages.page import Section
from humanllm_assets.partitions import Partitions
from humanllm_assets.tasks.rendering import render_fields
from resources.profile import Benchmark

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]


def build(step: Step, counts: Tally, sink: Sink) -> Built:
    """Questions about people of the test split."""
    benchmark = step.profile.benchmarks[step.partition]
    return item_selection_items(read_test_samples(step), step.partition, benchmark.max_items)


def item_selection_items(samples: Iterable[Row], benchmark: str, max_items: int | None = None) -> Built:
    """20-way questions: the candidates of the test samples, answered by candidate id (chance 1/20).

    The place of the bought item rotates over the questions, so that no position is favoured. Controls: options_only,
    other_persona (somebody else's purchases and persona); here `no_persona` would be the same as options_only.
    """
    built = Built()
    everyone = choose_samples(samples, "item_selection", None, benchmark, None)
    base, donors = everyone[:max_items], find_donors(everyone)
    for index, s in enumerate(base):
        fields = {**orjson.loads(s["fields"]), "options": []}
        gold = next(o for o in orjson.loads(s["options"]) if o["id"] == s["answer"])
        rest = [o for o in orjson.loads(s["options"]) if o is not gold and o["id"] != s["answer"]]
        placed = place_true(_option(gold), [_option(o) for o in rest], index)
        prompts = {"none": render_fields(fields), "options_only": render_fields(without_person(fields))}
        donor = donors.get(s["sample_id"])
        if donor is None:
            built.dropped["catalogue:no_other_persona"] += 1
        else:
            prompts["other_persona"] = render_fields(with_person_of(fields, donor))
        for control, prompt in prompts.items():
            records = records_behind(control, s, donor)
            built.items.append(in_domain_item(s, benchmark, "catalogue", control, prompt, placed, records))
    return built


def _option(candidate: Row) -> Row:
    return {"text": candidate["text"], "origin": candidate["item_id"], "popularity": candidate["popularity"]}


def answer(contest: Contest) -> list[Row]:
    """The letter of one item."""
    return answer_choices(contest)


def summarise(items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """See `summarise_choices`; with the popularity baseline."""
    return summarise_choices(items, answers)


def tables(benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """A column of Table 1."""
    columns = [Column("Item Selection", k, "accuracy", "catalogue", 100) for k in benchmarks]
    return [TABLE_1._replace(columns=columns)]


def sections(benchmarks: Mapping[str, Benchmark], results: Results) -> list[Section]:
    """Nothing beside the table."""
    return []


KIND = Kind(
    place=1,
    roles=(),
    answers_table="answers",
    pairs=Partitions.pairs_of_benchmark,
    items_identity=add_nothing,
    build=build,
    scores_identity=choice_identity,
    answer=answer,
    summarise=summarise,
    tables=tables,
    sections=sections,
)
