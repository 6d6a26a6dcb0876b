"""T5: a comment on a post, with one to five earlier comments and a text about the person where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.tasks.targets import select_earlier, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import cut_words, wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

COMMENT_WORDS = 300  # an earlier comment is cut here


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per comment."""
    columns = target_columns(
        key="c.record_id",
        subtask="'comment'",
        record_id="c.record_id",
        history_ids=f"""list_slice(coalesce(ids, []), -1 - (stable_int('comments|' || c.record_id) % {limits.max_comments}), -1)""",
        problem="""case when created_at is null then 'no_time'
                        when trim(coalesce(context_title, '') || coalesce(context_text, '')) = '' then 'no_post'
                        when len(coalesce(ids, [])) = 0 then 'no_history' end""",
    )
    return Plan(f"""
        with earlier as ({select_earlier("comments", limits.max_comments, "true")})
        select {columns} from comments c left join earlier e on e.record_id = c.record_id""")


def render(row: Row, given: Given) -> Rendered:
    """The person, the earlier comments and the post."""
    answer = row["text"].strip()
    fields = {
        "persona": row["person_text"],
        "history": [cut_words(h["text"], COMMENT_WORDS) for h in row["history"]],
        "post": "\n\n".join(t.strip() for t in (row["context_title"], row["context_text"]) if t and t.strip()),
        "words": wanted_words(answer),
    }
    return Rendered("tasks/personalized_commenting", fields, answer)


TASK = Task(
    tables=("comments", "profiles"),
    templates=("tasks/personalized_commenting",),
    plan=plan,
    render=render,
    person="person",
    records="comments",
    columns="r.text, r.context_title, r.context_text",
)
