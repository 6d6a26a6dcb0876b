"""Which judged items people score (Q5): a stratified draw, with the records that each item was made from.

What belongs here: drawing. What does not: the sheet that people fill in (`human_sheet.py`, `humanllm_assets/pages/human_sheet.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from humanllm_assets.asking.record_text import record_text
from humanllm_assets.quality.human_sheet import DrawnItem
from humanllm_assets.quality.judge import MissingRecords
from humanllm_assets.sql import literal, parquet
from resources.item_kinds import USER_TEXTS

if TYPE_CHECKING:
    import duckdb

PROFILE_FAMILY = "profile"  # of all texts about a user; any other item kind is a family of its own


def draw_items(con: duckdb.DuckDBPyConnection, records: Mapping[str, Sequence[Path]], wanted: int, seed: int) -> list[DrawnItem]:
    """Draw from the view `judged` (`judged_items.py`), in an order that tells nothing.

    A stratum is a source, a family of kinds (texts about users, scenarios, questions), and the judge's verdict. Strata give one item
    in turn until there are enough, so that each has as many as any other, or all that it has; in the family of texts about users the
    kinds take turns likewise. Within a kind, and in the last round, the SHA-256 of seed and item id decides: neither the order of rows
    nor other items change an item's place.

    Args:
        records: files of the filtered records, by source.

    Raises:
        MissingRecords: a record that an item names is in none of the files.
    """
    about_user = ", ".join(literal(kind.name) for kind in USER_TEXTS)
    con.execute(f"""
        create or replace temp table drawn as
        with hashed as (
            select *, sha256({seed} || '/' || item_id) as hash,
                   case when item_kind in ({about_user}) then '{PROFILE_FAMILY}' else item_kind end as family
            from judged),
        by_kind as (
            select *, row_number() over (partition by source, family, kept, item_kind order by hash) as place_in_kind from hashed),
        by_stratum as (
            select *, row_number() over (partition by source, family, kept order by place_in_kind, hash) as place from by_kind)
        from by_stratum order by place, hash limit {wanted}""")
    texts: dict[str, list[str]] = {}
    for source, files in records.items():
        # A cursor sees no temporary table, so the connection itself is read; a record that several slices hold is taken once.
        found = con.execute(f"""
            with wanted as (select item_id, unnest(record_ids) as record_id from drawn where source = {literal(source)}),
                 known as (select * from {parquet(files, "union_by_name")}
                           qualify row_number() over (partition by record_id order by slice) = 1)
            select w.item_id, w.record_id as wanted_id, k.* from wanted w left join known k using (record_id)
            order by w.item_id, k.created_at, w.record_id""")
        names = [column[0] for column in found.description or ()]
        for values in found.fetchall():
            row = dict(zip(names, values, strict=True))
            if row["text"] is None:
                raise MissingRecords(
                    f"{row['item_id']} was made from {row['wanted_id']}, which filtered_{source} does not hold; materialize qc_scores again"
                )
            texts.setdefault(row["item_id"], []).append(record_text(row))
    drawn = con.execute("select item_id, text_version, source, item_kind, text from drawn order by hash").fetchall()
    return [DrawnItem(*row, records=texts[row[0]]) for row in drawn]


class Stratum(NamedTuple):
    """How many items of a source, family and verdict there are, and how many were drawn."""

    source: str
    family: str
    kept: bool
    judged: int
    drawn: int


def count_strata(con: duckdb.DuckDBPyConnection) -> list[Stratum]:
    """What `draw_items` took from which stratum."""
    about_user = ", ".join(literal(kind.name) for kind in USER_TEXTS)
    family = f"case when item_kind in ({about_user}) then '{PROFILE_FAMILY}' else item_kind end"
    rows = con.execute(f"""
        select source, {family} as family, kept, count(*), count(*) filter (item_id in (select item_id from drawn))
        from judged group by all order by all""").fetchall()
    return [Stratum(*row) for row in rows]
