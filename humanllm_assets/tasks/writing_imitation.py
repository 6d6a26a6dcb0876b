"""T4: a text in the person's manner, from its topic or its beginning, with earlier texts or a description of the style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.sql import literal
from humanllm_assets.tasks.targets import select_earlier, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import MIN_ANSWER_WORDS, MIN_SPLIT_WORDS, split_text, wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per record: half of the longer ones are to be continued, the others written from their topic. A record without one
    (its answer failed, or its user has too few records) is left out."""
    of_source = f"source = {literal(source)}"
    columns = target_columns(
        key="m.record_id",
        subtask=f"""case when words >= {MIN_SPLIT_WORDS} and stable_unit('writing|' || m.record_id) < 0.5 then 'continuation'
                         else 'by_topic' end""",
        record_id="m.record_id",
        history_ids="coalesce(e.ids, [])",
        problem=f"""case when created_at is null then 'no_time'
                         when subtask = 'by_topic' and topic is null then 'no_topic'
                         when subtask = 'by_topic' and words < {MIN_ANSWER_WORDS} then 'too_short' end""",
    )
    return Plan(
        f"""
        with mine as (
            select record_id, user_id, created_at, word_count(text) as words, topic
            from records left join (select record_id, topic from topics) using (record_id) where {of_source}),
        earlier as ({select_earlier("records", limits.writing_history, of_source)})
        select {columns} from mine m left join earlier e on e.record_id = m.record_id""",
        person="len(history_ids) = 0 or stable_unit('style|' || sample_id) < 0.5",
        history="person_id is null or (len(history_ids) > 0 and stable_unit('style|' || sample_id) >= 0.5)",
        reason="case when len(history_ids) = 0 and person_id is null then 'no_history_or_style' end",
    )


def render(row: Row, given: Given) -> Rendered:
    """Earlier texts or the style, and the topic or the beginning."""
    kind = given.text_kind
    person = {"history": [h["text"] for h in row["history"]], "style": row["person_text"], "kind": kind}
    if row["subtask"] == "continuation":
        beginning, rest = split_text(row["text"], row["sample_id"])
        return Rendered("tasks/writing_continuation", {**person, "beginning": beginning, "words": wanted_words(rest)}, rest)
    item = None
    if given.source == "amazon":
        stars = "" if row["rating"] is None else f", giving it {row['rating']:g} of 5 stars"
        item = f"{(row['context_title'] or '').strip() or 'a product'}{stars}"
    answer = row["text"].strip()
    fields = {**person, "topic": row["topic"], "item": item, "words": wanted_words(answer)}
    return Rendered("tasks/writing_by_topic", fields, answer)


TASK = Task(
    tables=("records", "profiles", "topics"),
    templates=("tasks/writing_by_topic", "tasks/writing_continuation"),
    plan=plan,
    render=render,
    person="style",
    says_text_kind=True,
    records="records",
    columns="r.text, r.rating, r.context_title, t.topic",
    joins="left join topics t on t.record_id = p.record_id",
)
