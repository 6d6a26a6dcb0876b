"""B1: scenario, question and answer about the user's next action, mental state and reasons (paper, section 2.2). Not for Amazon.

Each scenario stops before its answer; whether it does is the judge's `leakage` (Q2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Failed, Log, Sink, Tally, Write, replies
from humanllm_assets.synthesis.records import ask_about_records

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt


class Triplet(BaseModel):
    """One question and answer about the user, and the scene that leads up to it."""

    model_config = ConfigDict(extra="forbid")
    scenario: str = Field(min_length=60, max_length=800)
    question: str = Field(min_length=15, max_length=250)
    answer: str = Field(min_length=15, max_length=500)


class SocialQA(BaseModel):
    """One triplet per kind: named fields, because a small model that fills a list repeats its first entry."""

    model_config = ConfigDict(extra="forbid")
    next_action: Triplet
    mental_state: Triplet
    social_reasoning: Triplet


KINDS = tuple(SocialQA.model_fields)


def write_social_qa(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompt: Prompt,
    write: Write,
    log: Log,
    *,
    targets_only: bool = False,
) -> Tally:
    """B1 for every record of `user_records` (see `user_sets.py`).

    Writes `items`, three per record (item_id `<record_id>#qa1` to `#qa3`, record_id, user_id, created_at, kind, scenario,
    question, answer), and `failures`, one per record (item_id `<record_id>#qa`). `Tally` counts records.
    """
    counts = Tally()
    questions = ask_about_records(con, engine, role, prompt, counts, suffix="qa", targets_only=targets_only)
    with Sink(write) as sink:
        for question, value in replies(engine, role, questions, counts, sink, label="social_qa", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            counts.kept += 1
            for i, kind in enumerate(KINDS, start=1):
                triplet = {name: text.strip() for name, text in getattr(value, kind).model_dump().items()}
                sink.add("items", {"item_id": f"{question.key}{i}", **question.row, "kind": kind, **triplet})
    return counts.check()
