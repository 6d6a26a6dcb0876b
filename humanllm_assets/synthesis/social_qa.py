"""B1: scenario, question and answer about the user's next action, mental state and reasons (paper, section 2.2). Not for Amazon.

A first question asks for the triplets, a second one for their scenarios again without what gives the answer away. Whether they still
do is measured twice: by plain code (gate `copied_answer`) and by the judge's `leakage` (Q2).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, create_model

from humanllm_assets.asking.questions import Failed, Log, Question, Row, Sink, Tally, Write, replies
from humanllm_assets.sql import read_rows
from humanllm_assets.synthesis.records import ask_about_records

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Users


class Triplet(BaseModel):
    """One question and answer about the user, and the scene that leads up to it."""

    model_config = ConfigDict(extra="forbid")
    scenario: str = Field(min_length=60)
    question: str = Field(min_length=15)
    answer: str = Field(min_length=15)


class SocialQA(BaseModel):
    """Triplets by kind: named fields, because a small model that fills one list repeats its first entry."""

    model_config = ConfigDict(extra="forbid")
    next_action: list[Triplet] = Field(min_length=1)
    mental_state: list[Triplet] = Field(min_length=1)
    social_reasoning: list[Triplet] = Field(min_length=1)


REFINEMENT = "social_qa_refinement"
"""Name of the prompt of the second question."""
KINDS = tuple(SocialQA.model_fields)


class RefinedScenarios(BaseModel):
    """The scenarios of a record's triplets, in their order."""

    model_config = ConfigDict(extra="forbid")
    scenarios: list[str] = Field(min_length=1)


@functools.cache
def ask_for(per_kind: int) -> type[BaseModel]:
    """`SocialQA` with exactly so many triplets of each kind."""
    fields = {kind: (list[Triplet], Field(min_length=per_kind, max_length=per_kind)) for kind in KINDS}
    return create_model("SocialQA", __base__=SocialQA, **fields)  # type: ignore[call-overload]


@functools.cache
def _ask_again_for(count: int) -> type[BaseModel]:
    """`RefinedScenarios` with exactly so many."""
    scenario = Annotated[str, Field(min_length=60)]
    field = (list[scenario], Field(min_length=count, max_length=count))
    return create_model("RefinedScenarios", __base__=RefinedScenarios, scenarios=field)


def write_social_qa(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompts: Mapping[str, Prompt],
    users: Users,
    write: Write,
    log: Log,
) -> Tally:
    """B1 for every record of `user_records` (see `user_sets.py`), or with `users.qa_targets_only` for the targets alone.

    Writes `items`, `users.qa_per_kind` of each kind per record (item_id `<record_id>#qa1` and on, record_id, user_id, created_at,
    kind, scenario, question, answer), and `failures`, one per question that failed (item_id `<record_id>#qa` or
    `<record_id>#refined`). `Tally` counts records; reasons are `llm_failed:<reason>` and `refining_failed:<reason>`: a scenario that
    was not looked at again is none.

    Between the two questions the triplets lie in a table `drafts` of `con`, so that memory does not grow with the records.

    Args:
        prompts: `triplets` and `refinement`.
    """
    counts = Tally()
    con.execute("create or replace table drafts (record_id varchar, user_id varchar, created_at timestamp, answer varchar)")

    def store(_: str, rows: list[Row]) -> None:
        con.executemany("insert into drafts values (?, ?, ?, ?)", [[*r.values()] for r in rows])

    def to_refine() -> Iterator[Question]:
        for row in read_rows(con, "select * from drafts"):
            triplets = _read_triplets(SocialQA.model_validate_json(row.pop("answer")))
            schema = _ask_again_for(len(triplets))
            values = {"triplets": [triplet for _, triplet in triplets]}
            asked = {**row, "triplets": triplets}
            yield Question(f"{row['record_id']}#refined", row["user_id"], prompts["refinement"], values, asked, schema=schema)

    first = ask_about_records(con, engine, role, prompts["triplets"], counts, suffix="qa", targets_only=users.qa_targets_only)
    narrowed = (replace(q, values=q.values | {"per_kind": users.qa_per_kind}, schema=ask_for(users.qa_per_kind)) for q in first)
    with Sink(write) as sink, Sink(store) as storage:
        for question, value in replies(engine, role, narrowed, counts, sink, label="social_qa", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            named = {name: question.row[name] for name in ("record_id", "user_id", "created_at")}
            storage.add("drafts", {**named, "answer": value.model_dump_json()})
    with Sink(write) as sink:
        for question, value in replies(engine, role, to_refine(), counts, sink, label="refine social_qa", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"refining_failed:{value.reason}"] += 1
                continue
            counts.kept += 1
            row = question.row
            triplets = row.pop("triplets")
            for i, ((kind, triplet), scenario) in enumerate(zip(triplets, value.scenarios, strict=True), start=1):
                item = {**row, "kind": kind, **triplet, "scenario": scenario.strip()}
                sink.add("items", {"item_id": f"{row['record_id']}#qa{i}", **item})
    return counts.check()


def _read_triplets(answer: SocialQA) -> list[tuple[str, Row]]:
    """Kind and texts of every triplet, in the order of KINDS."""
    return [
        (kind, {name: text.strip() for name, text in triplet.model_dump().items()})
        for kind in KINDS
        for triplet in getattr(answer, kind)
    ]
