"""Laws of cost on the real graph, counted at the model server: a change of some records asks about those records alone."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from humanllm_assets.commands.forget import forget_user
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.tombstones import user_hash
from humanllm_assets.tasks.split import split_of
from humanllm_assets_tests.lineage.reddit_world import (
    NAMES,
    RECORDS,
    USERS,
    RedditWorld,
    about,
    copying_answer,
    kinds,
    published_text,
    run_graph,
    submission,
)
from resources.llm import dummy_server
from resources.llm.dummy_server import DummyServer
from resources.prompting.prompts import PROMPTS, Prompt

BY_PLACE = sorted(USERS["one"], key=lambda name: user_hash(f"reddit/{name}"))
ASKED = {*NAMES} - {BY_PLACE[-1]}  # the last of slice `one` has no place
PER_RECORD = {
    "Rewritten": 1,
    "Labelled": 1,
    "Scenario": 1,
    "SocialQA": 1,
    "RefinedScenarios": 1,
    "Topic": 1,
    "ScenarioScores": 1,
    "QaScores": 6,
}
PER_USER = dict.fromkeys(
    ("Persona", "UserProfile", "Stories", "WritingStyle", "PersonaScores", "ProfileScores", "StoriesScores", "StyleScores"), 1
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A world that was run once, and what that asked."""
    with pytest.MonkeyPatch.context() as patch, DummyServer() as server:
        patch.setattr(dummy_server, "answer_to", copying_answer)
        world = RedditWorld(tmp_path_factory.mktemp("base"), server)
        yield world, world.run()


@pytest.fixture
def world(base, tmp_path: Path) -> RedditWorld:
    return base[0].copy_to(tmp_path)


def test_the_first_run_asks_once_about_everybody_who_has_a_place(base):
    _, bodies = base
    assert about(bodies) == ASKED
    records = {kind: n * RECORDS * len(ASKED) for kind, n in PER_RECORD.items()}
    assert kinds(bodies) == {**records, **{kind: n * len(ASKED) for kind, n in PER_USER.items()}}


def test_a_rerun_asks_nothing(world):
    assert world.run() == [] and world.computed == []


def test_appended_records_ask_about_themselves_and_their_user(world):
    name = BY_PLACE[0]
    world.rows["one"] += [submission(name, RECORDS), submission(name, RECORDS + 1)]
    bodies = world.run()
    assert about(bodies) == {name}
    assert kinds(bodies) == {**{kind: 2 * n for kind, n in PER_RECORD.items()}, **PER_USER}


def test_an_edited_record_asks_about_itself_alone(world):
    name = BY_PLACE[1]
    place = next(i for i, row in enumerate(world.rows["one"]) if row["id"] == f"{name}{RECORDS - 1}")
    world.rows["one"][place] = submission(name, RECORDS - 1, " again")  # the latest: no text about the user was made from it
    bodies = world.run()
    assert kinds(bodies) == PER_RECORD
    assert all(f"that {name} had" in str(b["messages"]) and "again" in str(b["messages"]) for b in bodies)


def test_a_changed_threshold_asks_nothing(world):
    thresholds = world.project.profile.thresholds.model_dump()
    thresholds["qc"]["overall_above"] = 6
    thresholds["rules"]["reddit"]["min_score"] = 3
    world.project.edit(thresholds=thresholds)
    assert world.run() == []
    assert ("qc_scores", "reddit") in world.computed and ("eligible_reddit", "one") in world.computed


def test_a_changed_prompt_asks_that_prompt_alone(world, tmp_path, monkeypatch):
    folder = tmp_path / "prompts"
    shutil.copytree(PROMPTS, folder)
    path = folder / "scenario.md"
    path.write_text(path.read_text().replace("## system\n", "## system\nTake your time.\n", 1))
    monkeypatch.setattr(Prompt.load.__func__, "__defaults__", (folder,))
    bodies = world.run()
    records = RECORDS * len(ASKED)
    # the scenarios are new texts, which the judge has not seen
    assert kinds(bodies) == {"Scenario": records, "ScenarioScores": records}


def test_a_record_that_moves_to_another_slice_asks_nothing(world):
    row = next(row for row in world.rows["one"] if row["author"] == BY_PLACE[0])
    world.rows["one"].remove(row)
    world.rows["two"].append(row)
    assert world.run() == []
    assert {("filtered_reddit", "one"), ("filtered_reddit", "two")} <= {*world.computed}


def test_a_user_who_leaves_the_file_asks_nothing(world):
    name = USERS["two"][0]
    world.rows["two"] = [row for row in world.rows["two"] if row["author"] != name]
    assert world.run() == []
    assert name not in world.published_text().lower()


def test_a_takedown_asks_nothing_and_leaves_nothing_of_the_user(world):
    name = BY_PLACE[0]
    assert name in world.published_text().lower()
    tombstone = forget_user(world.project.profile, world.project.home, world.project.store, f"reddit/{name}", "asked for it")
    assert tombstone.slots == {"reddit": ["one"]}
    assert name not in world.project.home.tombstones.read_text()
    assert world.run() == []
    assert name not in world.published_text().lower()
    assert ("filtered_reddit", "one") in world.computed
    assert ("filtered_reddit", "two") not in world.computed, "an equal slice keeps what follows it fresh"
    dropped = world.project.store.published("eligible_reddit", "one").manifest.counts.dropped
    assert dropped["forgotten"] == RECORDS
    assert world.run() == [] and world.computed == []
    world.rows["one"].append(submission(name, RECORDS))  # a later file brings the user again
    assert world.run() == [] and name not in world.published_text().lower()


def test_takedowns_of_commenters_and_buyers_ask_nothing_and_take_nothing_from_others(project, dummy):
    """Commenters share Reddit's users; without the buyer an item would fall out of Amazon's core, and others' reviews with it."""
    graph = build_graph(project.profile, project.home)
    assets = ("filtered_reddit_comments", "filtered_amazon", "eligible_amazon")
    targets = [("user_profiles", "amazon"), *((a, p) for a in assets for p in graph[a].partitions)]
    run_graph(project, graph, targets)
    asked = dummy.requests

    def records(asset: str) -> set[tuple[str, str]]:
        files = [str(project.store.published(asset, p).path("records")) for p in graph[asset].partitions]
        return {*duckdb.sql(f"select user_id, record_id from read_parquet({files})").fetchall()}

    before = {asset: records(asset) for asset in assets}
    sold = [(sum(r.endswith(i) for _, r in before["eligible_amazon"]), u) for u, i in _bought(before["filtered_amazon"])]
    assert min(sold)[0] == project.profile.thresholds.rules.amazon.min_item_purchases
    forgotten = dict.fromkeys(assets, min(sold)[1]) | {assets[0]: min(user for user, _ in before[assets[0]])}
    for user in {*forgotten.values()}:
        forget_user(project.profile, project.home, project.store, user, "")
    assert ("amazon_core", "") not in run_graph(project, graph, targets)  # it names nobody: row numbers alone
    assert dummy.requests == asked
    for asset, user in forgotten.items():
        assert records(asset) == {row for row in before[asset] if row[0] != user} < before[asset]
        assert user not in published_text(project, graph)


def test_a_takedown_of_an_answered_author_asks_nothing_and_takes_the_answers_to_the_posts_alone(project, dummy):
    """And before it: no text of a post stands beside a comment but that of a filtered one, in a sample that names it."""
    graph, pair = build_graph(project.profile, project.home), "personalized_commenting-reddit_comments"
    commented = ("eligible_reddit_comments", "filtered_reddit_comments", "task_datasets")
    run_graph(project, graph, [("task_datasets", pair)])
    asked = dummy.requests

    def rows(asset: str, columns: str, table: str = "records") -> list[tuple]:
        partitions = [pair] if asset == "task_datasets" else graph[asset].partitions
        files = [str(project.store.published(asset, p).path(table)) for p in partitions]
        return duckdb.sql(f"select {columns} from read_parquet({files}) order by all").fetchall()

    posts = {r: (user, text) for r, user, text in rows("filtered_reddit", "record_id, user_id, text")}
    comments = rows("filtered_reddit_comments", "record_id, user_id, context_id, context_title, context_text")
    assert comments and all(c[2] in posts and c[3] is c[4] is None for c in comments)
    context = {c[0]: c[2] for c in comments}
    said = {r: text for r, text in rows("eligible_reddit", "record_id, text")}
    shown = json.dumps([rows(a, "*", "samples" if a == "task_datasets" else "records") for a in commented], default=str)
    assert not [r for r, text in said.items() if json.dumps(text)[1:-1][:200] in shown]
    samples = rows("task_datasets", "target_record_id, record_ids, conversations, user_id, split", "samples")
    for target, record_ids, conversations, user, split in samples:
        author, text = posts[context[target]]
        assert context[target] in record_ids and json.dumps(text, ensure_ascii=False)[1:-1] in conversations
        assert split == split_of(user, 0.5) == split_of(author, 0.5)

    answered = Counter(posts[post][0] for post in context.values())
    author = answered.most_common(1)[0][0]
    mine = {r for r, (user, _) in posts.items() if user == author}
    tombstone = forget_user(project.profile, project.home, project.store, author, "")
    assert sorted(h for hashes in tombstone.posts["reddit_comments"].values() for h in hashes) == sorted(map(user_hash, mine))
    computed = run_graph(project, graph, [("task_datasets", pair)])
    assert dummy.requests == asked and ("task_datasets", pair) in computed
    left = {r for (r,) in rows("filtered_reddit_comments", "record_id")}
    assert left == {c[0] for c in comments if c[1] != author and c[2] not in mine} < {*context}
    reasons = Counter(r for (r,) in rows("filtered_reddit_comments", "reason", "dropped"))
    assert reasons["post_not_filtered"] >= len({c[0] for c in comments if c[2] in mine and c[1] != author})
    assert author not in published_text(project, graph)
    assert not [s for s in rows("task_datasets", "record_ids", "samples") if mine & {*s[0]}]
    assert run_graph(project, graph, [("task_datasets", pair)]) == []


def _bought(reviews: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """User and item of reviews; a review's id ends in its item."""
    return {(user, record_id.rsplit(":", 1)[1]) for user, record_id in reviews}
