"""Q1-Q4: metrics by kind, strict thresholds, every item scored or unanswered."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pytest

from humanllm_assets.quality.judge import MissingRecords, judge_items
from humanllm_assets.quality.keeping import first_failing
from humanllm_assets.tables import METRICS
from humanllm_assets_tests.filtering.scripted_engine import ROLE, Fails, ScriptedEngine, Tables, user_text
from humanllm_assets_tests.filtering.tables import record, with_table
from resources.item_kinds import ITEM_KINDS, ItemKind
from resources.llm.requests import LLMRequest
from resources.profile import Role
from resources.prompting.prompts import Prompt
from resources.thresholds import Qc

REASON = "Every detail of it stands in the source, see"
METRICS_OF = {kind.name: kind.metrics for kind in ITEM_KINDS}


def test_metrics_apply_as_q2_says() -> None:
    everything = {kind.name for kind in ITEM_KINDS}
    without_style = everything - {"style"}
    kinds_of = {metric: {kind.name for kind in ITEM_KINDS if metric in kind.metrics} for metric in METRICS}
    assert kinds_of == {
        "hallucination": without_style,
        "coverage": without_style,
        "novelty": without_style,
        "conciseness": {"persona", "profile"},
        "relevance": {"persona", "profile"},
        "fidelity": {"scenario", "qa"},
        "leakage": {"qa"},
        "overall": everything,
    }


@pytest.mark.parametrize("kind", ITEM_KINDS, ids=lambda kind: kind.name)
def test_a_judge_prompt_explains_and_asks_for_its_metrics_alone(kind: ItemKind) -> None:
    prompt = Prompt.load(kind.judge_prompt)
    assert prompt.schema is not None
    assert tuple(prompt.schema.model_fields) == kind.metrics
    explained = re.findall(r"^- (\w+): .*\b10 = .*\b5 = .*\b1 = ", prompt.text, re.MULTILINE)
    assert tuple(explained) == kind.metrics
    score = prompt.schema.model_json_schema()["properties"]["overall"]
    assert score["enum"] == list(range(1, 11))


@pytest.mark.parametrize("kind", ITEM_KINDS, ids=lambda kind: kind.name)
def test_a_kept_item_exceeds_every_threshold(kind: ItemKind) -> None:
    qc = Qc()
    good = {m: 9 if m == "overall" else 8 for m in kind.metrics}
    assert first_failing(good, qc) is None
    for metric in kind.metrics:
        assert first_failing({**good, metric: good[metric] - 1}, qc) == metric


def items() -> duckdb.DuckDBPyConnection:
    con = with_table([record(f"r{i}", day=3 - i, text=f"text{i}") for i in range(3)])
    con.execute("""
        create table profile_items as
        select 'u#' || kind as item_id, kind, 'u' as user_id, 'ITEM-' || kind as text, ['r1', 'r0'] as record_ids
        from (values ('persona'), ('profile'), ('stories'), ('style')) t(kind)
    """)
    con.execute("""create table scenario_items as
        select 'r2#scenario' as item_id, 'r2' as record_id, 'u' as user_id, 'B' as background, 'C' as characters, 'P' as plots""")
    con.execute("""create table qa_items as
        select 'r2#qa1' as item_id, 'r2' as record_id, 'u' as user_id, 'S' as scenario, 'Q' as question, 'A </item>' as answer""")
    return con


def judge(con: duckdb.DuckDBPyConnection, answer: Any, role: Role = ROLE, **more: bool) -> Any:
    engine, tables = ScriptedEngine(answer), Tables()
    prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
    counts = judge_items(con, engine, role, prompts, Qc(), tables, lambda _: None, **more)  # type: ignore[arg-type]
    return counts, {row["item_id"]: row for row in tables.rows("scores")}, tables, engine


def give(request: LLMRequest, score: int) -> dict[str, Any]:
    """A judge's answer with one score for everything."""
    names = request.schema.model_fields  # type: ignore[union-attr]
    return {name: f"{REASON} {request.key}" if name == "reason" else score for name in names}


def test_the_judge_says_why_before_it_scores_where_the_profile_asks_for_it() -> None:
    _, scores, _, engine = judge(items(), lambda request: give(request, 9))
    for request in engine.requests:
        names = list(request.schema.model_fields)  # type: ignore[union-attr]
        assert names[0] == "reason" and names[1:] == list(METRICS_OF[scores[request.key]["item_kind"]])
        assert user_text(request).index("\n\n- reason: ") < user_text(request).index("\n- overall: ")
        assert scores[request.key]["judge_says"] == f"{REASON} {request.key}"
    con, engine, tables = items(), ScriptedEngine(lambda request: give(request, 9)), Tables()
    prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
    judge_items(con, engine, ROLE, prompts, Qc(reason_first=False), tables, lambda _: None)  # type: ignore[arg-type]
    assert all("reason" not in user_text(request) for request in engine.requests)
    assert [row["judge_says"] for row in tables.rows("scores")] == [None] * 6


def test_every_item_is_kept_or_dropped_by_a_metric_or_unanswered() -> None:
    def answer(request: LLMRequest) -> Any:
        if request.key == "u#stories":
            return Fails("cut_off")
        scores = give(request, 9)
        return {**scores, "overall": 8} if request.key == "u#style" else scores | ({"leakage": 7} if "leakage" in scores else {})

    counts, scores, tables, _ = judge(items(), answer)
    assert {k: v["dropped_by"] for k, v in scores.items()} == {
        "u#persona": None,
        "u#profile": None,
        "u#stories": "unanswered",
        "u#style": "overall",
        "r2#scenario": None,
        "r2#qa1": "leakage",
    }
    assert all(row["kept"] == (row["dropped_by"] is None) for row in scores.values())
    for row in scores.values():
        answered = METRICS_OF[row["item_kind"]] if row["dropped_by"] != "unanswered" else ()
        assert [m for m in METRICS if row[m] is not None] == [m for m in METRICS if m in answered]
    assert [f["item_id"] for f in tables.rows("failures")] == ["u#stories"]
    assert (counts.rows_in, counts.kept, counts.dropped.total(), counts.answered) == (6, 3, 3, 5)


def test_the_judge_reads_the_item_and_its_records_alone_in_order() -> None:
    _, _, _, engine = judge(items(), lambda _: Fails("invalid"))
    shown = {request.key: user_text(request) for request in engine.requests}
    assert shown["u#persona"].index("text1") < shown["u#persona"].index("text0") < shown["u#persona"].index("ITEM-persona")
    assert "text2" not in shown["u#persona"]
    assert "text2" in shown["r2#qa1"] and "text0" not in shown["r2#qa1"]
    assert "Scenario: S\n\nQuestion: Q\n\nAnswer: A" in shown["r2#qa1"]
    assert shown["r2#qa1"].count("</item>") == 1


def test_a_cut_source_is_counted() -> None:
    counts, _, _, engine = judge(items(), lambda _: Fails("invalid"), Role(model="tiny", max_input_tokens=3))
    assert counts.cut_texts == 4
    assert all("text1" not in user_text(r) for r in engine.requests if r.key.startswith("u#"))


def test_newest_first_leaves_out_items_of_one_record_wherever_they_stand() -> None:
    con = items()
    con.execute("update profile_items set record_ids = ['r1'] where kind in ('persona', 'stories')")
    _, scores, _, engine = judge(con, lambda _: Fails("invalid"), newest_first=True)
    assert set(scores) == {"u#profile", "u#style"}
    for request in engine.requests:
        assert user_text(request).index("text0") < user_text(request).index("text1")


def test_an_unknown_source_record_is_an_error() -> None:
    con = items()
    con.execute("delete from records where record_id = 'r2'")
    with pytest.raises(MissingRecords, match="materialize"):
        judge(con, lambda _: Fails("invalid"))


def test_a_source_without_scenarios_is_judged_too() -> None:
    con = items()
    con.execute("drop table scenario_items; drop table qa_items")
    counts, _, _, _ = judge(con, lambda r: give(r, 9))
    assert counts.kept == counts.rows_in == 4
