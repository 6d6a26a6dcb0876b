"""Strict parsing and arithmetic on examples computed by hand (V1-V5)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from humanllm_assets.asking.questions import Failed, Question, Ranked, Verbatim
from humanllm_assets.evaluation import estimates as es
from humanllm_assets.evaluation import scoring as sc
from humanllm_assets.evaluation.benchmarks import application, motivebench, tombench
from humanllm_assets.evaluation.contest import contestant_role
from humanllm_assets.evaluation.differences import compare
from resources.profile import Benchmark, Role

AB = ["A", "B", "C"]


@pytest.mark.parametrize("reply", ["B", " B\n", "(B)", "[[B]]", "B.", "B. because of A", "**B**", '"B"', "B)", "B: text"])
def test_valid_replies(reply: str):
    assert sc.parse_choice(reply, AB) == "B"


@pytest.mark.parametrize(
    "reply",
    ["", "b", "D", "BC", "B or C", "B, C", "Because", "A person would", "The answer is B", "Option B", "I", "?", "A B", "[[D]]"],
)
def test_invalid_replies_are_not_repaired(reply: str):
    assert sc.parse_choice(reply, AB) is None


def test_motivebench_takes_the_first_character():
    assert sc.parse_choice("Because", AB, first_character=True) == "B"
    assert sc.parse_choice("The answer is B", AB, first_character=True) is None


def test_rank_of_the_correct_label():
    top = (("B", -0.1), (" A", -1.0), ("the", -1.5), ("A", -2.0), ("C", -3.0))
    assert [sc.label_rank(top, AB, x) for x in AB] == [2, 1, 3]
    assert sc.label_rank((("B", -1.0), ("A", -1.0)), AB, "A") == 2
    assert sc.label_rank((("B", -1.0),), AB, "A") is None and sc.label_rank((), AB, "A") is None


def item(number: int, correct: str = "A", control: str = "none", name: str = "llm", **more: Any) -> dict[str, Any]:
    options = more.pop(
        "options", [{"label": x, "text": f"text {x}", "origin": "gold" if x == correct else f"llm:m{x}:0"} for x in "ABCDE"]
    )
    return {
        "item_id": f"b:{number}:{name}:{control}",
        "benchmark": "b",
        "task": "social_qa",
        "source": "reddit",
        "user_id": f"u{number // 2}",
        "distractor_set": name,
        "control": control,
        "prompt": f"Question {number}?",
        "options": orjson.dumps(options).decode(),
        "correct": correct,
        "sample_id": str(number),
        "record_ids": [],
        **more,
    }


def reply(item: dict[str, Any], text: str, top: tuple[tuple[str, float], ...] = ()) -> tuple[Question, Ranked]:
    return Question(item["item_id"], "", Verbatim("choice"), {}, item), Ranked(text, top)


def test_requests_show_prompt_options_and_the_order_to_answer_by_letter():
    (question,) = sc.choice_questions([item(1)])
    request = question.request
    (role, text), *rest = request.messages
    assert (role, rest, request.schema, request.logprobs) == ("user", [], None, 20)
    assert (
        text.startswith("Question 1?\n")
        and "\nA. text A\nB. text B\n" in text
        and text.endswith("the letter of the right option alone.")
    )
    (chinese,) = sc.choice_questions([item(1, name="fixed", source="zh")])
    assert "只回答" in chinese.request.messages[0][1]


def test_a_models_own_distractors_are_left_out_of_its_row():
    one = item(1, correct="C")
    shown = sc.shown_options(one, ["mA"])
    assert [(o["label"], o["item_label"]) for o in shown] == [("A", "B"), ("B", "C"), ("C", "D"), ("D", "E")]
    (answer,) = sc.score_choices([reply(one, "B")], "x", ["mA"])
    assert (answer["chosen"], answer["correct"], answer["is_correct"], answer["position"], answer["n_options"]) == (
        "C",
        "C",
        True,
        1,
        4,
    )
    assert len(sc.shown_options(one, ["mA", "mB"])) == 5  # too few would be left


def test_summary_by_hand():
    items = [item(n, "A" if n % 2 else "B") for n in range(4)] + [
        item(n, "A" if n % 2 else "B", "options_only") for n in range(4)
    ]
    texts = ["B", "A", "A", "nonsense"]
    replies = [reply(i, t, (("A", -1.0), ("B", -2.0))) for i, t in zip(items, [*texts, "B", "B", "B", "B"], strict=True)]
    rows = sc.summarise_choices(items, sc.score_choices(replies, "base"))
    real = {r["metric"]: r for r in rows if r["control"] == "none"}
    assert real["accuracy"]["value"] == 0.5 and real["accuracy"]["n"] == 4
    assert real["invalid_rate"]["value"] == 0.25 and real["chance"]["value"] == pytest.approx(0.2)
    assert real["hit_at_1"]["value"] == 0.5 and real["mrr"]["value"] == pytest.approx(0.75)
    assert real["accuracy_at_0"]["value"] == 0.5 and real["accuracy_at_1"]["value"] == 0.5
    assert real["accuracy:reddit"]["value"] == 0.5
    assert real["minus_options_only"]["value"] == 0.0  # 2 of 4 right with, 2 of 4 without
    assert "minus_other_persona" not in real and "popularity" not in real
    assert real["accuracy"]["low"] <= 0.5 <= real["accuracy"]["high"]


def test_hit_and_reciprocal_rank_are_left_out_without_log_probabilities():
    items = [item(1)]
    rows = sc.summarise_choices(items, sc.score_choices([reply(items[0], "A")], "base"))
    assert not {"hit_at_1", "mrr"} & {r["metric"] for r in rows}


def test_popularity_baseline_shares_ties():
    def options(*counts: int) -> list[dict[str, Any]]:
        return [{"label": x, "text": x, "origin": x, "popularity": c} for x, c in zip("ABCD", counts, strict=True)]

    items = [
        item(n, "A", name="catalogue", options=o)
        for n, o in enumerate((options(5, 1, 0, 0), options(2, 2, 0, 0), options(0, 1, 1, 1)))
    ]
    rows = sc.summarise_choices(items, sc.score_choices([reply(i, "A") for i in items], "base"))
    assert {r["metric"]: r["value"] for r in rows}["popularity"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_intervals_resample_users_not_answers():
    answers = [(u, float(u == "a")) for u in ("a", "b") for _ in range(500)]
    found = es.estimate(answers)
    assert found and found.value == 0.5 and (found.low, found.high) == (0.0, 1.0) and found.n == 1000
    assert es.estimate([]) is None
    assert es.estimate(answers) == es.estimate(answers[::-1])


def test_paired_difference():
    items = [item(n) for n in range(6)]
    base = list(sc.score_choices([reply(i, "A" if n < 2 else "B") for n, i in enumerate(items)], "base"))
    merged = list(sc.score_choices([reply(i, "A" if n < 5 else "B") for n, i in enumerate(items[:5])], "merged"))
    found = compare(base, merged)["llm"]
    assert found.n == 5 and found.value == pytest.approx(3 / 5)
    assert compare(base, base)["llm"] == es.Estimate(0.0, 0.0, 0.0, 6)


def tom(question: str, ask: int, ability: str, story: str, order: str = "AB") -> dict[str, Any]:
    options = [{"label": x, "text": origin, "origin": origin} for x, origin in zip("AB", order, strict=True)]
    one = item(0, "AB"[order.index("A")], name="fixed", options=options, task=ability, user_id=story)
    return {**one, "item_id": f"tom:{question}#ask{ask}"}


def test_tombench_majority_by_original_option():
    orders = ["AB", "BA", "AB", "BA", "AB"]
    items = [tom("q:0", n, "Belief: x", "s", o) for n, o in enumerate(orders)]

    def vote(*texts: str) -> bool:
        replies = [reply(i, t) for i, t in zip(items, texts, strict=True)]
        (found,) = tombench.tombench_votes(items, sc.score_choices(replies, "x"))
        return found.is_correct

    assert vote("A", "B", "A", "A", "B")  # origins A A A B B
    assert vote("A", "A", "A", "A", "A")  # A B A B A: three for the right one
    assert not vote("B", "A", "A", "A", "B")  # B B A B B
    assert vote("x", "x", "A", "x", "x") and not vote("x", "x", "x", "x", "x")
    assert vote("A", "A", "x", "x", "x") and not vote("B", "B", "x", "x", "x")  # a tie goes to the first vote


def test_tombench_averages_by_hand():
    votes = [
        tombench.TomVote("1", "s1", "Knowledge: a", True),
        tombench.TomVote("2", "s1", "Knowledge: a", True),
        tombench.TomVote("3", "s2", "Knowledge: a", True),
        tombench.TomVote("4", "s3", "Knowledge: a ", False),  # the trailing blank is an ability of its own
        tombench.TomVote("5", "s4", "Emotion: b", True),
        tombench.TomVote("6", "s5", "Non-Literal Communication: Faux pas", False),
        tombench.TomVote("7", "s6", "Non-literal communication: Humor", True),
    ]
    found = tombench.tombench_summary(votes)
    pooled, by_ability = found["pooled"], found["by_ability"]
    assert pooled["Knowledge"].value == 0.75 and by_ability["Knowledge"].value == 0.5
    assert pooled["Avg."].value == pytest.approx((0.75 + 1 + 0.5) / 3)
    assert by_ability["Avg."].value == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert pooled["All"].value == pytest.approx(5 / 7) and pooled["All"].n == 7


def test_application_means():
    answers = [
        {"benchmark": "app", "contestant": "x", "metric": m, "score": s, "user_id": u}
        for u, m, s in [("a", "style", 8), ("b", "style", 6), ("a", "content", 4), ("b", "content", None)]
    ]
    found = {r["metric"]: r["value"] for r in application.summarise([], answers)}
    assert found == {"style": 7.0, "content": 4.0, "average": 5.5, "unscored_rate": 0.25}


def test_role_of_a_contestant_follows_the_benchmark():
    base = Role(model="x", temperature=0.7, seed=3)
    role = motivebench.penalize_repetition(contestant_role(base, Benchmark(kind="motivebench", folder="f", subset="Amazon"), "y"))
    assert (role.model, role.temperature, role.repetition_penalty, role.max_tokens, role.seed) == ("y", 0.0, 1.05, 16, 3)
    assert contestant_role(base, Benchmark(kind="tombench", folder="f"), "y").repetition_penalty == 1.0


def test_a_question_without_an_answer_is_neither_right_nor_wrong():
    """A refusal lowers no accuracy: 2 of the 3 answered questions are right."""
    items = [item(n) for n in range(4)]
    asked = [reply(i, text) for i, text in zip(items, "AAB", strict=False)]
    failed = (Question(items[3]["item_id"], "", Verbatim("choice"), {}, items[3]), Failed("refused:400"))
    answers = list(sc.score_choices([failed, *asked], "base"))
    assert [a["item_id"] for a in answers] == [i["item_id"] for i in items[:3]]
    found = {r["metric"]: r for r in sc.summarise_choices(items, answers)}
    assert found["accuracy"]["value"] == pytest.approx(2 / 3) and found["accuracy"]["n"] == 3
    assert found["invalid_rate"]["value"] == 0


def test_a_tombench_question_is_decided_by_the_asks_that_were_answered():
    items = [tom("q:0", n, "Belief: x", "s") for n in range(5)] + [tom("q:1", n, "Belief: x", "s") for n in range(5)]
    failed = [(Question(i["item_id"], "", Verbatim("choice"), {}, i), Failed("refused:400")) for i in [*items[:3], *items[5:]]]
    votes = tombench.tombench_votes(items, sc.score_choices([*failed, *(reply(i, "A") for i in items[3:5])], "x"))
    assert [(v.question, v.is_correct) for v in votes] == [("tom:q:0", True)]
