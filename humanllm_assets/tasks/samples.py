"""The task data sets (T1-T7): rows of `samples`, rendered from a plan, in ShareGPT form.

A sample is one human turn and one answer, without system message. `fields` of a test sample keeps what its prompt was rendered
from, so that a benchmark can ask the same question without the person, or with another one.

What belongs here: texts of kept rows, accounting. Which samples exist is decided in `targets.py` and by the task, how one reads by
the task (the module of its name).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from humanllm_assets.lineage.manifests import Counts
from humanllm_assets.partitions import parse_pair
from humanllm_assets.tasks.rendering import render_fields
from humanllm_assets.tasks.targets import plan_targets
from humanllm_assets.tasks.task import Given, Row, Task, load_task
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb


def plan_samples(con: duckdb.DuckDBPyConnection, pair: str, limits: Tasks) -> Counts:
    """Decide which samples of one pair exist; must run before `build_samples` and `dropped_samples`.

    Args:
        con: holds the tables that the task names. Temporary tables `task_*` are replaced.
        pair: key such as `item_selection-amazon`.
        limits: thresholds `tasks` of the profile.

    Returns:
        how many samples were possible, kept and left out.

    Raises:
        UnknownPair: the pair does not exist.
        MissingTable: the connection lacks a table that the task reads.
    """
    task, _ = parse_pair(pair)
    plan_targets(con, load_task(task), pair, limits)
    rows = con.execute("select reason, count(*) from task_plan group by reason order by reason").fetchall()
    dropped = {reason: n for reason, n in rows if reason is not None}
    kept = sum(n for reason, n in rows if reason is None)
    return Counts(entered=kept + sum(dropped.values()), kept=kept, dropped=dropped)


def dropped_samples(con: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    """Rows sample_id, user_id, record_id, reason of the planned pair's samples that were left out."""
    yield from _stream(
        con, "select sample_id, user_id, record_id, reason from task_plan where reason is not null order by sample_id"
    )


def build_samples(con: duckdb.DuckDBPyConnection, pair: str, limits: Tasks) -> Iterator[Row]:
    """Rows of `samples` for the planned pair, ordered by sample_id, a few at a time.

    The connection is busy until the iterator is exhausted. Columns: those of SAMPLES in `humanllm_assets/tables.py`.

    Raises:
        RuntimeError: the task was rendered with a template that it does not declare, so that its identity lacks it.
    """
    name, source = parse_pair(pair)
    task = load_task(name)
    given = Given(source, limits, task.read_pools(con) if task.read_pools else None, task.text_kind_of(source))
    for row in _stream(con, _select_kept(task)):
        rendered = task.render(row, given)
        if rendered.template not in task.templates:
            raise RuntimeError(f"the task `{name}` is rendered with {rendered.template}, which its `templates` do not name")
        fields = {"template": rendered.template, **rendered.fields}
        turns = [{"from": "human", "value": render_fields(fields)}, {"from": "gpt", "value": rendered.answer}]
        records = {row["record_id"], *row["history_ids"], *(row["person_records"] or ()), *(row["more_records"] or ())} - {None}
        yield {
            "sample_id": row["sample_id"],
            "task": name,
            "source": source,
            "subtask": row["subtask"],
            "split": row["split"],
            "user_id": row["user_id"],
            "conversations": _json(turns),
            "target_record_id": row["record_id"],
            "record_ids": sorted(records),
            "item_ids": sorted({row["item_id"], row["person_id"]} - {None}),
            "answer": rendered.answer,
            "options": None if rendered.options is None else _json(rendered.options),
            "created_at": row["created_at"],
            "fields": _json(fields) if row["split"] == "test" else None,
        }


def _select_kept(task: Task) -> str:
    """The kept rows of the plan with the texts that the task's renderer reads."""
    person, join_person = "null as person_text, null as person_records", ""
    if "profiles" in task.tables:
        person = "u.text as person_text, u.record_ids as person_records"
        join_person = "left join profiles u on u.item_id = p.person_id"
    past, history, join_history, join_target = "", "[] as history", "", ""
    if task.records:
        past = f"with past as ({_select_history(task.records, task.history)})"
        history, join_history = "coalesce(past.history, []) as history", "left join past on past.sample_id = p.sample_id"
        join_target = f"join {task.records} r on r.record_id = p.record_id"
    return f"""{past}
        select p.*, {person}, {history}, {task.more_records} as more_records, {task.columns}
        from task_plan p {join_target} {join_person} {join_history} {task.joins}
        where p.reason is null order by p.sample_id"""


def _select_history(table: str, column: str) -> str:
    """The earlier records of each kept sample, oldest first, as structs with the one field `text` or `title`."""
    field = "title" if column == "context_title" else "text"
    return f"""
        select sample_id, list(struct_pack({field} := h.{column}) order by h.created_at, h.record_id) as history
        from (select sample_id, unnest(history_ids) as record_id from task_plan where reason is null) x
        join {table} h on h.record_id = x.record_id group by sample_id"""


def _stream(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Row]:
    cursor = con.execute(sql)
    names = [d[0] for d in cursor.description or ()]
    while rows := cursor.fetchmany(500):
        for values in rows:
            yield dict(zip(names, values, strict=True))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
