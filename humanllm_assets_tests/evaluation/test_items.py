"""Laws of the in-domain questions (V1) and of the applications (V4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest

from humanllm_assets.asking.questions import Sink, Tally
from humanllm_assets.evaluation.benchmarks import application as apps
from humanllm_assets.evaluation.benchmarks.choice import (
    choice_items,
    fit_length,
    near_duplicates,
    plain_text,
    write_distractors,
)
from humanllm_assets.evaluation.benchmarks.item_selection import item_selection_items
from humanllm_assets.evaluation.controls import CONTROLS
from humanllm_assets.evaluation.items import choose_samples
from humanllm_assets.partitions import pairs
from humanllm_assets.tasks.samples import build_samples, plan_samples
from humanllm_assets.tasks.split import stable_int
from humanllm_assets_tests.tasks.world import connect, prose, rows
from resources.llm.requests import LLMReply, LLMRequest
from resources.profile import TASKS, Distractor, ProfileError, Role
from resources.thresholds import Tasks

LIMITS = Tasks(test_fraction=0.6)
WRITERS = [Distractor(model=f"m{i}", seed=i) for i in range(7)]


class FakeEngine:
    """Answers free text that depends on model, seed and key; every tenth reply fails, every ninth is cut off."""

    def __init__(self) -> None:
        self.roles: list[Role] = []

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Callable[[str], None], total: int | None = None
    ) -> Iterator[LLMReply]:
        self.roles.append(role)
        for n, r in enumerate(requests):
            text = f"Sure, here is the answer:\n\n## **Title**\n- {prose(stable_int(role.model, role.seed, r.key) % 1000, 90)}"
            if n % 10 == 9:
                yield LLMReply(r.key, None, "", "refused:400", 1, 1, 0, False)
            elif n % 9 == 8:
                yield LLMReply(r.key, None, text, "cut_off", 3, 1, 1, False)
            else:
                yield LLMReply(r.key, text, text, None, 1, 1, 1, False)


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    con = connect(rows(users=30))
    result = []
    for pair in pairs(("reddit", "amazon", "reddit_comments")):
        plan_samples(con, pair, LIMITS)
        result += build_samples(con, pair, LIMITS)
    return result


@pytest.fixture(scope="module", params=["profile_generation", "scenario_generation", "social_qa", "writing_imitation"])
def built(request: pytest.FixtureRequest, samples: list[dict[str, Any]]):
    task = request.param
    chosen = choose_samples(samples, task, TASKS[task].choices, "bench", 40)
    engine, counts, failures = FakeEngine(), Tally(), []
    with Sink(lambda table, rows: failures.extend(rows)) as sink:
        role = Role(model="x", max_tokens=99)
        written = write_distractors(engine, chosen, WRITERS, role, print, counts, sink)  # type: ignore[arg-type]
    assert [(r.model, r.seed, r.temperature, r.max_tokens) for r in engine.roles] == [(w.model, w.seed, 0.7, 99) for w in WRITERS]
    assert len(failures) == 7 * (len(chosen) // 10) and all(f["reason"] == "refused:400" for f in failures)
    assert counts.check().asked == 7 * len(chosen) and counts.failed.total() == len(failures)
    return task, chosen, choice_items(samples, "bench", task, written, 40)


def of(items: list[dict[str, Any]], **where: str) -> list[dict[str, Any]]:
    return [i for i in items if all(i[k] == v for k, v in where.items())]


def test_only_the_test_split_is_asked(built, samples):
    test_users = {s["user_id"] for s in samples if s["split"] == "test"}
    assert {i["user_id"] for i in built[2].items} <= test_users


def test_every_question_is_kept_or_counted(built):
    _, chosen, result = built
    for name in ("llm", "human"):
        kept = {i["sample_id"] for i in of(result.items, distractor_set=name, control="none")}
        assert len(kept) + result.dropped[f"{name}:too_few_distractors"] == len(chosen)
        assert kept


def test_llm_questions_are_eight_way_and_hold_the_true_text_once(built):
    asked = of(built[2].items, distractor_set="llm", control="none")
    assert Counter(len(orjson.loads(i["options"])) for i in asked).most_common(1)[0][0] == 8
    for i in built[2].items:
        options = orjson.loads(i["options"])
        assert [o["label"] for o in options] == list("ABCDEFGH")[: len(options)]
        assert [o["label"] for o in options if o["origin"] == "gold"] == [i["correct"]]
        assert len({o["text"].casefold() for o in options}) == len(options)


def test_human_distractors_are_other_test_users_texts_one_each_with_their_lineage(built, samples):
    by_id = {s["sample_id"]: s for s in samples}
    for i in of(built[2].items, distractor_set="human", control="none"):
        others = [by_id[o["origin"].removeprefix("human:")] for o in orjson.loads(i["options"]) if o["origin"] != "gold"]
        me = by_id[i["sample_id"]]
        users = [o["user_id"] for o in others]
        assert len(set(users)) == len(users) and me["user_id"] not in users
        assert all(o["split"] == "test" and (o["source"], o["subtask"]) == (me["source"], me["subtask"]) for o in others)
        assert set(i["record_ids"]) == set(me["record_ids"]).union(*(o["record_ids"] for o in others))


def test_options_are_within_ten_percent_where_the_text_was_long_enough(built):
    for i in of(built[2].items, distractor_set="llm"):
        assert all(o["ratio"] <= 1.1 for o in orjson.loads(i["options"]))
    human = [o["ratio"] for i in of(built[2].items, distractor_set="human") for o in orjson.loads(i["options"])]
    assert sum(r <= 1.1 for r in human) == len(human)


def test_no_option_shows_format_marks_or_its_end(built):
    for i in built[2].items:
        for o in orjson.loads(i["options"]):
            assert not any(m in o["text"] for m in ("**", "##", "\n", "here is the answer")) and o["text"][-1].isalnum()


def test_the_true_option_rotates_evenly(built):
    for name in ("llm", "human"):
        asked = of(built[2].items, distractor_set=name, control="none")
        full = [i for i in asked if len(orjson.loads(i["options"])) == 8]
        places = Counter(i["correct"] for i in full)
        assert max(places.values()) - min(places[x] for x in "ABCDEFGH") <= 3  # questions with fewer options shift a few places


def test_controls_keep_the_options_and_hide_the_person(built):
    task, _, result = built
    by_base, donors = defaultdict(dict), []
    for i in result.items:
        by_base[i["item_id"].rpartition(":")[0]][i["control"]] = i
    for controls in by_base.values():
        assert len({(i["options"], i["correct"]) for i in controls.values()}) == 1
        assert len({i["prompt"] for i in controls.values()}) == len(controls)
        assert "<request>" not in controls["options_only"]["prompt"]
        expected = {"none", "options_only"} if task == "scenario_generation" else set(CONTROLS)
        assert set(controls) == expected
        if task in ("social_qa", "profile_generation"):
            user = controls["none"]["user_id"]
            assert user in controls["none"]["prompt"]
            assert f"of {user}." not in controls["no_persona"]["prompt"] + controls["other_persona"]["prompt"]
            assert "Persona of" in controls["other_persona"]["prompt"] or "Profile of" in controls["other_persona"]["prompt"]
            donors.append(set(controls["other_persona"]["record_ids"]) - set(controls["no_persona"]["record_ids"]))
    if task in ("social_qa", "profile_generation"):
        assert any(donors), "the donor's records are behind a question, too"


def test_items_are_equal_on_rerun_and_under_row_order(built, samples):
    task, chosen, result = built
    sink = Sink(lambda table, rows: None)
    written = write_distractors(FakeEngine(), chosen, WRITERS, Role(model="x"), print, Tally(), sink)  # type: ignore[arg-type]
    assert choice_items(samples[::-1], "bench", task, written, 40).items == result.items


def test_known_answers_are_left_out(samples):
    chosen = choose_samples(samples, "social_qa", None, "bench", 5)
    result = choice_items(samples, "bench", "social_qa", {}, 5, known=[chosen[0]["sample_id"]])
    assert result.dropped["near_duplicate"] == 1
    assert chosen[0]["sample_id"] not in {i["sample_id"] for i in result.items}
    assert {i["distractor_set"] for i in result.items} == {"human"}


def test_near_duplicates_are_found_by_shared_passages():
    con = connect(rows(users=2))
    old = prose(1, 40)
    table = [
        ("a", "train", old),
        ("b", "test", "Well, " + old.upper() + " indeed"),
        ("c", "test", prose(2, 40)),
        ("d", "test", "short text"),
        ("e", "train", "short text"),
    ]
    con.execute("create table s (sample_id varchar, split varchar, answer varchar)")
    con.executemany("insert into s values (?, ?, ?)", table)
    assert near_duplicates(con, "s") == {"b": "a"}


def test_item_selection_questions(samples):
    result = item_selection_items(samples, "items", 60)
    asked = of(result.items, control="none")
    assert len(asked) == 60 and {i["distractor_set"] for i in result.items} == {"catalogue"}
    by_id = {s["sample_id"]: s for s in samples}
    for i in asked:
        s, options = by_id[i["sample_id"]], orjson.loads(i["options"])
        true = next(o for o in orjson.loads(s["options"]) if o["id"] == s["answer"])
        assert next(o for o in options if o["label"] == i["correct"])["origin"] == true["item_id"]
        assert {o["origin"] for o in options} == {o["item_id"] for o in orjson.loads(s["options"])}
        assert all(f"{o['label']}. " not in i["prompt"] for o in options)
    places = Counter(i["correct"] for i in asked)
    assert set(places.values()) == {3} and len(places) == 20
    control = of(result.items, control="options_only")
    assert len({i["prompt"] for i in control}) == 1 and "bought" not in control[0]["prompt"]


def test_plain_text_and_length():
    assert plain_text("Sure, here is it:\n\n# Head\n* one **two** _three_\n```py\nx_y\n```") == "Head one two three x_y"
    assert plain_text("“Quoted.”") == "Quoted." and plain_text("Sure enough, he went.") == "Sure enough, he went."
    text = "One two three four five six seven eight nine. Ten eleven twelve."
    assert fit_length(text, 10) == "One two three four five six seven eight nine."
    assert fit_length(text, 4) == "One two three four" and fit_length(text, 12) == text


# ---- applications ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(apps.APPLICATIONS))
def test_applications_ask_judge_and_score(samples, name):
    items = apps.application_items(samples, "app", name, 4)
    assert len(items) == 4
    questions = list(apps.application_questions(name, items))
    texts = {q.key: "My answer" for q in questions[:3]}
    judged = [q.request for q in apps.judge_questions(name, items, texts)]
    assert len(judged) == 3
    app = apps.application(name, "app")
    assert all(r.schema is app.scores for r in judged)
    message = judged[0].messages[-1][1]
    assert "<answer>\nMy answer\n</answer>" in message and all(m in message for m in app.metrics)
    verdicts = {r.key: app.scores(**dict.fromkeys(app.metrics, 7)) for r in judged[:2]}
    answers = list(apps.application_answers(name, "base", items, texts, verdicts))
    assert [a["score"] for a in answers] == [7] * 6 + [None] * 6
    assert len({a["item_id"] for a in answers}) == 12


def test_judge_scores_are_whole_numbers_from_one_to_ten():
    from pydantic import ValidationError

    for bad in (0, 11, 7.5):
        with pytest.raises(ValidationError):
            apps.ProfileScores(faithfulness=bad, realism=5, coverage=5)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match="benchmarks.app: .*`nothing`.*human_explainer"):
        apps.application("nothing", "app")
