"""Which task samples exist: one narrow row per possible sample, with the reason why it is left out, or none.

A plan is made in SQL and holds ids alone; `samples.py` fetches the texts of the kept rows and renders them. Every law about time,
lineage and chance that the tasks share is decided here:

- history is strictly earlier than the target by (created_at, record_id);
- a text about the user (persona, profile, style) is used only when the last record behind it is earlier than the target, and
  never when the target is among its records;
- every choice is a stable hash of the sample's id, the cap per pair too.

What does not belong here: the targets of one task (the module of its name), rendering of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.partitions import parse_pair
from humanllm_assets.sql import literal
from humanllm_assets.tasks.split import MACROS, split_sql
from humanllm_assets.tasks.task import Plan, Task
from resources.errors import Explained
from resources.profile import site_of
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb


class MissingTable(Explained):
    """A table that the task reads is not in the connection."""


# ---- pieces of a task's own SQL --------------------------------------------------------------------------------------


def target_columns(
    *,
    key: str,
    subtask: str,
    user_id: str = "user_id",
    record_id: str = "null::varchar",
    created_at: str = "created_at",
    item_id: str = "null::varchar",
    part: str = "null::integer",
    slice_: str = "null::varchar",
    history_ids: str = "[]::varchar[]",
    given_person: str = "null::varchar",
    problem: str,
) -> str:
    """Select list of a task's targets from one SQL expression per column; an expression may name the columns before it.

    Args:
        key: unique in its pair and subtask.
        subtask: variant of the task.
        user_id: whose sample it is.
        record_id: the target, when it is a record.
        created_at: its time.
        item_id: synthesized item that the target is made of.
        part: number of the part of that item.
        slice_: slice of the target.
        history_ids: earlier records that may be shown, oldest first.
        given_person: item about the user that is shown whatever else there is.
        problem: why it can be no sample, or null.
    """
    return f"""{key} as key, {subtask} as subtask, {user_id} as user_id, {record_id} as record_id, {created_at} as created_at,
        {item_id} as item_id, {part} as part, {slice_} as slice, {history_ids} as history_ids, {given_person} as given_person,
        {problem} as problem"""


def select_earlier(table: str, most: int, condition: str) -> str:
    """Select of record_id and ids: the `most` records of the same user before each record that meets the condition."""
    return f"""
        select record_id, coalesce(list(record_id) over (partition by user_id order by created_at, record_id
            rows between {most} preceding and 1 preceding), []) as ids
        from {table} where created_at is not null and {condition}"""


def is_of_site(source: str) -> str:
    """Condition that a user belongs to the source's site."""
    return f"starts_with(user_id, {literal(site_of(source) + '/')})"


# ---- the plan --------------------------------------------------------------------------------------------------------


def plan_targets(con: duckdb.DuckDBPyConnection, task: Task, pair: str, limits: Tasks) -> None:
    """Create the temporary table `task_plan` for one pair.

    Columns: sample_id, subtask, split, user_id, record_id, created_at, item_id, part, slice, person_id, history_ids, reason
    (null = kept). Rows = every possible sample, so that in = kept + dropped by reason.

    Raises:
        MissingTable: the connection lacks a table that the task reads.
    """
    missing = [t for t in task.tables if not _exists(con, t)]
    if missing:
        raise MissingTable(
            f"{pair} reads the table(s) {', '.join(missing)}; create them as tables or views in the connection first"
        )
    for macro in MACROS:
        con.execute(macro)
    plan = task.plan(con, parse_pair(pair)[1], limits)
    con.execute(f"create or replace temp table task_target as {plan.target}")
    con.execute(f"""
        create or replace temp table task_plan as
        with about as ({_select_about(task.person_kinds)}),
             usable as ({_SELECT_USABLE}),
             described as (select distinct user_id from about),
             target as ({_choose_person(pair)}),
             judged as ({_judge(plan, limits)}),
             placed as ({_SELECT_PLACED})
        {_drop_over_cap(limits.max_samples_per_pair)}""")
    con.execute("drop table task_target")


def _exists(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(con.execute("select 1 from information_schema.tables where table_name = ?", [table]).fetchall())


def _select_about(kinds: tuple[str, ...]) -> str:
    """The texts about users that may accompany a target."""
    columns = "item_id, user_id, cutoff_at, record_ids"
    if not kinds:
        return f"""select {columns} from (select null::varchar as item_id, null::varchar as user_id, null::timestamp as cutoff_at,
            null::varchar[] as record_ids) where false"""
    return f"select {columns} from profiles where kind in ({', '.join(map(literal, kinds))})"


_SELECT_USABLE = """
    select t.key, list(a.item_id order by a.item_id) as ids
    from task_target t join about a
      on a.user_id = t.user_id and a.cutoff_at < t.created_at and not coalesce(list_contains(a.record_ids, t.record_id), false)
    group by t.key"""
"""For each target the texts about its user that are earlier than it and were not written from it."""


def _choose_person(pair: str) -> str:
    """The targets with their sample id, the text about the user (one of the usable ones, by hash), and whether there is any."""
    return f"""
        select {literal(pair + ":")} || t.subtask || ':' || t.key as sample_id, t.*,
            coalesce(t.given_person, u.ids[1 + stable_int({literal(f"person|{pair}|")} || t.key) % len(u.ids)]) as person_id,
            d.user_id is not null as described
        from task_target t left join usable u on u.key = t.key left join described d on d.user_id = t.user_id"""


def _judge(plan: Plan, limits: Tasks) -> str:
    """The targets with their split, what is shown of the person, and the reason why they are left out."""
    return f"""
        select sample_id, subtask, {split_sql("user_id", limits.test_fraction)} as split, user_id, record_id, created_at,
            item_id, part, slice, case when {plan.person} then person_id end as person_id,
            case when {plan.history} then history_ids else []::varchar[] end as history_ids,
            coalesce(problem, {plan.reason}) as reason
        from target"""


_SELECT_PLACED = """
    select *, row_number() over (partition by reason is null order by stable_int('cap|' || sample_id), sample_id) as place
    from judged"""
"""The targets with their place in the order by hash in which the cap takes them."""


def _drop_over_cap(cap: int | None) -> str:
    if cap is None:
        return "select * exclude (place) from placed"
    return f"""
        select * exclude (place)
            replace (case when reason is null and place > {cap} then 'over_cap' else reason end as reason)
        from placed"""
