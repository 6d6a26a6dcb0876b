"""Laws of the task data sets: time, split, chance, accounting (T1-T7 and the weak points that are not repeated)."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from humanllm_assets.partitions import UnknownPair, pairs
from humanllm_assets.tasks.item_selection import Candidate, draw_negatives
from humanllm_assets.tasks.personalized_commenting import COMMENT_WORDS
from humanllm_assets.tasks.rendering import render_fields
from humanllm_assets.tasks.samples import build_samples, dropped_samples, plan_samples
from humanllm_assets.tasks.split import split_of
from humanllm_assets.tasks.targets import MissingTable
from humanllm_assets.tasks.texts import cut_words, split_text, wanted_words
from humanllm_assets_tests.tasks.world import connect, record, rows, topic
from resources.thresholds import Tasks

LIMITS = Tasks(test_fraction=0.5)
SOURCES = ("reddit", "amazon", "reddit_comments")
WORLD = rows()


def samples(con: Any, pair: str, limits: Tasks = LIMITS) -> list[dict[str, Any]]:
    plan_samples(con, pair, limits)
    return list(build_samples(con, pair, limits))


@pytest.fixture(scope="module")
def con():
    return connect(WORLD)


@pytest.fixture(scope="module")
def built(con) -> dict[str, list[dict[str, Any]]]:
    return {p: samples(con, p) for p in pairs(SOURCES)}


@pytest.fixture(scope="module")
def times() -> dict[str, tuple[Any, str]]:
    return {r["record_id"]: (r["created_at"], r["record_id"]) for t in ("records", "comments") for r in WORLD[t]}


def test_pairs_are_the_ones_that_exist():
    assert pairs(("amazon",)) == ["profile_generation-amazon", "writing_imitation-amazon", "item_selection-amazon"]
    assert len(pairs(("reddit", "twitter", "blogger", "amazon", "reddit_comments"))) == 4 + 3 + 3 + 4 + 1 + 1


def test_every_pair_has_samples_of_every_variant(built):
    assert all(built.values())
    variants = {(s["task"], s["subtask"]) for rs in built.values() for s in rs}
    assert {v for t, v in variants if t == "item_selection"} == {"persona", "history", "persona_and_history"}
    assert {v for t, v in variants if t == "writing_imitation"} == {"by_topic", "continuation"}
    assert {v for t, v in variants if t == "profile_generation"} == {"profile", "story"}


def test_everything_behind_a_sample_is_earlier_than_its_target(built, times):
    for s in (s for rs in built.values() for s in rs if s["target_record_id"]):
        target = times[s["target_record_id"]]
        assert all(times[r] <= target for r in s["record_ids"]), s["sample_id"]


def test_texts_about_the_user_never_hold_the_target(built):
    behind = {p["item_id"]: p["record_ids"] for p in WORLD["profiles"]}
    for s in (s for rs in built.values() for s in rs):
        assert all(s["target_record_id"] not in behind.get(i, []) for i in s["item_ids"])


def test_a_user_is_in_one_split_in_every_pair(built):
    for s in (s for rs in built.values() for s in rs):
        assert s["split"] == split_of(s["user_id"], LIMITS.test_fraction)
    assert {s["split"] for rs in built.values() for s in rs} == {"train", "test"}


@pytest.mark.parametrize("pair", pairs(SOURCES))
def test_samples_do_not_depend_on_row_order_and_are_equal_on_rerun(built, con, pair):
    assert samples(connect(WORLD, reverse=True), pair) == built[pair] == samples(con, pair)


@pytest.mark.parametrize("pair", pairs(SOURCES))
def test_considered_equals_kept_plus_dropped(con, pair):
    limits = Tasks(test_fraction=0.5, max_samples_per_pair=9)
    counts = plan_samples(con, pair, limits)
    assert counts.entered == counts.kept + sum(counts.dropped.values())
    assert counts.kept == 9 and counts.dropped["over_cap"] > 0
    assert len(list(dropped_samples(con))) == sum(counts.dropped.values())
    assert len(list(build_samples(con, pair, limits))) == 9


def test_one_more_user_moves_no_other_sample(con, built):
    more = rows(users=9)
    after = {s["sample_id"]: s for s in samples(connect(more), "social_qa-reddit")}
    assert all(after[s["sample_id"]] == s for s in built["social_qa-reddit"])


def test_reasons_are_named(con):
    no_people = {**WORLD, "profiles": []}
    assert plan_samples(connect(no_people), "social_qa-reddit", LIMITS).dropped == {"no_persona": 64}
    assert plan_samples(con, "social_qa-reddit", LIMITS).dropped == {"not_after_cutoff": 32}
    few = {**WORLD, "records": [r for r in WORLD["records"] if r["context_id"] in ("item00", "item05", "item10")]}
    assert plan_samples(connect(few), "item_selection-amazon", LIMITS).dropped.keys() >= {"too_few_candidates"}


def test_candidates_are_distinct_never_bought_and_hold_the_target_once(built):
    title_of = {r["context_id"]: r["context_title"] for r in WORLD["records"] if r["source"] == "amazon"}
    bought: dict[str, set[str]] = {}
    for r in WORLD["records"]:
        if r["source"] == "amazon":
            bought.setdefault(r["user_id"], set()).add(r["context_id"])
    target = {r["record_id"]: r["context_id"] for r in WORLD["records"]}
    for s in built["item_selection-amazon"]:
        options = orjson.loads(s["options"])
        assert [o["id"] for o in options] == list("ABCDEFGHIJKLMNOPQRST")
        assert len({o["item_id"] for o in options}) == len({o["text"] for o in options}) == 20
        assert {o["item_id"] for o in options} & bought[s["user_id"]] == {target[s["target_record_id"]]}
        assert next(o for o in options if o["id"] == s["answer"])["item_id"] == target[s["target_record_id"]]
        assert all(title_of[o["item_id"]] == o["text"] for o in options)


def test_popularity_counts_training_users_only(built):
    buyers: dict[str, set[str]] = {}
    for r in WORLD["records"]:
        if r["source"] == "amazon" and split_of(r["user_id"], LIMITS.test_fraction) == "train":
            buyers.setdefault(r["context_id"], set()).add(r["user_id"])
    for s in built["item_selection-amazon"]:
        assert all(o["popularity"] == len(buyers.get(o["item_id"], ())) for o in orjson.loads(s["options"]))


def test_negatives_from_a_large_pool_are_distinct_and_allowed():
    pool = [Candidate(f"i{n}", f"T{n}", f"t{n}", 0) for n in range(2000)]
    banned = {f"t{n}" for n in range(0, 2000, 2)}
    drawn = draw_negatives(pool, banned, 19, "x")
    assert len({c.item_id for c in drawn}) == 19 and not {c.title_key for c in drawn} & banned
    assert drawn == draw_negatives(pool, banned, 19, "x") != draw_negatives(pool, banned, 19, "y")


def test_item_selection_modes_have_the_declared_shares():
    many = [record("amazon", f"u{u}", n, context_id=f"item{n}", context_title=f"T{n}") for u in range(300) for n in range(4)]
    con = connect({**WORLD, "records": many})
    plan_samples(con, "item_selection-amazon", LIMITS)
    share = dict(con.execute("select subtask, count(*) / 1200 from task_plan group by subtask").fetchall())
    assert abs(share["persona"] - 0.15) < 0.04 and abs(share["history"] - 0.5) < 0.05


def test_open_prompts_name_the_wanted_length(built):
    for s in (s for rs in built.values() for s in rs if s["task"] != "item_selection"):
        question = orjson.loads(s["conversations"])[0]["value"]
        assert f"about {wanted_words(s['answer'])} words" in question
    assert [wanted_words("w " * n) for n in (1, 14, 15, 204, 205)] == [10, 10, 20, 200, 210]


def test_conversations_are_one_human_turn_and_the_answer(built):
    for s in (s for rs in built.values() for s in rs):
        human, gpt = orjson.loads(s["conversations"])
        assert (human["from"], gpt) == ("human", {"from": "gpt", "value": s["answer"]})
        assert s["answer"].strip()
        assert (s["fields"] is not None) == (s["split"] == "test")
        if s["fields"]:
            assert render_fields(orjson.loads(s["fields"])) == human["value"]


def test_the_topic_and_the_beginning_are_not_part_of_the_answer(built):
    for s in built["writing_imitation-reddit"]:
        question = orjson.loads(s["conversations"])[0]["value"]
        assert s["answer"] not in question


def test_a_text_is_written_from_its_topic_which_the_synthesizer_wrote():
    tweets = [record("twitter", "u", n) for n in range(12)]
    without = tweets[3]["record_id"]
    topics = [topic(row) for row in tweets if row["record_id"] != without]
    con = connect({**WORLD, "records": tweets, "topics": topics})
    built = samples(con, "writing_imitation-twitter")
    mine = [s for s in built if s["subtask"] == "by_topic"]
    texts = {row["record_id"]: row["text"] for row in tweets}
    assert mine and all(s["answer"] == texts[s["target_record_id"]] for s in mine)
    shown = {s["target_record_id"]: orjson.loads(s["conversations"])[0]["value"] for s in mine}
    assert all(f"Its topic:\n<topic>\nWhat {key} tells\n</topic>" in text for key, text in shown.items())
    plans = con.execute("select subtask, record_id, reason from task_plan").fetchall()
    assert {r for _, r, reason in plans if reason == "no_topic"} <= {without}
    assert ("continuation", without, None) in plans or ("by_topic", without, "no_topic") in plans


def test_a_review_is_written_about_its_product_and_stars():
    reviews = [
        record("amazon", "u", n, rating=r, context_title=t) for n, (r, t) in enumerate([(4.0, "Tea kettle"), (None, None)] * 8)
    ]
    built = samples(connect({**WORLD, "records": reviews}), "writing_imitation-amazon")
    asked = {orjson.loads(s["conversations"])[0]["value"] for s in built if s["subtask"] == "by_topic"}
    says = (
        "as this person would write it about Tea kettle, giving it 4 of 5 stars. Its topic:",
        "write it about a product. Its topic:",
    )
    assert asked and all(any(said in text for said in says) for text in asked)


def test_comment_history_is_one_to_five_earlier_comments_cut_at_300_words(built):
    lengths = set()
    for s in built["personalized_commenting-reddit_comments"]:
        question = orjson.loads(s["conversations"])[0]["value"]
        shown = re.findall(r"<comment>\n(.*?)\n</comment>", question, re.S)
        lengths.add(len(shown))
        assert all(len(c.removesuffix(" …").split()) <= COMMENT_WORDS for c in shown)
        long_one = f"reddit_comments:{s['user_id'].split('/')[1]}2"
        if long_one in s["record_ids"] and long_one != s["target_record_id"]:
            assert any(c.endswith(" …") for c in shown)
    assert lengths == {1, 2, 3, 4, 5}


def test_a_comments_post_is_the_filtered_one_named_among_its_records_and_its_author_is_of_the_same_split(built, con):
    posts = {r["record_id"]: r for r in WORLD["records"] if r["source"] == "reddit"}
    answered = {c["record_id"]: posts[c["context_id"]] for c in WORLD["comments"]}
    mine = built["personalized_commenting-reddit_comments"]
    for s in mine:
        post = answered[s["target_record_id"]]
        assert f"<post>\n{post['text']}\n</post>" in orjson.loads(s["conversations"])[0]["value"]
        assert post["record_id"] in s["record_ids"]
        assert split_of(post["user_id"], 0.5) == s["split"]
    assert {s["split"] for s in mine} == {"train", "test"}
    plan_samples(con, "personalized_commenting-reddit_comments", LIMITS)
    dropped = {r["record_id"]: r["reason"] for r in dropped_samples(con)}
    apart = {
        c["record_id"]
        for c in WORLD["comments"]
        if len({split_of(u, 0.5) for u in (c["user_id"], answered[c["record_id"]]["user_id"])}) > 1
    }
    assert apart and {c for c, reason in dropped.items() if reason == "author_in_other_split"} == apart


def test_a_comment_whose_post_was_not_kept_is_no_sample(built):
    sample = built["personalized_commenting-reddit_comments"][0]
    target = next(c for c in WORLD["comments"] if c["record_id"] == sample["target_record_id"])
    con = connect({**WORLD, "records": [r for r in WORLD["records"] if r["record_id"] != target["context_id"]]})
    left = {s["target_record_id"] for s in samples(con, "personalized_commenting-reddit_comments")}
    assert target["record_id"] not in left
    gone = {r["record_id"] for r in dropped_samples(con) if r["reason"] == "post_not_filtered"}
    assert gone == {c["record_id"] for c in WORLD["comments"] if c["context_id"] == target["context_id"]}


def test_a_post_without_its_title_is_shown_with_it():
    for text, shown in (("A day\n\nIt rained.", "A day\n\nIt rained."), ("It rained.", "A day\n\nIt rained.")):
        post = record("reddit", "a", 0, title="A day", text=text)
        comments = [record("reddit_comments", "a", n, context_id=post["record_id"]) for n in range(2)]
        (sample,) = samples(
            connect({**WORLD, "records": [post], "comments": comments, "profiles": WORLD["profiles"][:1]}),
            "personalized_commenting-reddit_comments",
        )
        assert f"<post>\n{shown}\n</post>" in orjson.loads(sample["conversations"])[0]["value"]


def test_ties_in_time_are_broken_by_record_id():
    same = [{**record("twitter", "u", n), "created_at": record("twitter", "u", 0)["created_at"]} for n in range(3)]
    con = connect({**WORLD, "records": same})
    plan_samples(con, "writing_imitation-twitter", LIMITS)
    history = dict(con.execute("select record_id, history_ids from task_plan").fetchall())
    assert history == {"twitter:u0": [], "twitter:u1": ["twitter:u0"], "twitter:u2": ["twitter:u0", "twitter:u1"]}


def test_cuts():
    assert cut_words("a b\nc d", 3) == "a b\nc …" and cut_words("a b", 2) == "a b"
    text = " ".join(map(str, range(100)))
    beginning, rest = split_text(text, "seed")
    assert f"{beginning} {rest}" == text and 30 <= len(beginning.split()) <= 70


def test_errors_name_the_remedy(con):
    with pytest.raises(UnknownPair, match="known pairs"):
        plan_samples(con, "item_selection-twitter", LIMITS)
    empty = connect(WORLD)
    empty.execute("drop table social_qa")
    with pytest.raises(MissingTable, match="social_qa; create them"):
        plan_samples(empty, "social_qa-reddit", LIMITS)
