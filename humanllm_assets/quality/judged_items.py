"""Every item that the judge gave a verdict on, with its text: what people score too (Q5).

What belongs here: finding the items. What does not: which of them people get (`human_sample.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.quality.item_texts import ITEM_ASSETS, ITEM_TEXTS
from humanllm_assets.sql import literal, parquet, read_rows
from resources.item_kinds import METRICS
from resources.thresholds import STOPPED_BY

if TYPE_CHECKING:
    import duckdb

Files = Mapping[str, Mapping[str, Path]]  # by asset, then source: the file of its main table


def find_judged(con: duckdb.DuckDBPyConnection, files: Files) -> None:
    """Create the view `judged`: source, item_id, item_kind, user_id, record_id, text, text_version, record_ids, the judge's scores by
    metric, kept.

    An item that no judge was asked about, or gave no valid answer about, is left out: there is no verdict to compare with. `text_version` is the beginning
    of the SHA-256 of the text: the same item written anew has another one.

    Args:
        files: of qc_scores, and of user_profiles, scenarios and social_qa where the source has them.
    """
    scores = " union all by name ".join(
        f"select {literal(source)} as source, * from {parquet([file])}" for source, file in files["qc_scores"].items()
    )
    con.execute(f"create view judge_scores as {scores}")
    texts = []
    for table, asset in ITEM_ASSETS.items():
        if asset in files:
            con.execute(f"create view {table} as select * from {parquet(files[asset].values(), 'union_by_name')}")
            texts.append(ITEM_TEXTS[table])
    con.execute(f"""
        create view judged as
        select s.source, s.item_id, s.item_kind, s.user_id, s.record_id, t.text, sha256(t.text)[:16] as text_version, t.record_ids,
               {", ".join(f"s.{m}" for m in METRICS)}, s.kept
        from judge_scores s join ({" union all by name ".join(texts)}) t using (item_id)
        where coalesce(s.dropped_by, '') <> 'unanswered' and not starts_with(coalesce(s.dropped_by, ''), {literal(STOPPED_BY)})""")


def verdicts(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """The rows of `judged` without their texts, by item id."""
    return {row["item_id"]: row for row in read_rows(con, "select * exclude (text, record_ids) from judged")}
