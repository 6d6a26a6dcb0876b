"""P1-P5: what a user's earlier records say about the person (paper, section 2.2, "User").

The paper writes these texts from all records of a user. Here only the first share of them, by time, is read (`user_sets.py`), so
that a task can show a persona without having shown its target record to the model that wrote it.

What belongs here: the answers' schemas, how a text is made of an answer, asking. What does not: which texts there are
(`resources/item_kinds.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Failed, Log, Question, Sink, Tally, Write, replies
from humanllm_assets.asking.record_text import record_text
from humanllm_assets.asking.texts import records_text
from humanllm_assets.sql import read_rows
from resources.prompting.lengths import WordLimits, count_words

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt


class UserText(BaseModel):
    """Base of the answers that become a text about the user."""

    model_config = ConfigDict(extra="forbid")

    def as_text(self) -> str:
        """The item's text."""
        raise NotImplementedError


class OneText(UserText):
    """An answer that is the text itself."""

    text: str

    def as_text(self) -> str:
        """The item's text."""
        return self.text.strip()


class Persona(OneText):
    """P1; the limits in words stand in `resources/item_kinds.py`, here and below."""

    text: str = Field(min_length=60)


class UserProfile(OneText):
    """P2."""

    text: str = Field(min_length=60)


class Story(BaseModel):
    """One life story of P3."""

    model_config = ConfigDict(extra="forbid")
    summary: str = Field(min_length=20)
    story: str = Field(min_length=80)


class Stories(UserText):
    """P3, one to three life stories."""

    stories: list[Story] = Field(min_length=1, max_length=3)

    def as_text(self) -> str:
        """The stories one after the other, in the form that T1 splits again."""
        return "\n\n".join(f"Summary: {s.summary.strip()}\nStory: {s.story.strip()}" for s in self.stories)


class WritingStyle(OneText):
    """P4, how the person writes."""

    text: str = Field(min_length=60)


def write_profiles(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompts: Mapping[str, Prompt],
    words: Mapping[str, WordLimits],
    write: Write,
    log: Log,
) -> Tally:
    """The texts about every user of `user_records`, from the records of part `persona` in chronological order (P5).

    Text beyond `role.max_input_tokens` is cut from the oldest record on. Writes `items` (item_id, kind, user_id, text, n_words,
    record_ids, cutoff_at, cut_records) and `failures`. The requests of a user follow each other and begin with the same text, so
    that a server computes it once.

    Args:
        prompts: by item kind; the schema of each is a `UserText`.
        words: by item kind, for those with a limit; a text that does not keep it after being asked again is no item.
    """
    counts = Tally()

    def questions() -> Iterator[Question]:
        query = "select * from user_records where part = 'persona' order by user_id, created_at, record_id"
        for user_id, group in groupby(read_rows(con, query), key=itemgetter("user_id")):
            rows = list(group)
            shown = records_text(engine, role, [record_text(r) for r in rows])
            item = {
                "user_id": user_id,
                "record_ids": [r["record_id"] for r in rows[shown.left_out :]],
                "cutoff_at": rows[-1]["created_at"],
                "cut_records": shown.left_out,
            }
            for kind, prompt in prompts.items():
                counts.rows_in += 1
                counts.cut_texts += shown.was_cut
                values, row = {"records": shown.text}, {**item, "kind": kind}
                yield Question(f"{user_id}#{kind}", user_id, prompt, values, row, words=words.get(kind))

    with Sink(write) as sink:
        for question, value in replies(engine, role, questions(), counts, sink, label="profiles", log=log):
            if isinstance(value, Failed):
                counts.dropped[f"llm_failed:{value.reason}"] += 1
                continue
            text = value.as_text()
            counts.kept += 1
            sink.add("items", {"item_id": question.key, **question.row, "text": text, "n_words": count_words(text)})
    return counts.check()
