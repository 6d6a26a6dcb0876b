"""Questions about single records, which scenarios (E1) and social QA (B1) share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from humanllm_assets.asking.questions import Question, Tally
from humanllm_assets.asking.texts import cut_to_fit
from humanllm_assets.sql import read_rows

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.lengths import WordLimits
    from resources.prompting.prompts import Prompt


def ask_about_records(
    con: duckdb.DuckDBPyConnection,
    engine: Asker,
    role: Role,
    prompt: Prompt,
    counts: Tally,
    *,
    suffix: str,
    targets_only: bool,
    words: WordLimits | None = None,
) -> Iterator[Question]:
    """One question per record of `user_records`, with the values `date` and `record`; a long record loses its end.

    Args:
        suffix: of the question's key, after the record id.
        words: how many an answer may have.
        targets_only: leave out the records that the user's persona was written from.
    """
    query = "select record_id, user_id, created_at, text from user_records"
    for row in read_rows(con, query + (" where part = 'target'" if targets_only else "")):
        counts.rows_in += 1
        shown = cut_to_fit(engine, role, row.pop("text"))
        counts.cut_texts += shown.was_cut
        values = {"date": f"{row['created_at']:%Y-%m-%d}", "record": shown.text}
        yield Question(f"{row['record_id']}#{suffix}", row["user_id"], prompt, values, row, words=words)
