"""E1 and B1: one scenario, and triplets of three kinds, per record, or a failure."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.asking.questions import Tally
from humanllm_assets.lineage.code_version import module_versions
from humanllm_assets.synthesis.scenarios import write_scenarios
from humanllm_assets.synthesis.social_qa import KINDS, REFINEMENT, write_social_qa
from humanllm_assets.synthesis.topics import PROMPT, write_topics
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets_tests.filtering.scripted_engine import ROLE, Fails, ScriptedEngine, Tables, user_text
from humanllm_assets_tests.filtering.tables import record, with_table
from resources.llm.requests import LLMRequest
from resources.prompting.prompts import Prompt
from resources.thresholds import Users

SENTENCE = "The user waits at the lake for a friend who promised to come. " * 2


def answer(request: LLMRequest) -> Any:
    if request.key.startswith("r2#"):
        return Fails("invalid")
    fields = request.schema.model_fields  # type: ignore[union-attr]
    if "plots" in fields:
        return dict.fromkeys(fields, SENTENCE)
    if "scenarios" in fields:
        return {"scenarios": [f"{SENTENCE}{line}" for line in user_text(request).splitlines() if line.startswith("Question: ")]}
    n = user_text(request).count("2 exercises") + 1
    return {
        kind: [{"scenario": SENTENCE, "question": f"What about {kind} {i}?", "answer": SENTENCE} for i in range(n)]
        for kind in KINDS
    }


def make_qa(con: Any, reply: Any = answer, **users: Any) -> tuple[Tally, Tables, ScriptedEngine]:
    engine, tables = ScriptedEngine(reply), Tables()
    prompts = {"triplets": Prompt.load("social_qa"), "refinement": Prompt.load(REFINEMENT)}
    counts = write_social_qa(con, engine, ROLE, prompts, Users(**users), tables, lambda _: None)  # type: ignore[arg-type]
    return counts, tables, engine


@pytest.mark.parametrize(("targets_only", "records"), [(False, {"r0", "r1", "r3"}), (True, {"r3"})])
def test_every_record_gives_a_scenario_or_a_failure(targets_only: bool, records: set[str]) -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(4)])
    user_sets(con, Users(persona_share=0.5))
    tables = Tables()
    prompt = Prompt.load("scenario")
    counts = write_scenarios(con, ScriptedEngine(answer), ROLE, prompt, tables, lambda _: None, targets_only=targets_only)  # type: ignore[arg-type]
    assert {i["item_id"] for i in tables.rows("items")} == {f"{r}#scenario" for r in records}
    assert [f["item_id"] for f in tables.rows("failures")] == ["r2#scenario"]
    assert counts.asked == counts.rows_in == len(records) + 1
    assert (counts.kept, counts.dropped) == (len(records), {"llm_failed:invalid": 1})


@pytest.mark.parametrize(("targets_only", "records"), [(False, {"r0", "r1", "r3"}), (True, {"r3"})])
def test_every_record_gives_its_triplets_or_a_failure(targets_only: bool, records: set[str]) -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(4)])
    user_sets(con, Users(persona_share=0.5))
    counts, tables, _ = make_qa(con, qa_targets_only=targets_only)
    assert {i["item_id"] for i in tables.rows("items")} == {f"{r}#qa{i}" for r in records for i in range(1, 7)}
    assert [f["item_id"] for f in tables.rows("failures")] == ["r2#qa"]
    assert (counts.rows_in, counts.asked) == (len(records) + 1, 2 * len(records) + 1)
    assert (counts.kept, counts.dropped) == (len(records), {"llm_failed:invalid": 1})


def test_the_kinds_of_a_record_keep_their_order_and_get_their_own_refined_scenarios() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(2)])
    user_sets(con, Users())
    _, tables, engine = make_qa(con, qa_per_kind=2)
    items = {i["item_id"]: i for i in tables.rows("items") if i["record_id"] == "r0"}
    kinds = [kind for kind in KINDS for _ in range(2)]
    assert [items[f"r0#qa{i}"]["kind"] for i in range(1, 7)] == kinds
    assert all(item["scenario"] == f"{SENTENCE}Question: {item['question']}" for item in items.values())
    assert {item["question"] for item in items.values()} == {f"What about {kind} {i}?" for kind in KINDS for i in range(2)}
    shapes = [r.schema.model_json_schema()["properties"] for r in engine.requests]  # type: ignore[union-attr]
    assert {p["next_action"]["maxItems"] for p in shapes if "next_action" in p} == {2}
    assert {p["scenarios"]["minItems"] for p in shapes if "scenarios" in p} == {6}


def test_a_scenario_that_was_not_refined_is_none() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(2)])
    user_sets(con, Users())
    counts, tables, _ = make_qa(con, lambda r: Fails("cut_off") if r.key == "r1#refined" else answer(r), qa_per_kind=1)
    assert {i["record_id"] for i in tables.rows("items")} == {"r0"} and len(tables.rows("items")) == 3
    assert [(f["item_id"], f["prompt"]) for f in tables.rows("failures")] == [("r1#refined", REFINEMENT)]
    assert (counts.rows_in, counts.kept, counts.dropped) == (2, 1, {"refining_failed:cut_off": 1})


def test_a_topic_that_copies_its_text_is_dropped() -> None:
    text = "I walked to the lake with my sister and we talked about home until it was dark."
    con = with_table([record(f"r{i}", day=i, text=text) for i in range(3)])
    user_sets(con, Users())
    tables = Tables()

    def said(request: LLMRequest) -> Any:
        if request.key == "r2#topic":
            return Fails("wrong_length")
        copied = "walked to the lake with my sister and"  # eight words in a row
        return {"topic": copied.rpartition(" ")[0] + " talking" if request.key == "r0#topic" else copied}

    counts = write_topics(con, ScriptedEngine(said), ROLE, Prompt.load(PROMPT), 7, tables, lambda _: None)  # type: ignore[arg-type]
    assert [(i["item_id"], i["record_id"], i["user_id"]) for i in tables.rows("items")] == [("r0#topic", "r0", "reddit/a")]
    assert (counts.rows_in, counts.kept, counts.dropped) == (3, 1, {"copied": 1, "llm_failed:wrong_length": 1})


@pytest.mark.parametrize(("one", "others"), [("scenarios", {"social_qa", "users"}), ("social_qa", {"scenarios", "users"})])
def test_an_edit_of_another_synthesis_leaves_this_one_fresh(one: str, others: set[str]) -> None:
    versions = module_versions(f"humanllm_assets.synthesis.{one}")
    assert not {f"humanllm_assets.synthesis.{other}" for other in others} & set(versions)
