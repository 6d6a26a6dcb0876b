"""Q1-Q4: an LLM scores every synthesized item against the records it was made from (paper, section 2.3 and appendix A.3).

Which metric applies to which kind (Q2) is the table `APPLIES` alone: the reply schemas, the verdicts, the SQL and the tests of
the prompts all read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, create_model

from humanllm_assets.asking.questions import Counts, Failed, Log, Question, Row, Sink, Write, read_rows, replies
from humanllm_assets.asking.texts import record_text, records_text
from humanllm_assets.tables import METRICS

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.prompts import Prompt
    from resources.thresholds import Qc

ItemKind = Literal["persona", "profile", "stories", "style", "scenario", "qa"]
Score = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

# Q2. The paper names no metric for the writing style but `overall`, which it asks of everything.
APPLIES: dict[ItemKind, tuple[str, ...]] = {
    "persona": ("hallucination", "coverage", "conciseness", "relevance", "novelty", "overall"),
    "profile": ("hallucination", "coverage", "conciseness", "relevance", "novelty", "overall"),
    "stories": ("hallucination", "coverage", "novelty", "overall"),
    "style": ("overall",),
    "scenario": ("hallucination", "coverage", "fidelity", "novelty", "overall"),
    "qa": ("hallucination", "coverage", "fidelity", "novelty", "leakage", "overall"),
}
PROMPTS: dict[ItemKind, str] = {kind: f"judge_{kind}" for kind in APPLIES}
ITEM_TABLES = ("profile_items", "scenario_items", "qa_items")


def _scores(name: str, kind: ItemKind) -> type[BaseModel]:
    fields = {metric: (Score, ...) for metric in APPLIES[kind]}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]


PersonaScores = _scores("PersonaScores", "persona")
ProfileScores = _scores("ProfileScores", "profile")
StoriesScores = _scores("StoriesScores", "stories")
StyleScores = _scores("StyleScores", "style")
ScenarioScores = _scores("ScenarioScores", "scenario")
QAScores = _scores("QAScores", "qa")


def threshold(metric: str, qc: Qc) -> float:
    """Q3: the score that `metric` must exceed."""
    return qc.overall_above if metric == "overall" else qc.metric_above


def first_failing(kind: ItemKind, scores: Mapping[str, int], qc: Qc) -> str | None:
    """The first applicable metric that does not exceed its threshold, or None when the item is kept (Q3)."""
    return next((metric for metric in APPLIES[kind] if scores[metric] <= threshold(metric, qc)), None)


def dropped_by_sql(qc: Qc) -> str:
    """`first_failing` as a SQL expression over the columns of `scores`; `unanswered` where an applicable score is null."""
    cases = []
    for kind, metrics in APPLIES.items():
        missing = " or ".join(f"{metric} is null" for metric in metrics)
        cases.append(f"when item_kind = '{kind}' and ({missing}) then 'unanswered'")
        cases += [f"when item_kind = '{kind}' and {m} <= {threshold(m, qc):g} then '{m}'" for m in metrics]
    return f"case {' '.join(cases)} end"


def judge_items(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, prompts: Mapping[ItemKind, Prompt], qc: Qc, write: Write, log: Log
) -> Counts:
    """Score every row of the tables `profile_items`, `scenario_items` and `qa_items` that exist in `con`, the `items` of
    user_profiles, scenarios and social_qa, against its records in the table `records`.

    The judge reads the records that the item names; beyond `role.max_input_tokens` the oldest are cut. Writes `scores`, one row
    per item (item_id, item_kind, user_id, record_id, the eight metrics, kept, dropped_by), and `failures`. An item without a
    valid reply has no scores and dropped_by `unanswered`.
    """
    counts = Counts()
    present = {row[0] for row in con.execute("select table_name from information_schema.tables").fetchall()}

    def questions() -> Iterator[Question]:
        for row, source, was_cut in _items_with_source(con, engine, role, [t for t in ITEM_TABLES if t in present]):
            counts.rows_in += 1
            counts.cut_texts += was_cut
            values = {"records": source, "item": row.pop("text")}
            yield Question(row["item_id"], row["user_id"], prompts[row["item_kind"]], values, row)

    with Sink(write) as sink:
        for question, value in replies(engine, role, questions(), counts, sink, label="judge", log=log):
            scores: dict[str, int] = {} if isinstance(value, Failed) else value.model_dump()
            dropped_by = first_failing(question.row["item_kind"], scores, qc) if scores else "unanswered"
            if dropped_by is None:
                counts.kept += 1
            else:
                counts.dropped[dropped_by] += 1
            row = {**question.row, **dict.fromkeys(METRICS), **scores, "kept": dropped_by is None, "dropped_by": dropped_by}
            sink.add("scores", row)
    return counts.check()


# One row per item and source record. `text` is the item as the judge sees it.
_ITEM_SQL = {
    "profile_items": "select item_id, kind as item_kind, user_id, null as record_id, text, record_ids from profile_items",
    "scenario_items": """
        select item_id, 'scenario' as item_kind, user_id, record_id,
               'Background: ' || background || '\n\nCharacters: ' || characters || '\n\nPlots: ' || plots as text,
               [record_id] as record_ids
        from scenario_items""",
    "qa_items": """
        select item_id, 'qa' as item_kind, user_id, record_id,
               'Scenario: ' || scenario || '\n\nQuestion: ' || question || '\n\nAnswer: ' || answer as text,
               [record_id] as record_ids
        from qa_items""",
}


def _items_with_source(
    con: duckdb.DuckDBPyConnection, engine: Asker, role: Role, tables: list[str]
) -> Iterator[tuple[Row, str, bool]]:
    """(item, prompt text of its records, whether that was cut), items of one user and record next to each other.

    Raises:
        LookupError: a record that an item names is not in `records`.
    """
    for table in tables:
        query = f"""
            with items as ({_ITEM_SQL[table]})
            select i.item_id, i.item_kind, i.user_id, i.record_id, i.text as item_text,
                   r.* exclude (record_id, user_id)
            from (select *, unnest(record_ids) as source_id from items) i
            left join records r on r.record_id = i.source_id
            order by i.user_id, i.record_id, i.item_id, r.created_at, i.source_id
        """
        previous: tuple[list[str], tuple[str, int, bool]] | None = None
        for item_id, group in groupby(read_rows(con, query), key=itemgetter("item_id")):
            rows = list(group)
            if any(row["text"] is None for row in rows):
                raise LookupError(
                    f"{item_id} was made from a record that the table `records` does not hold; materialize the item again"
                )
            texts = [record_text(row) for row in rows]
            if previous is None or previous[0] != texts:  # the items of one user or record share their source
                previous = (texts, records_text(engine, role, texts))
            source, _, was_cut = previous[1]
            head = {name: rows[0][name] for name in ("item_id", "item_kind", "user_id", "record_id")}
            yield {**head, "text": rows[0]["item_text"]}, source, was_cut
