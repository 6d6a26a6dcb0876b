"""P1-P5: what a user's earlier records say about the person (paper, section 2.2, "User").

The paper writes these texts from all records of a user. Here only the first share of them, by time, is read, so that a task can
show a persona without having shown its target record to the model that wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Counts, Failed, Log, Question, Sink, Write, read_rows, replies
from humanllm_assets.asking.texts import record_text, records_text

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Users

Kind = Literal["persona", "profile", "stories", "style"]
PROMPTS: dict[Kind, str] = {
    "persona": "user_persona",
    "profile": "user_profile",
    "stories": "user_stories",
    "style": "writing_style",
}

# Bounds are in characters because a constrained decoder counts characters: an English word takes about 6 of them. They keep a
# small model from rambling; the word limits of the paper are contracts (`thresholds.words`).


class Persona(BaseModel):
    """P1, fewer than 100 words."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=60, max_length=700)


class Profile(BaseModel):
    """P2, 100 to 400 words."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=300, max_length=2600)


class Story(BaseModel):
    model_config = ConfigDict(extra="forbid")
    summary: str = Field(min_length=20, max_length=300)
    story: str = Field(min_length=80, max_length=1800)


class Stories(BaseModel):
    """P3."""

    model_config = ConfigDict(extra="forbid")
    stories: list[Story] = Field(min_length=1, max_length=3)


class WritingStyle(BaseModel):
    """P4."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=60, max_length=1200)


def user_sets(con: duckdb.DuckDBPyConnection, users: Users) -> None:
    """From `records` (the filtered rows of all slices of one source) make `user_records` and `dropped_users`.

    `user_records`: the columns of `records` of every user with at least `users.min_records` records, and part (VARCHAR):
    `persona` for the user's first records by time, which P1-P4 read; `target` for the later ones.
    `dropped_users`: user_id, reason (`too_few_records`), records (INTEGER).

    A user with n records gives the first round(n * persona_share) of them to the persona, at least 1 and, when n > 1, at most
    n - 1. Records of one moment stay together, so every target is strictly later than every persona record: a group that the
    cut would split goes to the persona, or, when nothing would then be left as a target, to the targets. A user whose records
    all have the same time has no targets.
    """
    con.execute(f"""
        create or replace table dropped_users as
        select user_id, 'too_few_records' as reason, count(*)::integer as records
        from records group by user_id having count(*) < {int(users.min_records)}
    """)
    con.execute(f"""
        create or replace table user_records as
        with kept as (
            select * from records anti join dropped_users using (user_id)
        ), moments as (
            select user_id, created_at, sum(count(*)) over (partition by user_id order by created_at) as upto,
                   sum(count(*)) over (partition by user_id) as n
            from kept group by user_id, created_at
        ), cuts as (
            select user_id,
                   coalesce(
                       min(created_at) filter (
                           upto >= greatest(1, least(n - 1, round(n * {float(users.persona_share)}))) and upto < n
                       ),
                       max(created_at) filter (upto < n),
                       max(created_at)
                   ) as cutoff_at
            from moments group by user_id
        )
        select kept.*, case when created_at <= cutoff_at then 'persona' else 'target' end as part
        from kept join cuts using (user_id)
    """)


def write_profiles(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, prompts: dict[Kind, Prompt], write: Write, log: Log
) -> Counts:
    """P1-P4 for every user of `user_records`, from the records of part `persona` in chronological order (P5).

    Text beyond `role.max_input_tokens` is cut from the oldest record on. Writes `items` (item_id, kind, user_id, text, n_words,
    record_ids, cutoff_at, cut_records) and `failures`. The four requests of a user follow each other and begin with the same
    text, so that a server computes it once.
    """
    counts = Counts()

    def questions() -> Iterator[Question]:
        query = "select * from user_records where part = 'persona' order by user_id, created_at, record_id"
        for user_id, group in groupby(read_rows(con, query), key=itemgetter("user_id")):
            rows = list(group)
            text, n_cut, was_cut = records_text(engine, role, [record_text(r) for r in rows])
            item = {
                "user_id": user_id,
                "record_ids": [r["record_id"] for r in rows[n_cut:]],
                "cutoff_at": rows[-1]["created_at"],
                "cut_records": n_cut,
            }
            for kind, prompt in prompts.items():
                counts.rows_in += 1
                counts.cut_texts += was_cut
                yield Question(f"{user_id}#{kind}", user_id, prompt, {"records": text}, {**item, "kind": kind})

    with Sink(write) as sink:
        for question, value in replies(engine, role, questions(), counts, sink, label="profiles", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            text = _plain(value)
            counts.kept += 1
            sink.add("items", {"item_id": question.key, **question.row, "text": text, "n_words": len(text.split())})
    return counts.check()


def _plain(value: Any) -> str:
    if isinstance(value, Stories):
        return "\n\n".join(f"Summary: {s.summary.strip()}\nStory: {s.story.strip()}" for s in value.stories)
    return value.text.strip()
