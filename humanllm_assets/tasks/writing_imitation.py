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

# The words of the topic count as the beginning of the text: what the topic gives away is not part of the answer.
_MACROS = (
    r"""create or replace temp macro opening(x) as coalesce(
        nullif(regexp_extract(x, '^\s*((?:\S+\s+){3,24}?\S*[.!?…]["'')\]]*)\s', 1), ''),
        nullif(regexp_extract(x, '^\s*((?:\S+\s+){11}\S+)', 1), ''))""",
    """create or replace temp macro topic_of(source, title, context_title, x) as
        case when source = 'amazon' then nullif(trim(context_title), '')
             else coalesce(nullif(trim(title), ''), opening(x)) end""",
    """create or replace temp macro body_of(topic, x) as
        case when starts_with(ltrim(x), topic) then ltrim(substr(ltrim(x), length(topic) + 1)) else x end""",
)


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per record: half of the longer ones are to be continued, the others written from their topic."""
    for macro in _MACROS:
        con.execute(macro)
    of_source = f"source = {literal(source)}"
    columns = target_columns(
        key="m.record_id",
        subtask=f"""case when words >= {MIN_SPLIT_WORDS} and stable_unit('writing|' || m.record_id) < 0.5 then 'continuation'
                         else 'by_topic' end""",
        record_id="m.record_id",
        history_ids="coalesce(e.ids, [])",
        problem=f"""case when created_at is null then 'no_time'
                         when subtask = 'by_topic' and topic is null then 'no_topic'
                         when subtask = 'by_topic' and body_words < {MIN_ANSWER_WORDS} then 'too_short' end""",
    )
    return Plan(
        f"""
        with mine as (
            select record_id, user_id, created_at, word_count(text) as words,
                topic_of(source, title, context_title, text) as topic, word_count(body_of(topic, text)) as body_words
            from records where {of_source}),
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
    label, topic = f"The topic of the {kind}, in the person's words", row["topic"]
    if given.source == "amazon":
        label = "The product" if row["rating"] is None else f"The person gives {row['rating']:g} of 5 stars to this product"
    elif not (row["title"] or "").strip():
        label = f"The {kind} opens with these words, and goes on from there"
    answer = row["body"].strip()
    fields = {**person, "topic": topic, "topic_label": label, "words": wanted_words(answer)}
    return Rendered("tasks/writing_by_topic", fields, answer)


TASK = Task(
    tables=("records", "profiles"),
    templates=("tasks/writing_by_topic", "tasks/writing_continuation"),
    plan=plan,
    render=render,
    person="style",
    says_text_kind=True,
    records="records",
    columns="r.title, r.text, r.rating, topic_of(r.source, r.title, r.context_title, r.text) as topic, "
    "case when topic is null then r.text else body_of(topic, r.text) end as body",
)
