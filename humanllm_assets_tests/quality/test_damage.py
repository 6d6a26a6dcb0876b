"""Laws of damage: every copy has what its kind says and is otherwise the item; the same item gives the same copy everywhere."""

from __future__ import annotations

import pytest

from humanllm_assets.quality.copies import left_out
from humanllm_assets.quality.damage import DAMAGES, FILLERS, FOREIGN, Others, applicable, damaged, main_part, noticing
from resources.item_kinds import ITEM_KINDS, PERSONA, QA, SCENARIO

STORY = "She mends kettles in a yard by the lake.  Her brother sells them on market days!\n\nWhat is left goes to the school. Nobody minds."
PERSON = {"text": STORY}
SCENE = {"background": "A yard in spring.", "characters": "She and her brother.", "plots": STORY}
TRIPLET = {"scenario": STORY, "question": "What will she do next?", "answer": "She will mend the last kettle before noon."}
SHAPES = {"person": PERSON, "scene": SCENE, "triplet": TRIPLET}
ITEMS = [f"reddit/u{n}#x" for n in range(30)]


def others_of(parts: dict[str, str]) -> Others:
    return Others({name: f"Another person's {name} is told here." for name in parts}, {**parts, "answer": "It made her glad."})


def copies(name: str, parts: dict[str, str]) -> list[dict[str, str]]:
    found = [damaged(name, item, parts, others_of(parts)) for item in ITEMS]
    return [copy for copy in found if copy is not None]


CASES = [(name, shape) for shape, parts in SHAPES.items() for name in applicable(parts)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_copy_is_another_text_and_always_the_same_one(name: str, shape: str) -> None:
    parts = dict(SHAPES[shape])
    found = copies(name, parts)
    assert len(found) == len(ITEMS) and parts not in found
    assert found == copies(name, parts) and parts == SHAPES[shape]
    assert all(set(copy) == set(parts) for copy in found)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_copy_changes_one_part_and_leaves_the_others(name: str, shape: str) -> None:
    parts = SHAPES[shape]
    for copy in copies(name, parts):
        changed = {part for part in parts if copy[part] != parts[part]}
        if name == "swapped_facts":
            assert changed == set(parts) - {"question", "answer"}
        elif name == "flipped_answer":
            assert changed == {"answer"}
        else:
            assert changed == {main_part(parts)}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_kind_does_what_it_says(shape: str) -> None:
    parts, main = SHAPES[shape], main_part(SHAPES[shape])

    def texts(name: str) -> list[str]:
        return [copy[main] for copy in copies(name, parts)]

    assert set(texts("swapped_facts")) == {others_of(parts).user[main]}  # type: ignore[index]
    for text in texts("filler"):
        added = [f for f in FILLERS if f in text]
        assert len(added) == 3
        for filler in added:
            text = text.replace(f" {filler}", "", 1)
        assert text == STORY
    for text in texts("contradiction"):
        assert text.startswith(f"{STORY} It is not true that ")
        denied = text.removeprefix(f"{STORY} It is not true that ").rstrip(".")
        assert denied.lower() in STORY.lower()
    for text in texts("truncation"):
        assert STORY.startswith(text) and STORY[len(text) - 1 : len(text) + 1].isalnum() and 0.35 < len(text) / len(STORY) < 0.75
    for text in texts("other_language"):
        kept = STORY[: STORY.index("What is left")]
        assert text.startswith(kept) and all(s in FOREIGN for s in _sentences(text.removeprefix(kept)))
    assert set(texts("verbosity")) == {f"{STORY}\n\nIn other words: {STORY}"}


def _sentences(text: str) -> list[str]:
    return [f"{s.strip()}." for s in text.split(".") if s.strip()]


def test_a_question_loses_its_riddle_or_its_answer() -> None:
    assert {c["scenario"] for c in copies("pasted_answer", TRIPLET)} == {f"{STORY} {TRIPLET['answer']}"}
    assert {c["answer"] for c in copies("flipped_answer", TRIPLET)} == {"It made her glad."}


def test_where_there_is_no_place_for_a_damage_there_is_no_copy() -> None:
    assert damaged("swapped_facts", "i", PERSON, Others()) is None
    assert damaged("swapped_facts", "i", PERSON, Others(user=PERSON)) is None  # would be no other text
    assert damaged("flipped_answer", "i", TRIPLET, Others()) is None
    assert damaged("truncation", "i", {"text": "Too short."}, Others()) is None
    assert damaged("truncation", "i", {"text": "- " * 40}, Others()) is None  # no word to cut
    assert damaged("contradiction", "i", {"text": "短い文です。"}, Others()) is not None


def test_what_does_not_apply_to_an_item_kind_is_left_out_by_name() -> None:
    assert left_out(PERSONA) == left_out(SCENARIO) == ["pasted_answer", "flipped_answer"]
    assert left_out(QA) == []


@pytest.mark.parametrize("kind", ITEM_KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_damage_must_be_noticed_by_a_metric_where_one_can(kind) -> None:
    names = [name for name in DAMAGES if name not in left_out(kind)]
    unnoticed = [name for name in names if not noticing(name, kind.metrics)]
    assert unnoticed == ([] if "conciseness" in kind.metrics else ["verbosity"])
    assert noticing("swapped_facts", SCENARIO.metrics) == ("hallucination", "coverage", "overall")
    assert "fidelity" in noticing("swapped_facts", QA.metrics)
