"""T6: which of 20 items the person bought, from a text about the person, from earlier purchases, or from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from humanllm_assets.sql import literal
from humanllm_assets.tasks.labels import LABELS
from humanllm_assets.tasks.split import split_sql, stable_int, stable_shuffle
from humanllm_assets.tasks.targets import select_earlier, target_columns
from humanllm_assets.tasks.task import Given, Plan, Rendered, Row, Task
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

_FEW = 50  # a pool smaller than this many times the wanted number is ordered as a whole instead of drawn from


def plan(con: duckdb.DuckDBPyConnection, source: str, limits: Tasks) -> Plan:
    """One target per review of an item that has a title."""
    _create_catalogue(con, limits)
    shown = f"source = {literal(source)} and trim(coalesce(context_title, '')) <> ''"
    columns = target_columns(
        key="r.record_id",
        subtask="""case when stable_unit('item_selection|' || r.record_id) < 0.15 then 'persona'
                        when stable_unit('item_selection|' || r.record_id) < 0.65 then 'history'
                        else 'persona_and_history' end""",
        user_id="r.user_id",
        record_id="r.record_id",
        slice_="r.slice",
        history_ids="coalesce(ids, [])",
        problem=f"""case when created_at is null then 'no_time'
                         when c.title is null then 'not_in_catalogue'
                         when coalesce(titles, 0) - coalesce(len(title_keys), 0)
                              - (not coalesce(list_contains(title_keys, title_key(c.title)), false))::integer
                              < {limits.candidates - 1} then 'too_few_candidates' end""",
    )
    return Plan(
        f"""
        with size as (select slice, count(*) as titles from task_catalogue group by slice),
        earlier as ({select_earlier("records", limits.max_history, shown)})
        select {columns}
        from records r left join earlier e on e.record_id = r.record_id left join size on size.slice = r.slice
            left join task_titles c on c.item_id = r.context_id and c.slice = r.slice
            left join task_bought b on b.user_id = r.user_id and b.slice = r.slice
        where r.source = {literal(source)}""",
        person="subtask <> 'history'",
        history="subtask <> 'persona'",
        reason="""case when subtask <> 'history' and not described then 'no_persona'
                       when subtask <> 'history' and person_id is null then 'not_after_cutoff'
                       when subtask <> 'persona' and len(history_ids) = 0 then 'no_history' end""",
    )


def _create_catalogue(con: duckdb.DuckDBPyConnection, limits: Tasks) -> None:
    """What can be bought and who bought it, from the eligible records, not the filtered ones: a purchase counts as one even when
    its review was not good enough to learn from.

    Temporary: `task_titles` (item_id, slice, title), `task_catalogue` (slice, title_key, item_id, title, popularity: users of the
    training split who bought it), `task_bought` (user_id, slice, title_keys). Items with one title are one candidate: variants of
    a product would make the question undecidable.
    """
    con.execute("create or replace temp macro title_key(x) as lower(trim(x))")
    con.execute("""create or replace temp view task_titles as
        select context_id as item_id, slice, arg_min(context_title, record_id) as title
        from eligible where context_id is not null and trim(coalesce(context_title, '')) <> '' group by all""")
    con.execute("""create or replace temp view task_purchases as
        select distinct user_id, context_id as item_id from eligible""")
    con.execute(f"""
        create or replace temp table task_catalogue as
        select slice, title_key(c.title) as title_key, min(c.item_id) as item_id, arg_min(c.title, c.item_id) as title,
            count(distinct p.user_id) filter (where {split_sql("p.user_id", limits.test_fraction)} = 'train')::integer
                as popularity
        from task_titles c left join task_purchases p on p.item_id = c.item_id
        group by slice, title_key(c.title)""")
    con.execute("""
        create or replace temp table task_bought as
        select p.user_id, c.slice, list(distinct title_key(c.title)) as title_keys
        from task_purchases p join task_titles c on c.item_id = p.item_id group by p.user_id, c.slice""")


class Candidate(NamedTuple):
    """An item of the catalogue."""

    item_id: str
    title: str
    title_key: str
    popularity: int
    """Users of the training split who bought it."""


@dataclass(frozen=True)
class Pool:
    """The candidates of one category."""

    items: list[Candidate]
    by_key: dict[str, Candidate]


def read_pools(con: duckdb.DuckDBPyConnection) -> dict[str, Pool]:
    """The candidates by category."""
    items: dict[str, list[Candidate]] = {}
    sql = "select slice, item_id, title, title_key, popularity from task_catalogue order by slice, item_id"
    for slice_, *candidate in con.execute(sql).fetchall():
        items.setdefault(slice_, []).append(Candidate(*candidate))
    return {slice_: Pool(candidates, {c.title_key: c for c in candidates}) for slice_, candidates in items.items()}


def draw_negatives(pool: Sequence[Candidate], banned: set[str], count: int, seed: str) -> list[Candidate]:
    """`count` different items of the pool, at random by the seed, none with a banned title key.

    Raises:
        ValueError: the pool is too small; the plan drops such samples as `too_few_candidates`.
    """
    if len(pool) <= _FEW * count:
        allowed = (c for c in pool if c.title_key not in banned)
        chosen = stable_shuffle(allowed, "negatives", seed, key=lambda c: c.item_id)[:count]
        if len(chosen) < count:
            raise ValueError(f"{seed} needs {count} other items, its category has {len(chosen)}")
        return chosen
    taken: dict[str, Candidate] = {}
    draw = 0
    while len(taken) < count:
        item = pool[stable_int("negatives", seed, draw) % len(pool)]
        draw += 1
        if item.title_key not in banned:
            taken.setdefault(item.title_key, item)
    return list(taken.values())


def render(row: Row, given: Given) -> Rendered:
    """The person, the earlier purchases and the candidates in seeded order."""
    pool, sample_id = given.pools[row["slice"]], row["sample_id"]
    bought = pool.by_key[row["title_key"]]
    banned = {*row["bought_keys"], bought.title_key}
    negatives = draw_negatives(pool.items, banned, given.limits.candidates - 1, sample_id)
    order = stable_shuffle([bought, *negatives], "order", sample_id, key=lambda c: c.item_id)
    options = [
        {"id": label, "text": " ".join(c.title.split()), "item_id": c.item_id, "popularity": c.popularity}
        for label, c in zip(LABELS, order, strict=False)
    ]
    titles = [" ".join(h["title"].split()) for h in row["history"]]
    fields = {"persona": row["person_text"], "history": titles, "options": options}
    return Rendered("tasks/item_selection", fields, LABELS[order.index(bought)], options)


TASK = Task(
    tables=("records", "profiles", "eligible"),
    templates=("tasks/item_selection",),
    plan=plan,
    render=render,
    person="person",
    records="records",
    history="context_title",
    columns="title_key(c.title) as title_key, coalesce(b.title_keys, []) as bought_keys",
    joins="join task_titles c on c.item_id = r.context_id and c.slice = p.slice "
    "left join task_bought b on b.user_id = p.user_id and b.slice = p.slice",
    read_pools=read_pools,
)
