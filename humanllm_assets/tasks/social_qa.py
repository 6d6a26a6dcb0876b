"""T3: a question about the user's next action, mental state or reasons, with a text about the person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.tasks.targets import is_of_site, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per question."""
    columns = target_columns(
        key="item_id",
        subtask="kind",
        record_id="record_id",
        item_id="item_id",
        problem="""case when created_at is null then 'no_time'
                        when trim(scenario) = '' or trim(question) = '' or trim(answer) = '' then 'empty_field' end""",
    )
    return Plan(
        f"select {columns} from social_qa where {is_of_site(source)}",
        reason="case when not described then 'no_persona' when person_id is null then 'not_after_cutoff' end",
    )


def render(row: Row, given: Given) -> Rendered:
    """The person, the scenario and the question."""
    answer = row["answer"].strip()
    fields = {
        "persona": row["person_text"],
        "scenario": row["scenario"],
        "question": row["question"],
        "words": wanted_words(answer),
    }
    return Rendered("tasks/social_qa", fields, answer)


TASK = Task(
    tables=("profiles", "social_qa"),
    templates=("tasks/social_qa",),
    plan=plan,
    render=render,
    person="person",
    columns="i.scenario, i.question, i.answer",
    joins="left join social_qa i on i.item_id = p.item_id",
)
