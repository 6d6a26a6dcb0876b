"""Loaders of the public benchmarks: made-up files always, the real ones where HUMANLLM_REAL_BENCHMARKS names their folder."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from humanllm_assets.evaluation.benchmarks.motivebench import motivebench_items
from humanllm_assets.evaluation.benchmarks.tombench import GROUPS, ability_group, tombench_items
from humanllm_assets.evaluation.fixed import BadBenchmark, MissingBenchmark

LETTERS = "ABCDEF"


def scenario(number: int) -> dict[str, Any]:
    options = [f"{x}. option {x}{number}" for x in LETTERS]
    row: dict[str, Any] = {"idx": number}
    for n, key in enumerate(("Motivation Reasoning", "Behavior Reasoning", "Motivation and Behavior Reasoning"), 1):
        row |= {f"{key} Question": f"Why {number}?", f"Options {n}": options, f"Correct Answer {n}": LETTERS[(number + n) % 6]}
    return row


def test_motivebench_orders_form_a_latin_square(tmp_path: Path):
    (tmp_path / "Blog").mkdir()
    (tmp_path / "Blog" / "Blog_questions.json").write_text(json.dumps([scenario(0), scenario(1)]))
    items = motivebench_items(tmp_path, "Blog", "mb")
    assert len(items) == 2 * 3 * 6 and len({i["item_id"] for i in items}) == 36
    places = defaultdict(list)
    for i in items:
        for place, o in enumerate(orjson.loads(i["options"])):
            assert not o["text"].startswith(f"{o['origin']}.")
            places[i["item_id"].partition("#")[0], o["origin"]].append(place)
    assert all(sorted(p) == [0, 1, 2, 3, 4, 5] for p in places.values())
    assert {i["user_id"] for i in items} == {"motivebench/Blog/0", "motivebench/Blog/1"}


def test_missing_and_damaged_files_are_one_clear_sentence(tmp_path: Path):
    with pytest.raises(MissingBenchmark, match="get your own copy"):
        motivebench_items(tmp_path, "Amazon", "mb")
    with pytest.raises(MissingBenchmark, match="found 0 of its 20"):
        tombench_items(tmp_path, "en", "tom")
    (tmp_path / "Blog").mkdir()
    bad = {**scenario(0), "Options 2": ["A. x", "B. x", "C. y", "D. z", "E. v", "F. w"]}
    (tmp_path / "Blog" / "Blog_questions.json").write_text(json.dumps([bad]))
    with pytest.raises(BadBenchmark, match="scenario 0, behavior"):
        motivebench_items(tmp_path, "Blog", "mb")


def tom_row(options: list[Any], answer: str, ability: str = "Belief: x", zh: list[Any] | None = None) -> dict[str, Any]:
    zh = zh or options
    return {
        "能力\nABILITY": ability,
        "序号\nINDEX": 1,
        "故事": "故事",
        "问题": "问题？",
        "STORY": "A story.",
        "QUESTION": "A question?",
        "答案\nANSWER": answer,
        **{f"选项{x}": o for x, o in zip("ABCD", zh, strict=True)},
        **{f"OPTION-{x}": o for x, o in zip("ABCD", options, strict=True)},
    }


def test_tombench_defects_are_handled(tmp_path: Path):
    nan = float("nan")
    lines = [
        tom_row(["A. Yes", "B: No", nan, nan], "A. "),
        tom_row(["Angry", "Bold", "Angry", "Calm"], "B"),
        tom_row(["Angry", "Bold", "Angry", "Calm"], "C"),
        tom_row(["Apple", "C.Banana", "C.Corn", "D. Date"], "D", zh=["A.苹果", "B. 香蕉", "C: 玉米", "枣"]),
    ]
    for n in range(20):
        (tmp_path / f"Task {n:02d}.jsonl").write_text("\n".join(json.dumps(r) for r in lines) if n == 0 else "")
    items = tombench_items(tmp_path, "en", "tom")
    assert len(items) == 4 * 5
    shown = {i["item_id"].partition("#")[0]: orjson.loads(i["options"]) for i in items}
    texts = {k: sorted(o["text"] for o in v) for k, v in shown.items()}
    assert texts["tom:Task 00:0"] == ["No", "Yes"]
    assert texts["tom:Task 00:1"] == texts["tom:Task 00:2"] == ["Angry", "Bold", "Calm"]
    assert texts["tom:Task 00:3"] == ["Apple", "C.Banana", "Corn", "Date"]
    for i in items:
        correct = next(o for o in orjson.loads(i["options"]) if o["label"] == i["correct"])
        assert correct["text"] == {"0": "Yes", "1": "Bold", "2": "Angry", "3": "Date"}[i["item_id"][12:13]]
    zh = [i for i in tombench_items(tmp_path, "zh", "tom") if ":3#" in i["item_id"]]
    assert sorted(o["text"] for o in orjson.loads(zh[0]["options"])) == ["枣", "玉米", "苹果", "香蕉"]
    assert len({i["options"] for i in items if ":3#" in i["item_id"]}) > 1
    (tmp_path / "Task 01.jsonl").write_text(json.dumps(tom_row(["Yes", "No", nan, nan], "D")))
    with pytest.raises(BadBenchmark, match="Task 01:0"):
        tombench_items(tmp_path, "en", "tom")


def test_ability_groups():
    assert ability_group("Non-Literal Communication: Faux pas") == ability_group("Non-literal communication: Humor")
    assert ability_group("Belief: Content false beliefs Belief: Second-order beliefs") == "Belief"


REAL = os.environ.get("HUMANLLM_REAL_BENCHMARKS")
real = pytest.mark.skipif(not REAL, reason="set HUMANLLM_REAL_BENCHMARKS to the folder that holds motivebench/ and tombench/")


@real
@pytest.mark.parametrize("language", ["en", "zh"])
def test_real_tombench(language: str):
    items = tombench_items(Path(REAL or "") / "tombench", language, "tom")
    questions = {i["item_id"].partition("#")[0]: i for i in items}
    assert len(items) == 5 * len(questions) == 5 * 2860
    assert Counter(ability_group(i["task"]) for i in questions.values()) == dict(
        zip(GROUPS, (420, 180, 340, 290, 882, 748), strict=True)
    )
    sizes = Counter(len(orjson.loads(i["options"])) for i in questions.values())
    assert sizes[2] == {"en": 483, "zh": 484}[language] and sizes[4] + sizes[2] + sizes[3] == 2860
    chance = defaultdict(list)
    for i in questions.values():
        chance[ability_group(i["task"])].append(1 / len(orjson.loads(i["options"])))
    means = [sum(v) / len(v) for v in (chance[g] for g in GROUPS)]
    assert means == pytest.approx([0.262, 0.278, 0.276, 0.250, 0.262, 0.373], abs=0.0015)


@real
@pytest.mark.parametrize(("subset", "scenarios"), [("Amazon", 50), ("Blog", 50), ("Persona", 100)])
def test_real_motivebench(subset: str, scenarios: int):
    items = motivebench_items(Path(REAL or "") / "motivebench", subset, "mb")
    assert len(items) == scenarios * 3 * 6
    assert len({i["user_id"] for i in items}) == scenarios
    assert set(Counter(i["correct"] for i in items).values()) == {scenarios * 3}
