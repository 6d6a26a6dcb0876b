"""T2: from background and characters to what happens. Nothing is shown of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.tasks.targets import is_of_site, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import MIN_ANSWER_WORDS, wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per scenario."""
    columns = target_columns(
        key="item_id",
        subtask="'plots'",
        record_id="record_id",
        item_id="item_id",
        problem=f"""case when trim(background) = '' or trim(characters) = '' then 'empty_field'
                         when word_count(plots) < {MIN_ANSWER_WORDS} then 'too_short' end""",
    )
    return Plan(f"select {columns} from scenarios where {is_of_site(source)}")


def render(row: Row, given: Given) -> Rendered:
    """Background and characters."""
    answer = row["plots"].strip()
    fields = {"background": row["background"], "characters": row["characters"], "words": wanted_words(answer)}
    return Rendered("tasks/scenario_generation", fields, answer)


TASK = Task(
    tables=("scenarios",),
    templates=("tasks/scenario_generation",),
    plan=plan,
    render=render,
    columns="i.background, i.characters, i.plots",
    joins="left join scenarios i on i.item_id = p.item_id",
)
