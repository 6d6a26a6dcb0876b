"""E1: the story that a record tells, as background, characters and plots (paper, section 2.2, "Scenario"). Not for Amazon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Counts, Failed, Log, Question, Sink, Write, read_rows, replies
from humanllm_assets.asking.texts import cut_to_fit

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt


class Scenario(BaseModel):
    model_config = ConfigDict(extra="forbid")
    background: str = Field(min_length=40, max_length=800)
    characters: str = Field(min_length=20, max_length=800)
    plots: str = Field(min_length=80, max_length=2400)


def record_questions(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, prompt: Prompt, counts: Counts, *, suffix: str, targets_only: bool
) -> Iterator[Question]:
    """One question per record of `user_records`, with the values `date` and `record`; a long record loses its end.

    Args:
        suffix: of the question's key, after the record id.
        targets_only: leave out the records that the user's persona was written from.
    """
    query = "select record_id, user_id, created_at, text from user_records"
    for row in read_rows(con, query + (" where part = 'target'" if targets_only else "")):
        counts.rows_in += 1
        text, was_cut = cut_to_fit(engine, role, row.pop("text"))
        counts.cut_texts += was_cut
        values = {"date": f"{row['created_at']:%Y-%m-%d}", "record": text}
        yield Question(f"{row['record_id']}#{suffix}", row["user_id"], prompt, values, row)


def write_scenarios(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompt: Prompt,
    write: Write,
    log: Log,
    *,
    targets_only: bool = False,
) -> Counts:
    """E1 for every record of `user_records` (see `users.user_sets`).

    Writes `items` (item_id, record_id, user_id, created_at, background, characters, plots, n_words) and `failures`.
    """
    counts = Counts()
    questions = record_questions(con, engine, role, prompt, counts, suffix="scenario", targets_only=targets_only)
    with Sink(write) as sink:
        for question, value in replies(engine, role, questions, counts, sink, label="scenarios", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            parts = {name: text.strip() for name, text in value.model_dump().items()}
            n_words = sum(len(text.split()) for text in parts.values())
            counts.kept += 1
            sink.add("items", {"item_id": question.key, **question.row, **parts, "n_words": n_words})
    return counts.check()
