"""Which task samples exist: one narrow row per possible sample, with the reason why it is left out, or none.

A plan is made in SQL and holds ids alone; `samples.py` fetches the texts of the kept rows and renders them. Every law about time,
lineage and chance is decided here:

- history is strictly earlier than the target by (created_at, record_id);
- a text about the user (persona, profile, style) is used only when the last record behind it is earlier than the target, and
  never when the target is among its records;
- every choice is a stable hash of the sample's id, the cap per pair too.

Tables read from the connection, with the columns of `humanllm_assets/tables.py`: `records` (filtered), `profiles`, `scenarios`,
`social_qa` (items that passed QC), `comments` (filtered Reddit comments); item selection also reads `catalogue` and `purchases`
(see `create_catalogue`). Only those that the task names are needed.

What does not belong here: rendering of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from humanllm_assets.partitions import parse_pair
from humanllm_assets.tasks.split import MACROS, split_sql
from resources.errors import Explained
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

TABLES_READ: dict[str, tuple[str, ...]] = {
    "profile_generation": ("profiles",),
    "scenario_generation": ("scenarios",),
    "social_qa": ("profiles", "social_qa"),
    "writing_imitation": ("records", "profiles"),
    "personalized_commenting": ("comments", "profiles"),
    "item_selection": ("records", "profiles", "catalogue", "purchases"),
}

MIN_ANSWER_WORDS = 10  # a shorter text says too little of a person to be worth imitating
MIN_SPLIT_WORDS = 40  # a shorter text has no 30-70% split with something to continue

# The words of the topic count as the beginning of the text: what the topic gives away is not part of the answer.
_MACROS = (
    *MACROS,
    r"""create or replace temp macro opening(x) as coalesce(
        nullif(regexp_extract(x, '^\s*((?:\S+\s+){3,24}?\S*[.!?…]["'')\]]*)\s', 1), ''),
        nullif(regexp_extract(x, '^\s*((?:\S+\s+){11}\S+)', 1), ''))""",
    """create or replace temp macro topic_of(source, title, context_title, x) as
        case when source = 'amazon' then nullif(trim(context_title), '')
             else coalesce(nullif(trim(title), ''), opening(x)) end""",
    """create or replace temp macro body_of(topic, x) as
        case when starts_with(ltrim(x), topic) then ltrim(substr(ltrim(x), length(topic) + 1)) else x end""",
    "create or replace temp macro title_key(x) as lower(trim(x))",
)


class MissingTable(Explained):
    """A table that the task reads is not in the connection."""


class _Plan(NamedTuple):
    """SQL of one task.

    target: select of key, subtask, user_id, record_id, created_at, item_id, part, slice, history_ids, given_person, problem.
    kinds: which texts about the user may accompany the target; one of the usable ones is picked by hash.
    person, history: conditions under which the text about the user and the history are shown.
    reason: why a target is left out, after its own `problem`.
    """

    target: str
    kinds: tuple[str, ...] = ()
    person: str = "true"
    history: str = "true"
    reason: str = "null"


def create_catalogue(con: duckdb.DuckDBPyConnection, eligible: str) -> None:
    """Create the views `catalogue(item_id, slice, title)` and `purchases(user_id, item_id)` that item selection reads.

    Args:
        eligible: name of a table or view with the columns of RECORDS, all slices of eligible_amazon. The eligible records, not
            the filtered ones: a purchase counts as one even when its review was not good enough to learn from.
    """
    con.execute(f"""create or replace temp view catalogue as
        select context_id as item_id, slice, arg_min(context_title, record_id) as title
        from {eligible} where context_id is not null and trim(coalesce(context_title, '')) <> '' group by all""")
    con.execute(f"create or replace temp view purchases as select distinct user_id, context_id as item_id from {eligible}")


def make_plan(con: duckdb.DuckDBPyConnection, pair: str, limits: Tasks) -> None:
    """Create the temporary table `task_plan` for one pair.

    Columns: sample_id, subtask, split, user_id, record_id, created_at, item_id, part, slice, person_id, history_ids, reason
    (null = kept). Rows = every possible sample, so that in = kept + dropped by reason.

    Raises:
        UnknownPair: the pair does not exist.
        MissingTable: the connection lacks a table that the task reads.
    """
    task, source = parse_pair(pair)
    missing = [t for t in TABLES_READ[task] if not _exists(con, t)]
    if missing:
        raise MissingTable(
            f"{pair} reads the table(s) {', '.join(missing)}; create them as tables or views in the connection first"
        )
    for macro in _MACROS:
        con.execute(macro)
    site = "reddit" if source == "reddit_comments" else source
    plan = _PLANS[task](con, source, f"{site}/", limits)
    con.execute(f"create or replace temp table task_target as {plan.target}")
    kinds = ", ".join(f"'{k}'" for k in plan.kinds) or "null"
    about = f"(select * from profiles where kind in ({kinds}))" if plan.kinds else None
    person = (
        f"""usable as (
            select t.key, list(p.item_id order by p.item_id) as ids
            from task_target t join {about} p
              on p.user_id = t.user_id and p.cutoff_at < t.created_at
                 and not coalesce(list_contains(p.record_ids, t.record_id), false)
            group by t.key),
        described as (select distinct user_id from {about})"""
        if about
        else "usable as (select null::varchar as key, null::varchar[] as ids), described as (select null::varchar as user_id)"
    )
    cap = limits.max_samples_per_pair
    con.execute(f"""
        create or replace temp table task_plan as
        with {person},
        target as (
            select '{pair}:' || t.subtask || ':' || t.key as sample_id, t.*,
                coalesce(t.given_person, u.ids[1 + stable_int('person|{pair}|' || t.key) % len(u.ids)]) as person_id,
                d.user_id is not null as described
            from task_target t left join usable u on u.key = t.key left join described d on d.user_id = t.user_id),
        judged as (
            select sample_id, subtask, {split_sql("user_id", limits.test_fraction)} as split, user_id, record_id, created_at,
                item_id, part, slice, case when {plan.person} then person_id end as person_id,
                case when {plan.history} then history_ids else []::varchar[] end as history_ids,
                coalesce(problem, {plan.reason}) as reason
            from target)
        select * exclude (place)
            replace (case when reason is null and place > {"place" if cap is None else cap} then 'over_cap' else reason end
                     as reason)
        from (select *, row_number() over (partition by reason is null order by stable_int('cap|' || sample_id), sample_id)
              as place from judged)""")
    con.execute("drop table task_target")


def _exists(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(con.execute("select 1 from information_schema.tables where table_name = ?", [table]).fetchall())


def _profile_generation(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    con.execute(f"""
        create or replace temp table task_stories as
        with parts as (
            select item_id, user_id, cutoff_at, unnest(list_filter(
                string_split_regex(text, '(?:^|\\n)\\s*Summary:\\s*'), lambda x: trim(x) <> '')) as story_text,
                generate_subscripts(list_filter(
                string_split_regex(text, '(?:^|\\n)\\s*Summary:\\s*'), lambda x: trim(x) <> ''), 1)::integer as part
            from profiles where kind = 'stories' and starts_with(user_id, '{users}'))
        select item_id, user_id, cutoff_at, part, trim(regexp_extract(story_text, '(?s)^(.*?)\\n\\s*Story:', 1)) as summary,
            trim(regexp_extract(story_text, '(?s)\\n\\s*Story:\\s*(.*)$', 1)) as story
        from parts""")
    mine = f"starts_with(user_id, '{users}')"
    return _Plan(f"""
        with persona as (select * from profiles where kind = 'persona' and {mine}),
             profile as (select * from profiles where kind = 'profile' and {mine})
        select coalesce(profile.user_id, persona.user_id) as key, 'profile' as subtask, key as user_id,
            null::varchar as record_id, greatest(profile.cutoff_at, persona.cutoff_at) as created_at, profile.item_id,
            null::integer as part, null::varchar as slice, []::varchar[] as history_ids, persona.item_id as given_person,
            case when persona.item_id is null then 'no_persona' when profile.item_id is null then 'no_profile' end as problem
        from persona full join profile on profile.user_id = persona.user_id
        union all
        select s.item_id || ':' || s.part, 'story', s.user_id, null, greatest(s.cutoff_at, persona.cutoff_at), s.item_id, s.part,
            null, [], persona.item_id,
            case when persona.item_id is null then 'no_persona' when s.summary = '' then 'no_summary'
                 when word_count(s.story) < {MIN_SPLIT_WORDS} then 'too_short' end
        from task_stories s left join persona on persona.user_id = s.user_id""")


def _scenario_generation(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    return _Plan(f"""
        select item_id as key, 'plots' as subtask, user_id, record_id, created_at, item_id, null::integer as part,
            null::varchar as slice, []::varchar[] as history_ids, null::varchar as given_person,
            case when trim(background) = '' or trim(characters) = '' then 'empty_field'
                 when word_count(plots) < {MIN_ANSWER_WORDS} then 'too_short' end as problem
        from scenarios where starts_with(user_id, '{users}')""")


def _social_qa(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    return _Plan(
        f"""
        select item_id as key, kind as subtask, user_id, record_id, created_at, item_id, null::integer as part,
            null::varchar as slice, []::varchar[] as history_ids, null::varchar as given_person,
            case when created_at is null then 'no_time'
                 when trim(scenario) = '' or trim(question) = '' or trim(answer) = '' then 'empty_field' end as problem
        from social_qa where starts_with(user_id, '{users}')""",
        kinds=("persona", "profile"),
        reason="case when not described then 'no_persona' when person_id is null then 'not_after_cutoff' end",
    )


def _writing_imitation(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    return _Plan(
        f"""
        with mine as (
            select record_id, user_id, created_at, word_count(text) as words,
                topic_of(source, title, context_title, text) as topic, word_count(body_of(topic, text)) as body_words
            from records where source = '{source}'),
        earlier as (
            select record_id, coalesce(list(record_id) over (partition by user_id order by created_at, record_id
                rows between {limits.writing_history} preceding and 1 preceding), []) as history_ids
            from records where source = '{source}' and created_at is not null)
        select m.record_id as key,
            case when words >= {MIN_SPLIT_WORDS} and stable_unit('writing|' || m.record_id) < 0.5 then 'continuation'
                 else 'by_topic' end as subtask,
            user_id, m.record_id, created_at, null::varchar as item_id, null::integer as part, null::varchar as slice,
            coalesce(e.history_ids, []) as history_ids, null::varchar as given_person,
            case when created_at is null then 'no_time'
                 when subtask = 'by_topic' and topic is null then 'no_topic'
                 when subtask = 'by_topic' and body_words < {MIN_ANSWER_WORDS} then 'too_short' end as problem
        from mine m left join earlier e on e.record_id = m.record_id""",
        kinds=("style",),
        person="len(history_ids) = 0 or stable_unit('style|' || sample_id) < 0.5",
        history="person_id is null or (len(history_ids) > 0 and stable_unit('style|' || sample_id) >= 0.5)",
        reason="case when len(history_ids) = 0 and person_id is null then 'no_history_or_style' end",
    )


def _personalized_commenting(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    return _Plan(
        f"""
        with earlier as (
            select record_id, coalesce(list(record_id) over (partition by user_id order by created_at, record_id
                rows between {limits.max_comments} preceding and 1 preceding), []) as ids
            from comments where created_at is not null)
        select c.record_id as key, 'comment' as subtask, user_id, c.record_id, created_at, null::varchar as item_id,
            null::integer as part, null::varchar as slice,
            list_slice(coalesce(ids, []), -1 - (stable_int('comments|' || c.record_id) % {limits.max_comments}), -1)
                as history_ids,
            null::varchar as given_person,
            case when created_at is null then 'no_time'
                 when trim(coalesce(context_title, '') || coalesce(context_text, '')) = '' then 'no_post'
                 when len(coalesce(ids, [])) = 0 then 'no_history' end as problem
        from comments c left join earlier e on e.record_id = c.record_id""",
        kinds=("persona", "profile"),
    )


def _item_selection(con: duckdb.DuckDBPyConnection, source: str, users: str, limits: Tasks) -> _Plan:
    # Items with one title are one candidate: variants of a product would make the question undecidable.
    con.execute(f"""
        create or replace temp table task_catalogue as
        select slice, title_key(c.title) as title_key, min(c.item_id) as item_id, arg_min(c.title, c.item_id) as title,
            count(distinct p.user_id) filter (where {split_sql("p.user_id", limits.test_fraction)} = 'train')::integer
                as popularity
        from catalogue c left join purchases p on p.item_id = c.item_id
        group by slice, title_key(c.title)""")
    con.execute("""
        create or replace temp table task_bought as
        select p.user_id, c.slice, list(distinct title_key(c.title)) as title_keys
        from purchases p join catalogue c on c.item_id = p.item_id group by p.user_id, c.slice""")
    return _Plan(
        f"""
        with size as (select slice, count(*) as titles from task_catalogue group by slice),
        earlier as (
            select record_id, coalesce(list(record_id) over (partition by user_id order by created_at, record_id
                rows between {limits.max_history} preceding and 1 preceding), []) as ids
            from records where source = '{source}' and created_at is not null and trim(coalesce(context_title, '')) <> '')
        select r.record_id as key, stable_unit('item_selection|' || r.record_id) as draw,
            case when draw < 0.15 then 'persona' when draw < 0.65 then 'history' else 'persona_and_history' end as subtask,
            r.user_id, r.record_id, created_at, null::varchar as item_id, null::integer as part, r.slice,
            coalesce(ids, []) as history_ids, null::varchar as given_person,
            case when created_at is null then 'no_time'
                 when c.title is null then 'not_in_catalogue'
                 when coalesce(titles, 0) - coalesce(len(title_keys), 0)
                      - (not coalesce(list_contains(title_keys, title_key(c.title)), false))::integer
                      < {limits.candidates - 1} then 'too_few_candidates' end as problem
        from records r left join earlier e on e.record_id = r.record_id left join size on size.slice = r.slice
            left join catalogue c on c.item_id = r.context_id and c.slice = r.slice
            left join task_bought b on b.user_id = r.user_id and b.slice = r.slice
        where r.source = '{source}'""",
        kinds=("persona", "profile"),
        person="subtask <> 'history'",
        history="subtask <> 'persona'",
        reason="""case when subtask <> 'history' and not described then 'no_persona'
                       when subtask <> 'history' and person_id is null then 'not_after_cutoff'
                       when subtask <> 'persona' and len(history_ids) = 0 then 'no_history' end""",
    )


_PLANS = {
    "profile_generation": _profile_generation,
    "scenario_generation": _scenario_generation,
    "social_qa": _social_qa,
    "writing_imitation": _writing_imitation,
    "personalized_commenting": _personalized_commenting,
    "item_selection": _item_selection,
}
