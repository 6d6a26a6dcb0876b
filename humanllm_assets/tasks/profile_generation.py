"""T1: from a persona to the person's profile, or to the rest of one of the life stories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.tasks.targets import is_of_site, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from humanllm_assets.tasks.texts import MIN_SPLIT_WORDS, split_text, wanted_words
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

_SPLIT_STORIES = r"list_filter(string_split_regex(text, '(?:^|\n)\s*Summary:\s*'), lambda x: trim(x) <> '')"


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per user with a persona or a profile, and one per story."""
    mine = is_of_site(source)
    con.execute(rf"""
        create or replace temp table task_stories as
        with parts as (
            select item_id, user_id, cutoff_at, unnest({_SPLIT_STORIES}) as story_text,
                generate_subscripts({_SPLIT_STORIES}, 1)::integer as part
            from profiles where kind = 'stories' and {mine})
        select item_id, user_id, cutoff_at, part, trim(regexp_extract(story_text, '(?s)^(.*?)\n\s*Story:', 1)) as summary,
            trim(regexp_extract(story_text, '(?s)\n\s*Story:\s*(.*)$', 1)) as story
        from parts""")
    profiles = target_columns(
        key="coalesce(profile.user_id, persona.user_id)",
        subtask="'profile'",
        user_id="key",
        created_at="greatest(profile.cutoff_at, persona.cutoff_at)",
        item_id="profile.item_id",
        given_person="persona.item_id",
        problem="case when persona.item_id is null then 'no_persona' when profile.item_id is null then 'no_profile' end",
    )
    stories = target_columns(
        key="s.item_id || ':' || s.part",
        subtask="'story'",
        user_id="s.user_id",
        created_at="greatest(s.cutoff_at, persona.cutoff_at)",
        item_id="s.item_id",
        part="s.part",
        given_person="persona.item_id",
        problem=f"""case when persona.item_id is null then 'no_persona' when s.summary = '' then 'no_summary'
                         when word_count(s.story) < {MIN_SPLIT_WORDS} then 'too_short' end""",
    )
    return Plan(f"""
        with persona as (select * from profiles where kind = 'persona' and {mine}),
             profile as (select * from profiles where kind = 'profile' and {mine})
        select {profiles} from persona full join profile on profile.user_id = persona.user_id
        union all
        select {stories} from task_stories s left join persona on persona.user_id = s.user_id""")


def render(row: Row, given: Given) -> Rendered:
    """The persona, and for a story its summary and beginning too."""
    if row["subtask"] == "profile":
        answer = row["item_text"].strip()
        return Rendered("tasks/profile_generation", {"persona": row["person_text"], "words": wanted_words(answer)}, answer)
    story = split_text(row["story"], row["sample_id"])
    fields = {
        "persona": row["person_text"],
        "summary": row["summary"],
        "beginning": story.beginning,
        "words": wanted_words(story.rest),
    }
    return Rendered("tasks/story_continuation", fields, story.rest)


TASK = Task(
    tables=("profiles",),
    templates=("tasks/profile_generation", "tasks/story_continuation"),
    plan=plan,
    render=render,
    columns="i.text as item_text, s.summary, s.story",
    joins="left join profiles i on i.item_id = p.item_id left join task_stories s on s.item_id = p.item_id and s.part = p.part",
    more_records="i.record_ids",
)
