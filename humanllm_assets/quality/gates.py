"""Gates: what plain code finds wrong with a synthesized item before a judge is asked (docs/gates.md).

What belongs here: which texts a measure compares, duplicates, who is stopped. What does not: the measures (`asking/text_faults.py`),
their limits (`resources/thresholds.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from humanllm_assets.asking import text_faults
from humanllm_assets.asking.questions import Row, Sink, Write
from humanllm_assets.asking.record_text import record_text
from humanllm_assets.asking.text_faults import Source, split_sentences, split_words, template_pieces
from humanllm_assets.quality.item_texts import ITEM_TEXTS
from humanllm_assets.sql import read_rows
from resources.item_kinds import METRICS, QA, STYLE
from resources.thresholds import STOPPED_BY

if TYPE_CHECKING:
    import duckdb

    from resources.prompting.prompts import Prompt
    from resources.thresholds import Gates

_BATCH = 1000
# What makes two items one: a question with its answer, whatever the scene before it; any other item as a whole.
_COMPARED = {"qa_items": "question || ' ' || answer"}


def check_items(con: duckdb.DuckDBPyConnection, prompts: Mapping[str, Prompt], gates: Gates, write: Write) -> Counter[str]:
    """Measure every item of the tables of ITEM_TEXTS that exist in `con`, against its records in the table `records`.

    Writes `gates`, a row of GATE_MEASURES per item, and for an item that is stopped a row of `scores` without scores, dropped by
    `gate:<name>`. The table `stopped` (item_id) of `con` holds these.

    Args:
        prompts: by item kind, the one that wrote it.

    Returns:
        how many items each gate stopped, by `gate:<name>`.
    """
    con.execute("create or replace table stopped (item_id varchar)")
    present = {row[0] for row in con.execute("select table_name from information_schema.tables").fetchall()}
    echoes = {kind: template_pieces(prompt.text) for kind, prompt in prompts.items()}
    counts: Counter[str] = Counter()
    stopped: list[str] = []
    with Sink(write) as sink:
        for table in ITEM_TEXTS:
            for item, source in _read_items(con, table) if table in present else ():
                measures = _measure(item, source, echoes[item["item_kind"]])
                gate = gates.first_failing(measures)
                named = {name: item[name] for name in ("item_id", "item_kind", "user_id", "record_id")}
                sink.add("gates", {**named, **measures, "passed": gate is None, "stopped_by": gate})
                if gate:
                    reason = f"{STOPPED_BY}{gate}"
                    counts[reason] += 1
                    sink.add(
                        "scores", {**named, **dict.fromkeys(METRICS), "kept": False, "dropped_by": reason, "judge_says": None}
                    )
                    stopped.append(item["item_id"])
                    if len(stopped) == _BATCH:
                        _insert(con, stopped)
    _insert(con, stopped)
    return counts


def _insert(con: duckdb.DuckDBPyConnection, ids: list[str]) -> None:
    con.execute("insert into stopped select unnest(?::varchar[])", [ids])
    ids.clear()


def keep_passed(con: duckdb.DuckDBPyConnection, table: str, name: str) -> None:
    """Give a view of items another name, under which it lacks what was stopped; the whole one is `all_<table>`."""
    con.execute(f"alter view {table} rename to all_{table}")
    con.execute(f"create view {name} as select * from all_{table} anti join stopped using (item_id)")


def _measure(item: Row, source: Source, echo: frozenset[tuple[str, ...]]) -> dict[str, float | None]:
    text, answer = item["item_text"], item["answer"]
    words, sentences = split_words(text), split_sentences(text)
    is_style = item["item_kind"] == STYLE.name
    return {
        "repeated_words": text_faults.repeated_words(text, words),
        "repeated_sentences": text_faults.repeated_sentences(sentences),
        "prompt_echo": text_faults.longest_copy(words, echo),
        "foreign_share": text_faults.foreign_share(sentences),
        "assistant_talk": text_faults.assistant_talk(text),
        "markup": text_faults.markup(text),
        "copied_answer": None if answer is None else text_faults.copied_share(split_words(answer), split_words(item["scenario"])),
        "copied_record": text_faults.longest_copy(words, source.pieces) if is_style else None,
        "unknown_numbers": text_faults.unknown_numbers(text, source.numbers),
        "unknown_names": text_faults.unknown_names(text, source.beginnings),
        "near_duplicate": item["near_duplicate"],
    }


def _read_items(con: duckdb.DuckDBPyConnection, table: str) -> Iterator[tuple[Row, Source]]:
    """Every item of a table (item_id, item_kind, user_id, record_id, item_text, scenario, answer, near_duplicate) with its records."""
    _find_duplicates(con, table)
    parts = "p.scenario, p.answer" if table == f"{QA.name}_items" else "null as scenario, null as answer"
    query = f"""
        with items as ({ITEM_TEXTS[table]})
        select i.item_id, i.item_kind, i.user_id, i.record_id, i.text as item_text, {parts}, d.near_duplicate,
               r.* exclude (record_id, user_id)
        from (select *, unnest(record_ids) as source_id from items) i
        join {table} p using (item_id)
        join duplicates d using (item_id)
        left join records r on r.record_id = i.source_id
        order by i.user_id, i.record_id, i.item_id, r.created_at, i.source_id
    """
    shown: list[str] | None = None
    source = Source(())
    for _, group in groupby(read_rows(con, query), key=itemgetter("item_id")):
        rows = list(group)
        texts = [record_text(row) for row in rows if row["text"] is not None]
        if texts != shown:  # the items of one user or record share their source
            shown, source = texts, Source(texts)
        yield rows[0], source


def _find_duplicates(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Table `duplicates` (item_id, near_duplicate): how much an item is like one before it, by id, about the same user or record:
    words that both have, as a share of those that one of them has. 1 also where it has the same words as one before it of its kind
    about another record of the user."""
    con.execute(f"""
        create or replace table duplicates as
        with items as (
            select i.item_id, i.item_kind, i.user_id, coalesce(i.record_id, i.user_id) as about,
                   list_sort(list_distinct(regexp_extract_all(lower({_COMPARED.get(table, "i.text")}), '[\\pL\\pN]+'))) as words
            from ({ITEM_TEXTS[table]}) i join {table} p using (item_id)
        ), again as (
            select item_id, row_number() over (partition by user_id, item_kind, words order by item_id) > 1 as is_again from items
        ), near as (
            select b.item_id, max(len(list_intersect(a.words, b.words)) / greatest(1, len(list_distinct(a.words || b.words)))) as share
            from items a join items b on a.about = b.about and a.item_id < b.item_id group by all
        )
        select item_id, case when is_again then 1.0 else coalesce(share, 0.0) end::double as near_duplicate
        from again left join near using (item_id)
    """)
