"""Items of one kind and their damaged copies, scored by the judge as every item is: same prompts, same code, same thresholds.

The originals are asked as they stand, so their first scores are the journal's where they were judged before. The repeat has another
seed, because a journal answers an equal question with the same answer.

What belongs here: which items are taken, how copies become tables, asking. What does not: the damage (`damage.py`), what the scores
say (`calibration.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from humanllm_assets.asking.questions import Log, Row, Tally, Write
from humanllm_assets.quality.calibration import NEWEST_FIRST, ORIGINAL, REPEAT
from humanllm_assets.quality.damage import DAMAGES, Others, Parts, applicable, damaged
from humanllm_assets.quality.item_texts import ITEM_TEXTS
from humanllm_assets.quality.judge import judge_items
from humanllm_assets.sql import literal, read_rows

if TYPE_CHECKING:
    import duckdb

    from resources.item_kinds import ItemKind
    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Calibration, Qc

REPEAT_SEED = 1_000_003  # added to the role's seed; attempts after bad answers add a few
_LOOKED_AT = 50  # items from which another user's is taken, besides the chosen ones

# What the judge reads of an item, by kind: the table it looks in, the parts, and the other columns. Kinds about users share the first.
_USER_TEXT = ("profile_items", ("text",), ("item_id", "kind", "user_id", "record_ids"))
_SHAPES = {
    "scenario": ("scenario_items", ("background", "characters", "plots"), ("item_id", "user_id", "record_id")),
    "qa": ("qa_items", ("scenario", "question", "answer"), ("item_id", "user_id", "record_id")),
}


class _Item(NamedTuple):
    row: Row
    parts: Parts


class _Copy(NamedTuple):
    """An item as the judge is shown it. `other_item_id`: whose text stands in it."""

    item: _Item
    damage: str
    parts: Parts
    other_item_id: str | None


def judge_copies(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    kind: ItemKind,
    prompt: Prompt,
    calibration: Calibration,
    qc: Qc,
    write: Write,
    log: Log,
) -> Tally:
    """Let the judge score originals and damaged copies of items of one kind, from the table `written` and its `records`.

    The items are the first by a hash of their ids, so that a new item changes few of them. Of each come: the original twice, the
    original with its records in the opposite order where it has several, and `calibration.copies` damaged copies, in turn over the
    kinds of damage that the item kind can take. Writes `scores`, a row of CALIBRATION_SCORES per copy and metric, and `failures`.
    `Tally` counts copies; a kind of damage for which an item has no place is no copy.
    """
    chosen, pool = _choose(con, kind, calibration.items)
    copies = [c for number, item in enumerate(chosen) for c in _copies_of(con, kind, item, number, pool, calibration.copies)]
    originals = [_Copy(item, ORIGINAL, item.parts, None) for item in chosen]
    counts = Tally()

    def ask(shown: Sequence[_Copy], role: Role, damage: str = "", newest_first: bool = False) -> None:
        by_id = {_copy_id(c, damage): c for c in shown}

        def take(table: str, rows: list[Row]) -> None:
            if table != "scores":
                return write(table, rows)
            answered = [(by_id[r["item_id"]], r) for r in rows if r["dropped_by"] != "unanswered"]
            write("scores", [_score_row(c, damage or c.damage, kind, m, r[m]) for c, r in answered for m in kind.metrics])

        _fill(con, kind, by_id)
        found = judge_items(con, engine, role, {kind.name: prompt}, qc, take, log, newest_first=newest_first)
        unanswered = found.dropped["unanswered"]
        counts.rows_in += found.rows_in
        counts.kept += found.rows_in - unanswered
        counts.dropped["unanswered"] += unanswered
        counts.cut_texts += found.cut_texts
        counts.add_requests(found)

    if chosen:
        ask([*originals, *copies], role)
        ask(originals, role.model_copy(update={"seed": role.seed + REPEAT_SEED}), REPEAT)
        ask(originals, role, NEWEST_FIRST, newest_first=True)
    return counts.check()


def _copy_id(copy: _Copy, damage: str) -> str:
    """An original keeps its id at first. A copy names whose text stands in it, so that a takedown finds the answer about it: the judge
    may quote that text."""
    item_id, name = copy.item.row["item_id"], damage or copy.damage
    return item_id if name == ORIGINAL else "~".join([item_id, name, *([copy.other_item_id] if copy.other_item_id else [])])


def left_out(kind: ItemKind) -> list[str]:
    """Names of the kinds of damage that an item kind cannot take."""
    _, parts, _ = _shape(kind)
    return [name for name in DAMAGES if name not in applicable(dict.fromkeys(parts, ""))]


def _shape(kind: ItemKind) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return _USER_TEXT if kind.about_user else _SHAPES[kind.name]


def _choose(con: duckdb.DuckDBPyConnection, kind: ItemKind, wanted: int) -> tuple[list[_Item], list[_Item]]:
    """The items to copy, and those among which another user's is looked for."""
    pool = _read(con, kind, f"true order by md5(item_id), item_id limit {wanted + _LOOKED_AT}") if wanted else []
    return pool[:wanted], pool


def _read(con: duckdb.DuckDBPyConnection, kind: ItemKind, where: str) -> list[_Item]:
    _, parts, columns = _shape(kind)
    of_kind = f"kind = {literal(kind.name)} and " if kind.about_user else ""
    rows = list(read_rows(con, f"select {', '.join((*columns, *parts))} from written where {of_kind}{where}"))
    return [_Item({c: r[c] for c in columns}, {p: r[p] for p in parts}) for r in rows]


def _copies_of(
    con: duckdb.DuckDBPyConnection, kind: ItemKind, item: _Item, number: int, pool: list[_Item], wanted: int | None
) -> list[_Copy]:
    start = pool.index(item) + 1
    user = next((o for o in pool[start:] + pool[:start] if o.row["user_id"] != item.row["user_id"]), None)
    question = _other_question(con, kind, item)
    others = Others(user.parts if user else None, question.parts if question else None)
    names = applicable(item.parts)
    count = min(wanted or len(names), len(names))
    found = []
    for name in (names[(number * count + i) % len(names)] for i in range(count)):
        parts = damaged(name, item.row["item_id"], item.parts, others)
        if parts is not None:
            other = {"swapped_facts": user, "flipped_answer": question}.get(name)
            found.append(_Copy(item, name, parts, other.row["item_id"] if other else None))
    return found


def _other_question(con: duckdb.DuckDBPyConnection, kind: ItemKind, item: _Item) -> _Item | None:
    if "question" not in item.parts:
        return None
    record, own = literal(item.row["record_id"]), literal(item.row["item_id"])
    found = _read(con, kind, f"record_id = {record} and item_id <> {own} order by item_id limit 1")
    return found[0] if found else None


def _fill(con: duckdb.DuckDBPyConnection, kind: ItemKind, copies: dict[str, _Copy]) -> None:
    """Make the one table in which the judge finds items hold these copies."""
    table, parts, columns = _shape(kind)
    for name in ITEM_TEXTS:
        con.execute(f"drop table if exists {name}")
    con.execute(f"create table {table} as select {', '.join((*columns, *parts))} from written limit 0")
    rows: list[list[Any]] = [
        [item_id, *(c.item.row[name] for name in columns[1:]), *(c.parts[p] for p in parts)] for item_id, c in copies.items()
    ]
    con.executemany(f"insert into {table} values ({', '.join('?' * (len(columns) + len(parts)))})", rows)


def _score_row(copy: _Copy, damage: str, kind: ItemKind, metric: str, score: int) -> Row:
    row = copy.item.row
    return {
        "score_id": f"{row['item_id']} {damage} {metric}",
        "item_id": row["item_id"],
        "item_kind": kind.name,
        "user_id": row["user_id"],
        "record_id": row.get("record_id"),
        "damage": damage,
        "other_item_id": copy.other_item_id,
        "n_chars": sum(map(len, copy.parts.values())),
        "metric": metric,
        "score": score,
    }
