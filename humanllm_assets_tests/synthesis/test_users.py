"""P1-P5: the persona never sees a target record, cuts are recorded, every request is accounted for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanllm_assets.asking.record_text import record_text
from humanllm_assets.synthesis.assets import find_word_limits
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets.synthesis.users import write_profiles
from humanllm_assets_tests.filtering.scripted_engine import ROLE, Fails, ScriptedEngine, Tables, user_text
from humanllm_assets_tests.filtering.tables import column, record, with_table
from resources.item_kinds import USER_TEXTS
from resources.llm.requests import LLMRequest
from resources.profile import Role
from resources.prompting.lengths import WordLimits
from resources.prompting.prompts import Prompt
from resources.thresholds import Thresholds, Users, Words

KINDS = [kind.name for kind in USER_TEXTS]
LONG = "She likes quiet mornings and writes about them. " * 12


def answer(request: LLMRequest) -> Any:
    if "stories" in request.schema.model_fields:  # type: ignore[union-attr]
        return {"stories": [{"summary": LONG[:200], "story": LONG}] * 2}
    return {"text": LONG}


def profiles(con: Any, role: Role = ROLE, reply: Any = answer, words: Any = None) -> Any:
    engine, tables = ScriptedEngine(reply), Tables()
    prompts = {kind.name: Prompt.load(kind.prompt) for kind in USER_TEXTS}
    counts = write_profiles(con, engine, role, prompts, words or {}, tables, lambda _: None)  # type: ignore[arg-type]
    return counts, tables, engine


@settings(max_examples=25, deadline=None)
@given(
    days=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    share=st.sampled_from([0.1, 0.5, 0.7, 1.0]),
)
def test_targets_are_strictly_later_than_the_persona(days: list[int], share: float) -> None:
    con = with_table([record(f"r{i}", day=day) for i, day in enumerate(days)])
    user_sets(con, Users(min_records=1, persona_share=share))
    parts = {part: column(con, f"select created_at from user_records where part = '{part}'") for part in ("persona", "target")}
    assert len(parts["persona"]) + len(parts["target"]) == len(days)
    assert parts["persona"]
    assert bool(parts["target"]) == (len(set(days)) > 1)
    assert not parts["target"] or max(parts["persona"]) < min(parts["target"])


@pytest.mark.parametrize(
    ("days", "persona"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 7),
        ([0, 1], 1),
        ([0, 1, 1, 2], 3),  # the cut after 3 of 4 splits nothing
        ([0, 1, 2, 2, 2, 3], 5),  # after 4 of 6 it would split a moment, which goes to the persona
        ([0, 1, 2, 2, 2], 2),  # no target would be left, so the moment goes to the targets
        ([5, 5, 5], 3),  # no order, no targets
    ],
)
def test_where_the_cut_falls(days: list[int], persona: int) -> None:
    con = with_table([record(f"r{i}", day=day) for i, day in enumerate(days)])
    user_sets(con, Users())
    assert column(con, "select count(*) from user_records where part = 'persona'") == [persona]


def test_users_with_too_few_records_are_dropped_with_a_reason() -> None:
    con = with_table([record("r0", user="a"), record("r1", user="b"), record("r2", user="b", slice="other", day=1)])
    user_sets(con, Users(min_records=2))
    assert con.execute("select * from dropped_users").fetchall() == [("reddit/a", "too_few_records", 1)]
    assert column(con, "select distinct user_id from user_records") == ["reddit/b"]


def test_a_source_may_ask_for_more_records_of_a_user() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(3)])
    for source, users in (("amazon", 0), ("reddit", 1)):
        user_sets(con, Users(min_records=2, min_records_of={"amazon": 4}), source)
        assert len(column(con, "select distinct user_id from user_records")) == users


def test_items_name_the_records_they_were_written_from() -> None:
    con = with_table([record(f"r{i}", user=u, day=i, text=f"text-{i}-{u}") for u in "ab" for i in range(4)])
    con.execute("update records set record_id = user_id || record_id")
    user_sets(con, Users())
    counts, tables, engine = profiles(con)
    items = {item["item_id"]: item for item in tables.rows("items")}
    assert set(items) == {f"reddit/{u}#{kind}" for u in "ab" for kind in KINDS}
    assert items["reddit/a#persona"]["record_ids"] == ["reddit/ar0", "reddit/ar1", "reddit/ar2"]
    assert {(i["cut_records"], i["cutoff_at"].day) for i in items.values()} == {(0, 3)}
    assert all("text-3" not in user_text(request) for request in engine.requests)
    assert all(item["n_words"] == len(item["text"].split()) for item in items.values())
    assert items["reddit/a#stories"]["text"].count("Summary: ") == items["reddit/a#stories"]["text"].count("\nStory: ") == 2
    assert (counts.rows_in, counts.asked, counts.kept, counts.cut_texts) == (8, 8, 8, 0)
    shown = user_text(engine.requests[0])
    assert shown.index("text-0") < shown.index("text-1") < shown.index("text-2")


def test_the_oldest_records_are_cut_and_recorded() -> None:
    con = with_table([record(f"r{i}", day=i, text=f"text{i} " + "word " * 20) for i in range(4)])
    user_sets(con, Users(persona_share=0.75))
    counts, tables, engine = profiles(con, Role(model="tiny", max_input_tokens=50))
    assert {(tuple(i["record_ids"]), i["cut_records"]) for i in tables.rows("items")} == {(("r1", "r2"), 1)}
    assert all("text0" not in user_text(request) and "text1" in user_text(request) for request in engine.requests)
    assert counts.cut_texts == 4


def test_a_failed_request_is_a_failure_and_not_an_item() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(2)])
    user_sets(con, Users())
    counts, tables, _ = profiles(con, reply=lambda r: Fails("cut_off") if r.key.endswith("#profile") else answer(r))
    assert [(f["item_id"], f["prompt"], f["reason"]) for f in tables.rows("failures")] == [
        ("reddit/a#profile", "user_profile", "cut_off")
    ]
    assert counts.rows_in == len(tables.rows("items")) + len(tables.rows("failures")) == 4
    assert counts.failed == {"user_profile": 1}


def test_a_text_is_asked_for_with_the_limits_of_its_kind() -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(2)])
    user_sets(con, Users())
    limits = find_word_limits(USER_TEXTS, Thresholds(words=Words(persona_max=77)))
    assert limits == {"persona": WordLimits(None, 77), "profile": WordLimits(100, 400)}
    _, _, engine = profiles(con, words=limits)
    assert {r.key.split("#")[1]: r.words for r in engine.requests} == {**dict.fromkeys(KINDS), **limits}


def test_the_four_prompts_of_a_user_share_their_beginning() -> None:
    rendered = [Prompt.load(name).render(records="DOCUMENT") for name in (kind.prompt for kind in USER_TEXTS)]
    assert len({(messages[0], messages[1][1].split("DOCUMENT")[0]) for messages in rendered}) == 1


def test_an_amazon_record_shows_its_item() -> None:
    row = record("r0", source="amazon", context_title="Tea kettle", rating=4.0, title="Nice", text="It boils.")
    assert record_text(row) == "[2020-01-01] Review of Tea kettle, 4 of 5 stars\nNice\nIt boils."
