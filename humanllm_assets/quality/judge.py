"""Q1-Q4: an LLM scores every synthesized item against the records it was made from (paper, section 2.3 and appendix A.3).

Which metrics apply to which kind (Q2) is declared with the kind (`resources/item_kinds.py`): the schemas of the replies, and so the
verdicts, and the contract are made from it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, create_model

from humanllm_assets.asking.questions import Failed, Log, Question, Row, Sink, Tally, Write, replies
from humanllm_assets.asking.record_text import record_text
from humanllm_assets.asking.texts import ShownRecords, records_text
from humanllm_assets.quality.item_texts import ITEM_TEXTS
from humanllm_assets.quality.keeping import first_failing
from humanllm_assets.sql import read_rows
from resources.errors import Explained
from resources.item_kinds import METRICS

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Qc


class MissingRecords(Explained):
    """An item was made from a record that is no longer among the filtered ones."""


def judge_items(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompts: Mapping[str, Prompt],
    qc: Qc,
    write: Write,
    log: Log,
    *,
    newest_first: bool = False,
) -> Tally:
    """Score every row of the tables `profile_items`, `scenario_items` and `qa_items` that exist in `con`, the `items` of
    user_profiles, scenarios and social_qa, against its records in the table `records`.

    The judge reads the records that the item names; beyond `role.max_input_tokens` the oldest are cut. Writes `scores`, one row
    per item (item_id, item_kind, user_id, record_id, the eight metrics, kept, dropped_by, judge_says), and `failures`. An item without a
    valid reply has no scores and dropped_by `unanswered`.

    Args:
        prompts: by item kind; the fields of each one's schema are the kind's metrics.
        newest_first: show the records in the opposite order, and leave out items for which that changes nothing or would cut
            other records: how a judge's sense of order is measured.

    Raises:
        MissingRecords: a record that an item names is not in `records`.
    """
    counts = Tally()
    schemas = {kind: _with_reason(prompt.schema) if qc.reason_first else None for kind, prompt in prompts.items()}
    present = {row[0] for row in con.execute("select table_name from information_schema.tables").fetchall()}

    def questions() -> Iterator[Question]:
        for item, source in _read_items(con, engine, role, [t for t in ITEM_TEXTS if t in present], newest_first):
            counts.rows_in += 1
            counts.cut_texts += source.was_cut
            values = {"records": source.text, "item": item.pop("text"), "reason_first": qc.reason_first}
            prompt = prompts[item["item_kind"]]
            yield Question(item["item_id"], item["user_id"], prompt, values, item, schema=schemas[item["item_kind"]])

    with Sink(write) as sink:
        for question, value in replies(engine, role, questions(), counts, sink, label="judge", log=log):
            scores: dict[str, Any] = {} if isinstance(value, Failed) else value.model_dump()
            judge_says = scores.pop("reason", None)
            dropped_by = first_failing(scores, qc) if scores else "unanswered"
            if dropped_by is None:
                counts.kept += 1
            else:
                counts.dropped[dropped_by] += 1
            row = {**question.row, **dict.fromkeys(METRICS), **scores, "kept": dropped_by is None, "dropped_by": dropped_by}
            row["judge_says"] = judge_says
            sink.add("scores", row)
    return counts.check()


@functools.cache
def _with_reason(schema: type[BaseModel] | None) -> type[BaseModel]:
    """The scores with a reason before them."""
    assert schema is not None, "`check_kinds` has seen to it"
    fields = {name: (field.annotation, field) for name, field in schema.model_fields.items()}
    reasoned = {"reason": (str, Field(min_length=20)), **fields}
    return create_model(schema.__name__, __config__=ConfigDict(extra="forbid"), **reasoned)  # type: ignore[call-overload]


class _ItemToJudge(NamedTuple):
    """An item (item_id, item_kind, user_id, record_id, text) and the records that it was made from."""

    item: Row
    source: ShownRecords


def _read_items(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, tables: list[str], newest_first: bool
) -> Iterator[_ItemToJudge]:
    """Every item of the tables, those of one user and record next to each other."""
    for table in tables:
        query = f"""
            with items as ({ITEM_TEXTS[table]})
            select i.item_id, i.item_kind, i.user_id, i.record_id, i.text as item_text,
                   r.* exclude (record_id, user_id)
            from (select *, unnest(record_ids) as source_id from items) i
            left join records r on r.record_id = i.source_id
            order by i.user_id, i.record_id, i.item_id, r.created_at, i.source_id
        """
        shown_texts: list[str] | None = None
        source = ShownRecords("", 0, False)
        for item_id, group in groupby(read_rows(con, query), key=itemgetter("item_id")):
            rows = list(group)
            if any(row["text"] is None for row in rows):
                raise MissingRecords(
                    f"{item_id} was made from a record that the table `records` does not hold; materialize the item again"
                )
            texts = [record_text(row) for row in rows]
            if texts != shown_texts:  # the items of one user or record share their source
                shown_texts, source = texts, records_text(engine, role, texts)
            if newest_first and (source.was_cut or len(texts) < 2):
                continue
            shown = ShownRecords("\n\n".join(reversed(texts)), 0, False) if newest_first else source
            item = {name: rows[0][name] for name in ("item_id", "item_kind", "user_id", "record_id")}
            yield _ItemToJudge({**item, "text": rows[0]["item_text"]}, shown)
