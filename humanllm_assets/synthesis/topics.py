"""What each record is about, in a few words of the synthesizer's own: the "new topic" of T4 (paper, section 3.1 and Figure B2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.asking.questions import Failed, Log, Sink, Tally, Write, replies
from humanllm_assets.asking.text_faults import longest_copy, pieces, split_words
from humanllm_assets.synthesis.records import ask_about_records
from resources.prompting.lengths import WordLimits

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt

PROMPT = "writing_topic"
WORDS = WordLimits(3, 40)
"""Limits of a topic; the prompt asks for fewer, so that few are asked again."""


class Topic(BaseModel):
    """The answer about one record."""

    model_config = ConfigDict(extra="forbid")
    topic: str = Field(min_length=10)


def write_topics(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, prompt: Prompt, max_copied: int, write: Write, log: Log
) -> Tally:
    """The topic of every record of `user_records` (see `user_sets.py`).

    Writes `items` (item_id `<record_id>#topic`, record_id, user_id, topic) and `failures`.

    Args:
        max_copied: most words in a row that a topic may share with its text; one that copies more would give away what is to be
            written, and is dropped as `copied`.
    """
    counts = Tally()
    questions = ask_about_records(con, engine, role, prompt, counts, suffix="topic", targets_only=False, words=WORDS)
    with Sink(write) as sink:
        for question, value in replies(engine, role, questions, counts, sink, label="topics", log=log):
            topic = None if isinstance(value, Failed) else value.topic.strip()
            if topic is None:
                counts.dropped[f"llm_failed:{value.reason}"] += 1
            elif longest_copy(split_words(topic), pieces(split_words(question.values["record"]))) > max_copied:
                counts.dropped["copied"] += 1
            else:
                counts.kept += 1
                row = {name: question.row[name] for name in ("record_id", "user_id")}
                sink.add("items", {"item_id": question.key, **row, "topic": topic})
    return counts.check()
