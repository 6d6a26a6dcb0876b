"""E1: the story that a record tells, as background, characters and plots (paper, section 2.2, "Scenario"). Not for Amazon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Failed, Log, Sink, Tally, Write, replies
from humanllm_assets.synthesis.records import ask_about_records
from resources.prompting.lengths import count_words

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt


class Scenario(BaseModel):
    """E1: the answer to one record."""

    model_config = ConfigDict(extra="forbid")
    background: str = Field(min_length=40)
    characters: str = Field(min_length=20)
    plots: str = Field(min_length=80)


def write_scenarios(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompt: Prompt,
    write: Write,
    log: Log,
    *,
    targets_only: bool = False,
) -> Tally:
    """E1 for every record of `user_records` (see `user_sets.py`).

    Writes `items` (item_id, record_id, user_id, created_at, background, characters, plots, n_words) and `failures`.
    """
    counts = Tally()
    questions = ask_about_records(con, engine, role, prompt, counts, suffix="scenario", targets_only=targets_only)
    with Sink(write) as sink:
        for question, value in replies(engine, role, questions, counts, sink, label="scenarios", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            parts = {name: text.strip() for name, text in value.model_dump().items()}
            n_words = sum(count_words(text) for text in parts.values())
            counts.kept += 1
            sink.add("items", {"item_id": question.key, **question.row, **parts, "n_words": n_words})
    return counts.check()
