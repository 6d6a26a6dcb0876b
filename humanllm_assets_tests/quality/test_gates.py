"""Gates: a faulty item is stopped before the judge is asked, everything is counted, and thresholds decide."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.quality.assets import qc_lists
from humanllm_assets.quality.gates import check_items, keep_passed
from humanllm_assets.quality.judge import judge_items
from humanllm_assets_tests.filtering.scripted_engine import ROLE, ScriptedEngine, Tables
from humanllm_assets_tests.filtering.tables import record, with_table
from resources.item_kinds import ITEM_KINDS
from resources.prompting.prompts import Prompt
from resources.thresholds import GATES, Gates, Qc, Thresholds

RECORDS = (
    "Nights on the ward taught me that people mostly want someone to sit down for two minutes, and Anna never did.",
    "We took the boat out to Lindental on the 14th and my sister fell asleep before the harbour was out of sight.",
)
TEXTS = {
    "persona": "This person is a nurse who works nights, likes boats, and has a sister.",
    "profile": "A night nurse with a dry kind of humour. Off duty they sail, mostly with their sister, and they think about what "
    "the patients said to them.",
    "stories": "Summary: A trip by boat.\nStory: They sailed out on the 14th, and the sister slept through all of it.",
    "style": "Plain words in long sentences that end on a dry turn; few marks, no capitals for effect.",
}
QA = {
    "qa1": ("The boat leaves the harbour in the morning sun.", "What happens to the sister?", "She falls asleep early on."),
    "qa2": ("A patient rings for the third time that night.", "What does the user think he wants?", "Just some company."),
    "qa3": ("Anna walks past the room of the old man.", "Why is the user annoyed?", "Because she never takes time for anybody."),
}
SCENARIO = (
    "A harbour town.",
    "The user, a nurse; the sister, tired.",
    "They set out by boat, and one of them sleeps all the way.",
)


def world(texts: dict[str, str] | None = None, qa: dict[str, tuple[str, str, str]] | None = None) -> duckdb.DuckDBPyConnection:
    con = with_table([record(f"r{i}", day=i, text=text) for i, text in enumerate(RECORDS)])
    con.execute("create table profiles (item_id varchar, kind varchar, user_id varchar, text varchar, record_ids varchar[])")
    for kind, text in (TEXTS | (texts or {})).items():
        con.execute("insert into profiles values (?, ?, 'u', ?, ['r0', 'r1'])", [f"u#{kind}", kind, text])
    con.execute("create table scenes as select 'r1#scenario' as item_id, 'r1' as record_id, 'u' as user_id, "
                "? as background, ? as characters, ? as plots", list(SCENARIO))  # fmt: skip
    con.execute(
        "create table triplets (item_id varchar, record_id varchar, user_id varchar, scenario varchar, question varchar, answer varchar)"
    )
    for name, parts in (QA | (qa or {})).items():
        con.execute("insert into triplets values (?, 'r0', 'u', ?, ?, ?)", [f"r0#{name}", *parts])
    for view, table in (("profile_items", "profiles"), ("scenario_items", "scenes"), ("qa_items", "triplets")):
        con.execute(f"create view {view} as select * from {table}")
    return con


def check(con: duckdb.DuckDBPyConnection, gates: Gates | None = None) -> tuple[dict[str, int], Tables]:
    tables = Tables()
    prompts = {kind.name: Prompt.load(kind.prompt) for kind in ITEM_KINDS}
    return dict(check_items(con, prompts, gates or Gates(), tables)), tables


def test_good_items_pass_and_every_gate_that_applies_is_measured() -> None:
    stopped, tables = check(world())
    rows = {row["item_id"]: row for row in tables.rows("gates")}
    assert stopped == {} and tables.rows("scores") == [] and len(rows) == 8
    for row in rows.values():
        absent = {"copied_answer", "copied_record"} - {
            {"qa": "copied_answer", "style": "copied_record"}.get(row["item_kind"], "")
        }
        assert {g for g in GATES if row[g] is None} == absent
        assert row["passed"] and row["stopped_by"] is None


@pytest.mark.parametrize(
    ("gate", "texts", "qa"),
    [
        ("repeated_words", {"persona": "This person is a nurse " + "and a nurse " * 20}, {}),
        ("repeated_sentences", {"profile": TEXTS["profile"] + " So it goes at sea. They sail and they sleep, as boats go, in a line. So it goes at sea. And on the ward they sit down again. So it goes at sea. The sister knows that well enough by now, and laughs."}, {}),
        ("prompt_echo", {"persona": "Use only what the texts say or clearly imply; invent nothing. Call the writer a nurse."}, {}),
        ("foreign_share", {"persona": "This person is a nurse. El panadero de la esquina cierra los martes por la tarde."}, {}),
        ("assistant_talk", {"persona": "As an AI, I see a nurse who likes boats."}, {}),
        ("markup", {"style": "**Tone**: dry."}, {}),
        ("copied_answer", {}, {"qa1": ("The user leaves the harbour and her sister falls asleep early on.", "What does she do?", "Her sister falls asleep early on.")}),
        ("copied_record", {"style": "They write: nights on the ward taught me that people mostly want someone."}, {}),
        ("unknown_numbers", {"profile": "A nurse of 47 who earns 90,000 a year and sails."}, {}),
        ("unknown_names", {"stories": "Summary: A trip.\nStory: They met Roberta, then Quentin, and all went to Hamburg."}, {}),
        ("near_duplicate", {"profile": TEXTS["persona"].upper()}, {}),
        ("near_duplicate", {}, {"qa3": ("Another scene at the same harbour.", "What happens to the sister?", "She falls asleep, early on!")}),
    ],
)  # fmt: skip
def test_a_faulty_item_is_stopped_by_its_gate_and_no_other_is(gate: str, texts: Any, qa: Any) -> None:
    (name,) = [*texts, *qa]
    faulty = f"u#{name}" if texts else f"r0#{name}"
    stopped, tables = check(world(texts, qa))
    assert stopped == {f"gate:{gate}": 1}
    assert {r["item_id"]: r["stopped_by"] for r in tables.rows("gates") if not r["passed"]} == {faulty: gate}
    (row,) = tables.rows("scores")
    assert (row["item_id"], row["kept"], row["dropped_by"], row["overall"]) == (faulty, False, f"gate:{gate}", None)
    warned, tables = check(world(texts, qa), Gates(warn=[gate]))  # type: ignore[list-item]
    assert warned == {} and tables.rows("scores") == []
    limit = max(row[gate] for row in tables.rows("gates") if row[gate] is not None)
    assert check(world(texts, qa), Gates(**{gate: limit}))[0] == {}


def test_the_same_text_about_another_record_is_a_duplicate_and_another_users_is_none() -> None:
    con = world()
    con.execute("insert into scenes select 'r0#scenario', 'r0', 'u', background, characters, upper(plots) from scenes")
    con.execute(
        "insert into scenes select 'r9#scenario', 'r9', 'v', background, characters, plots from scenes where record_id = 'r1'"
    )
    stopped, tables = check(con)
    assert stopped == {"gate:near_duplicate": 1}
    assert [r["item_id"] for r in tables.rows("gates") if not r["passed"]] == ["r1#scenario"]


REASON = "Every detail of it stands in the source."


def test_what_is_stopped_does_not_reach_the_judge_and_what_passes_is_asked_as_without_gates() -> None:
    def asked(gates: Gates) -> dict[str, Any]:
        con, engine, tables = (
            world({"persona": "As an AI, I see a nurse."}),
            ScriptedEngine(lambda r: {m: REASON if m == "reason" else 9 for m in r.schema.model_fields}),
            Tables(),
        )  # type: ignore[union-attr]
        check(con, gates)
        for view in ("profile_items", "scenario_items", "qa_items"):
            keep_passed(con, view, view)
        prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
        judge_items(con, engine, ROLE, prompts, Qc(), tables, lambda _: None)  # type: ignore[arg-type]
        return {request.key: request.messages for request in engine.requests}

    with_gates, without = asked(Gates()), asked(Gates(warn=list(GATES)))
    assert set(without) - set(with_gates) == {"u#persona"}
    assert with_gates == {key: messages for key, messages in without.items() if key in with_gates}


def test_a_gate_that_only_warns_blocks_nothing_in_the_contract() -> None:
    def severities(gates: Gates) -> dict[str, str]:
        contract = Contract.load("qc_scores", Thresholds(gates=gates), lists=qc_lists(ITEM_KINDS, gates))
        return {e.id: e.severity for e in contract.expectations if e.id.removeprefix("gates.") in GATES}

    assert set(severities(Gates()).values()) == {"critical"}
    warned = severities(Gates(warn=["unknown_names"]))
    assert {name for name, severity in warned.items() if severity == "warning"} == {"gates.unknown_names"}
    assert set(warned) == {f"gates.{gate}" for gate in GATES}
