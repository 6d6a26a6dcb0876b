"""Scores without the questions of which a text stands in the training data (asset `contamination`).

A question about a test sample leaks when a text of the sample does, a public one when one of its own does, in all its repetitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from humanllm_assets.evaluation.benchmarks import kinds_of
from humanllm_assets.sql import literal, read_rows
from humanllm_assets.tasks.contamination import TEST

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]


class Leaks(NamedTuple):
    """How many questions of a benchmark leak, of how many; controls are not counted apart."""

    leaking: int
    questions: int


def count_leaks(step: Step) -> dict[str, Leaks]:
    """Of every benchmark, which of its questions leak; leaves a view `questions` of all items with a column `leaks`."""
    step.view("items", "benchmark_items", "items")
    step.view("held_out", "contamination", "held_out")
    step.con.execute(f"""
        create or replace view questions as
        with leaking as (select distinct held_out, item_id from held_out where leaks)
        select i.*, l.item_id is not null as leaks from items i left join leaking l
            on l.held_out = case when i.sample_id is null then i.benchmark else '{TEST}' end
            and l.item_id = coalesce(i.sample_id, split_part(i.item_id, '#', 1))""")
    counts = "count(*) filter (leaks), count(*)"
    found = step.con.execute(f"select benchmark, {counts} from questions where control = 'none' group by all order by all")
    return {benchmark: Leaks(leaking, questions) for benchmark, leaking, questions in found.fetchall()}


def score_unleaked(step: Step, leaks: dict[str, Leaks]) -> list[Row]:
    """Rows of SUMMARY over the questions that do not leak, of the benchmarks that also have others. `count_leaks` goes before."""
    rows = []
    for name, kind in kinds_of(step.profile).items():
        if name in leaks and leaks[name].leaking:
            step.view("given", "benchmark_scores", kind.answers_table)
            item_id = "item_id" if kind.answers_table == "answers" else "left(item_id, length(item_id) - length(metric) - 1)"
            left = f"from questions where benchmark = {literal(name)} and not leaks"
            items = list(read_rows(step.con, f"select * exclude (leaks) {left} order by item_id"))
            answers = (
                f"select * from given where benchmark = {literal(name)} and {item_id} in (select item_id {left}) order by all"
            )
            rows += kind.summarise(items, list(read_rows(step.con, answers)))
    return rows
