"""Laws of what may stand in a sample, at the edges: the target's own time, the limits of words, the cap."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from humanllm_assets.tasks.samples import build_samples, plan_samples
from humanllm_assets.tasks.split import stable_int
from humanllm_assets.tasks.texts import cut_words, wanted_words
from humanllm_assets_tests.tasks.world import about, connect, record, rows
from resources.thresholds import Tasks

LIMITS = Tasks(test_fraction=0.5)
WORLD = rows()
WITH_HISTORY = ("personalized_commenting-reddit_comments", "item_selection-amazon", "writing_imitation-reddit")


def plan_rows(tables: dict[str, Any], pair: str, limits: Tasks = LIMITS) -> list[dict[str, Any]]:
    """The plan of a pair: every possible sample, with the reason why it is left out."""
    con = connect(tables)
    plan_samples(con, pair, limits)
    return con.sql("from task_plan order by sample_id").to_arrow_table().to_pylist()


def words(n: int) -> str:
    return " ".join(["word"] * n)


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", WITH_HISTORY)
def test_a_history_is_strictly_earlier_than_its_target_and_never_holds_it(pair):
    time_of = {r["record_id"]: (r["created_at"], r["record_id"]) for t in ("records", "comments") for r in WORLD[t]}
    planned = plan_rows(WORLD, pair)
    assert any(row["history_ids"] for row in planned)
    for row in planned:
        assert all(time_of[earlier] < time_of[row["record_id"]] for earlier in row["history_ids"]), row["sample_id"]


@pytest.mark.parametrize("pair", WITH_HISTORY)
def test_what_is_shown_of_a_history_is_its_records_oldest_first(pair):
    by_id = {r["record_id"]: r for t in ("records", "comments") for r in WORLD[t]}
    histories = {row["sample_id"]: row["history_ids"] for row in plan_rows(WORLD, pair)}
    con = connect(WORLD)
    plan_samples(con, pair, LIMITS)
    shown = {s["sample_id"]: orjson.loads(s["fields"])["history"] for s in build_samples(con, pair, LIMITS) if s["fields"]}
    column = "context_title" if pair.startswith("item_selection") else "text"
    assert any(len(history) > 1 for history in shown.values())
    for sample_id, history in shown.items():
        assert history == [cut_words(by_id[r][column], 300) for r in histories[sample_id]]


def one_question(cutoff: timedelta, record_ids: list[str]) -> str | None:
    """Why a question about the second record is left out, given a persona that ends so long after that record."""
    mine = [record("reddit", "u", n) for n in range(2)]
    persona = about("reddit/u", "persona", "Persona.", record_ids, 0) | {"cutoff_at": mine[1]["created_at"] + cutoff}
    question = WORLD["social_qa"][0] | {k: mine[1][k] for k in ("record_id", "user_id", "created_at")}
    (row,) = plan_rows({**WORLD, "records": mine, "profiles": [persona], "social_qa": [question]}, "social_qa-reddit")
    return row["reason"]


def test_a_text_about_the_user_ends_before_the_targets_time():
    earlier = ["reddit:u0"]
    assert one_question(timedelta(microseconds=-1), earlier) is None
    assert one_question(timedelta(0), earlier) == "not_after_cutoff"
    assert one_question(timedelta(microseconds=1), earlier) == "not_after_cutoff"


def test_a_text_about_the_user_that_was_written_from_the_target_is_not_shown():
    assert one_question(timedelta(days=-1), ["reddit:u0", "reddit:u1"]) == "not_after_cutoff"


# ---- lengths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "reason"), [(9, "too_short"), (10, None)])
def test_an_answer_has_ten_words(n, reason):
    scenario = WORLD["scenarios"][0] | {"plots": words(n)}
    (row,) = plan_rows({**WORLD, "scenarios": [scenario]}, "scenario_generation-reddit")
    assert row["reason"] == reason
    post = record("reddit", "u", 1, title="Topic", text=words(n))
    planned = plan_rows({**WORLD, "records": [record("reddit", "u", 0), post]}, "writing_imitation-reddit")
    assert {row["record_id"]: row["reason"] for row in planned}["reddit:u1"] == reason


@pytest.mark.parametrize(("n", "divided"), [(39, False), (40, True)])
def test_a_text_that_is_divided_has_forty_words(n, divided):
    posts = [record("reddit", "u", i, title="Topic", text=words(n)) for i in range(20)]
    planned = plan_rows({**WORLD, "records": posts}, "writing_imitation-reddit")
    assert ("continuation" in {row["subtask"] for row in planned}) == divided
    persona = about("reddit/u", "persona", "Persona.", ["reddit:u0"], 0)
    story = about("reddit/u", "stories", f"Summary: one\nStory: {words(n)}", ["reddit:u0"], 0)
    planned = plan_rows({**WORLD, "profiles": [persona, story]}, "profile_generation-reddit")
    assert [row["reason"] for row in planned if row["subtask"] == "story"] == [None if divided else "too_short"]


def test_an_earlier_comment_of_300_words_is_shown_whole_and_one_of_301_is_cut():
    post = WORLD["records"][0]["record_id"]
    for n, expected in ((300, words(300)), (301, f"{words(300)} …")):
        comments = [record("reddit_comments", "u", i, context_id=post, text=words(n)) for i in range(2)]
        con = connect({**WORLD, "comments": comments})
        limits = Tasks(test_fraction=1.0)
        plan_samples(con, "personalized_commenting-reddit_comments", limits)
        (sample,) = build_samples(con, "personalized_commenting-reddit_comments", limits)
        assert orjson.loads(sample["fields"])["history"] == [expected]


def test_a_prompt_asks_for_the_next_ten_from_half_of_them_on():
    assert [wanted_words(words(n)) for n in (0, 10, 14, 15, 24, 25)] == [10, 10, 10, 20, 20, 30]


@pytest.mark.parametrize(("items", "reason"), [(19, "too_few_candidates"), (20, None)])
def test_a_choice_needs_as_many_titles_as_it_has_candidates(items, reason):
    """Nineteen that the person never bought and the one that was bought."""

    def review(user: str, n: int) -> dict[str, Any]:
        return record("amazon", user, n, context_id=f"i{n:02}", context_title=f"Title {n}")

    reviews = [review("buyer", 0), *(review("other", n) for n in range(1, items))]
    planned = plan_rows({**WORLD, "records": reviews, "profiles": []}, "item_selection-amazon", Tasks(candidates=20))
    (mine,) = [row for row in planned if row["user_id"] == "amazon/buyer"]
    assert (mine["reason"] == "too_few_candidates") == (reason is not None)


# ---- the cap ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [1, 7, 20])
def test_a_cap_keeps_the_samples_that_are_first_by_hash_among_those_that_could_be_kept(cap):
    free = [row["sample_id"] for row in plan_rows(WORLD, "social_qa-reddit") if row["reason"] is None]
    first = sorted(free, key=lambda sample_id: (stable_int("cap", sample_id), sample_id))[:cap]
    capped = plan_rows(WORLD, "social_qa-reddit", Tasks(test_fraction=0.5, max_samples_per_pair=cap))
    assert sorted(row["sample_id"] for row in capped if row["reason"] is None) == sorted(first)
    assert {row["reason"] for row in capped if row["sample_id"] in set(free) - set(first)} == {"over_cap"}
