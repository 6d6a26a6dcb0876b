"""F5 and F6: an LLM cleans every eligible record and labels it; the high and harmless ones stay (paper, section 2.1).

The rewriter's work is checked by rules, because a model may leave what it was told to remove, and do what it was not: addresses,
tags and mentions are cut out and counted; a text that lost the person's words, holds others, has a fault that plain code sees
(docs/gates.md), or still holds private data of its source is dropped with its reason, before it is labelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from humanllm_assets.asking.questions import Failed, Log, Question, Row, Sink, Tally, Write, replies
from humanllm_assets.asking.text_faults import (
    assistant_talk,
    foreign_share,
    longest_copy,
    markup,
    pieces,
    repeated_words,
    split_sentences,
    split_words,
    template_pieces,
)
from humanllm_assets.asking.texts import cut_to_fit
from humanllm_assets.filtering.fidelity import measure_fidelity
from humanllm_assets.filtering.markup import clean_text
from humanllm_assets.filtering.privacy.finding import find_left, find_private
from humanllm_assets.filtering.privacy.items import PrivateItem
from humanllm_assets.filtering.privacy.masking import mask
from humanllm_assets.sql import read_rows
from humanllm_assets.tables import FILTERED
from resources.thresholds import RECORD_GATES, STOPPED_BY

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Gates, Labels


class Rewritten(BaseModel):
    """F5."""

    model_config = ConfigDict(extra="forbid")
    text: str


class Labelled(BaseModel):
    """F6. Harm comes first: a small model that has just said `high` tends to go on with `yes`."""

    model_config = ConfigDict(extra="forbid")
    harmful: Literal["no", "yes"]
    quality: Literal["high", "medium", "low"]


class Rules(NamedTuple):
    """Thresholds of what stays."""

    labels: Labels
    gates: Gates


MEASURES = (*RECORD_GATES, "words_kept", "words_added")
"""Columns of a filtered record that say how well it was rewritten."""


# ---- rules after the rewriting ---------------------------------------------------------------------------------------


def mask_text(text: str | None, *, twitter: bool, owner: str = "", known: Sequence[PrivateItem] = ()) -> str | None:
    """A title or context text, which no LLM rewrites: cleaned by rule, private items replaced by obviously invented ones.

    Args:
        owner: the user whose record it is; an item gets the same replacement in all records of a user.
        known: private items of the record's other texts.
    """
    return None if text is None else mask(clean_text(text, twitter=twitter)[0], owner, known)


_TEXTS = ("title", "context_title", "context_text", "text")


def _private_items(row: Row) -> list[PrivateItem]:
    """What must be in no text of the filtered record."""
    return [item for name in _TEXTS for item in find_private(row[name])]


class _Checked(NamedTuple):
    """What rules find in a cleaned text: numbers by column of the filtered record, and why it cannot be used, if it can't."""

    measures: dict[str, float]
    reason: str | None


def _check(row: Row, shown: str, text: str, rules: Rules, echo: frozenset[tuple[str, ...]], twitter: bool) -> _Checked:
    """Look at a record's cleaned text beside what the rewriter was shown of it. A fault that the person's own text has is none."""
    if not text:
        return _Checked({}, "empty_after_rewriting")
    before, after = split_words(shown), split_words(text)
    fidelity = measure_fidelity(shown, text, twitter=twitter)
    gates = {
        "repeated_words": max(0.0, repeated_words(text, after) - repeated_words(shown, before)),
        "prompt_echo": longest_copy(after, echo - pieces(before)),
        "foreign_share": foreign_share(split_sentences(text)),
        "assistant_talk": max(0, assistant_talk(text) - assistant_talk(shown)),
        "markup": max(0, markup(text) - markup(shown)),
    }
    measures = {**gates, "words_kept": fidelity.kept, "words_added": fidelity.added}
    if gate := rules.gates.first_failing(gates):
        return _Checked(measures, f"{STOPPED_BY}{gate}")
    if fidelity.kept < rules.labels.min_kept:
        return _Checked(measures, "lost_in_rewriting")
    if fidelity.added > rules.labels.max_added:
        return _Checked(measures, "grown_in_rewriting")
    return _Checked(measures, "private_data_left" if find_left(_private_items(row), text) else None)


def rewrite_and_label(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    rewriter: tuple[Role, Prompt],
    labeller: tuple[Role, Prompt],
    rules: Rules,
    source: str,
    write: Write,
    log: Log,
) -> Tally:
    """F5 over the table `selected`, then F6 over what it gave.

    Writes `records` (the columns of the eligible records with the rewritten text, plus original_chars, quality, harmful, MEASURES
    and private_items_left, which the contract requires to be zero), `dropped` (record_id, user_id, reason) and `failures` (item_id,
    prompt, reason, raw). Reasons, first match wins: `llm_failed:<reason>`, `empty_after_rewriting`, `gate:<name>`,
    `lost_in_rewriting`, `grown_in_rewriting`, `private_data_left`, `quality_<label>`, `harmful`.
    A record longer than the role's input limit is rewritten from its beginning; `cut_texts` counts these. Titles and context
    texts are cleaned by rule alone.

    Between the two steps the rewritten texts lie in a table `rewritten` of `con`, so that memory does not grow with the rows
    and each step keeps the servers busy to its end.
    """
    twitter = source == "twitter"
    counts = Tally()
    echo = template_pieces(rewriter[1].text)
    types = {"record_id": "varchar", "rewritten": "varchar"} | {c.name: c.type for c in FILTERED if c.name in MEASURES}
    con.execute(f"create or replace table rewritten ({', '.join(map(' '.join, types.items()))})")

    def store(_: str, rows: list[Row]) -> None:
        con.executemany(f"insert into rewritten values ({', '.join('?' * len(types))})", [[r[c] for c in types] for r in rows])

    def drop(sink: Sink, row: Row, reason: str) -> None:
        counts.dropped[reason] += 1
        sink.add("dropped", {"record_id": row["record_id"], "user_id": row["user_id"], "reason": reason})

    def to_rewrite() -> Iterator[Question]:
        role, prompt = rewriter
        for row in read_rows(con, "select * from selected"):
            counts.rows_in += 1
            text, was_cut = cut_to_fit(engine, role, row["text"])
            counts.cut_texts += was_cut
            yield Question(row["record_id"], row["user_id"], prompt, {"text": text, "twitter": twitter}, row)

    def to_label() -> Iterator[Question]:
        role, prompt = labeller
        for row in read_rows(con, "select * from selected join rewritten using (record_id)"):
            text, was_cut = cut_to_fit(engine, role, row["rewritten"])
            counts.cut_texts += was_cut
            yield Question(row["record_id"], row["user_id"], prompt, {"text": text}, row)

    with Sink(write) as sink, Sink(store) as storage:
        for question, value in replies(engine, rewriter[0], to_rewrite(), counts, sink, label="rewrite", log=log):
            if isinstance(value, Failed):
                drop(sink, question.row, f"llm_failed:{value.reason}")
                continue
            text, found = clean_text(value.text, twitter=twitter)
            counts.cleaned.update(found)
            measures, reason = _check(question.row, question.values["text"], text, rules, echo, twitter)
            if reason:
                drop(sink, question.row, reason)
            else:
                storage.add("rewritten", {"record_id": question.key, "rewritten": text, **measures})

    with Sink(write) as sink:
        for question, value in replies(engine, labeller[0], to_label(), counts, sink, label="label", log=log):
            row = question.row
            if isinstance(value, Failed):
                drop(sink, row, f"llm_failed:{value.reason}")
            elif value.quality not in rules.labels.keep_quality:
                drop(sink, row, f"quality_{value.quality}")
            elif value.harmful not in rules.labels.keep_harmful:
                drop(sink, row, "harmful")
            else:
                counts.kept += 1
                sink.add("records", _filtered(row, value, twitter))
    con.execute("drop table rewritten")
    return counts.check()


def _filtered(row: Row, labelled: Labelled, twitter: bool) -> Row:
    text, items = row["rewritten"], _private_items(row)
    masked = {name: mask_text(row[name], twitter=twitter, owner=row["user_id"], known=items) for name in _TEXTS if name != "text"}
    left = [item for shown in (text, *masked.values()) for item in find_left(items, shown)]
    kept = {name: value for name, value in row.items() if name != "rewritten"}
    return {
        **kept,
        **masked,
        "text": text,
        "n_chars": len(text),
        "original_chars": row["n_chars"],
        "quality": labelled.quality,
        "harmful": labelled.harmful,
        "private_items_left": len(left),
    }
