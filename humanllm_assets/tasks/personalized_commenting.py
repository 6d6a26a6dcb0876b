"""T5: a comment on a post, with one to five earlier comments and a text about the person where there is one.

The post is the filtered one: what was dropped can be no post of a sample either. Its author counts in the split like the commenter,
so a sample needs both on one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.tasks.split import split_sql
from humanllm_assets.tasks.targets import select_earlier, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import cut_words, wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

COMMENT_WORDS = 300  # an earlier comment is cut here


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per comment."""
    author, commenter = (split_sql(user, limits.test_fraction) for user in ("a.user_id", "c.user_id"))
    columns = target_columns(
        key="c.record_id",
        subtask="'comment'",
        user_id="c.user_id",
        record_id="c.record_id",
        created_at="c.created_at",
        history_ids=f"""list_slice(coalesce(ids, []), -1 - (stable_int('comments|' || c.record_id) % {limits.max_comments}), -1)""",
        problem=f"""case when c.created_at is null then 'no_time'
                         when a.record_id is null then 'post_not_filtered'
                         when {author} <> {commenter} then 'author_in_other_split'
                         when len(coalesce(ids, [])) = 0 then 'no_history' end""",
    )
    return Plan(f"""
        with earlier as ({select_earlier("comments", limits.max_comments, "true")})
        select {columns} from comments c left join earlier e on e.record_id = c.record_id
            left join posts a on a.record_id = c.context_id""")


def render(row: Row, given: Given) -> Rendered:
    """The person, the earlier comments and the post."""
    answer = row["text"].strip()
    fields = {
        "persona": row["person_text"],
        "history": [cut_words(h["text"], COMMENT_WORDS) for h in row["history"]],
        "post": _show_post((row["post_title"] or "").strip(), row["post_text"].strip()),
        "words": wanted_words(answer),
    }
    return Rendered("tasks/personalized_commenting", fields, answer)


def _show_post(title: str, text: str) -> str:
    """A post's text, which begins with its title unless the rewriter left that out."""
    return text if text.casefold().startswith(title.casefold()) else f"{title}\n\n{text}"


TASK = Task(
    tables=("comments", "posts", "profiles"),
    templates=("tasks/personalized_commenting",),
    plan=plan,
    render=render,
    person="person",
    records="comments",
    joins="join posts a on a.record_id = r.context_id",
    columns="r.text, a.title as post_title, a.text as post_text",
    more_records="[a.record_id]",
)
