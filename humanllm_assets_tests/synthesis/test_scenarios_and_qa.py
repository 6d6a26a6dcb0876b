"""E1 and B1: one scenario and three triplets per record, or a failure."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.lineage.code_version import module_versions
from humanllm_assets.synthesis.scenarios import write_scenarios
from humanllm_assets.synthesis.social_qa import KINDS, write_social_qa
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets_tests.filtering.scripted_engine import ROLE, Fails, ScriptedEngine, Tables
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
    return {kind: {"scenario": SENTENCE, "question": f"What about {kind}?", "answer": SENTENCE} for kind in KINDS}


@pytest.mark.parametrize(
    ("stage", "name", "ids"),
    [
        (write_scenarios, "scenario", {"scenario"}),
        (write_social_qa, "social_qa", {"qa1", "qa2", "qa3"}),
    ],
)
@pytest.mark.parametrize(("targets_only", "records"), [(False, {"r0", "r1", "r3"}), (True, {"r3"})])
def test_every_record_gives_its_items_or_a_failure(
    stage: Any, name: str, ids: set[str], targets_only: bool, records: set[str]
) -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(4)])
    user_sets(con, Users(persona_share=0.5))
    tables = Tables()
    engine = ScriptedEngine(answer)
    counts = stage(con, engine, ROLE, Prompt.load(name), tables, lambda _: None, targets_only=targets_only)
    assert {i["item_id"] for i in tables.rows("items")} == {f"{r}#{i}" for r in records for i in ids}
    assert [f["item_id"] for f in tables.rows("failures")] == [f"r2#{name.removeprefix('social_')}"]
    assert counts.asked == counts.rows_in == len(records) + 1
    assert (counts.kept, counts.dropped) == (len(records), {"llm_failed:invalid": 1})


def test_the_kinds_of_a_record_keep_their_order() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(2)])
    user_sets(con, Users())
    tables = Tables()
    write_social_qa(con, ScriptedEngine(answer), ROLE, Prompt.load("social_qa"), tables, lambda _: None)  # type: ignore[arg-type]
    kinds = {i["item_id"]: i["kind"] for i in tables.rows("items") if i["record_id"] == "r0"}
    assert kinds == {"r0#qa1": "next_action", "r0#qa2": "mental_state", "r0#qa3": "social_reasoning"}


@pytest.mark.parametrize(("one", "others"), [("scenarios", {"social_qa", "users"}), ("social_qa", {"scenarios", "users"})])
def test_an_edit_of_another_synthesis_leaves_this_one_fresh(one: str, others: set[str]) -> None:
    versions = module_versions(f"humanllm_assets.synthesis.{one}")
    assert not {f"humanllm_assets.synthesis.{other}" for other in others} & set(versions)
