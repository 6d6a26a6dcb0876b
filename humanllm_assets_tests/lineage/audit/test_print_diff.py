"""What a person reads about two checkpoints, from a difference made by hand."""

from __future__ import annotations

from typing import Any

from humanllm_assets.lineage.audit.diff import FIRST, print_diff

ONE = {"asset": "sft_checkpoint", "partition": "tiny", "data_version": "11", "folder": "x"}
NOTHING: dict[str, Any] = {"only_first": 0, "only_second": 0, "first_ids": [], "second_ids": []}
EQUAL: dict[str, Any] = {
    "checkpoints": [ONE, ONE],
    "identity": [],
    "upstream": [],
    "prompts": {"only_first": [], "only_second": []},
    "models": {"only_first": [], "only_second": []},
    "order": {"same": True, "first_difference": None},
    "samples": NOTHING,
    "users": NOTHING,
    "records": NOTHING,
}


def lines_of(**different: Any) -> list[str]:
    lines: list[str] = []
    print_diff({**EQUAL, **different}, lines.append)
    return [line for line in lines if line]


def moved(partition: str, before: str | None, after: str | None, kept: tuple[int | None, int | None]) -> dict[str, Any]:
    return {
        "asset": "raw", "partition": partition, "before": before, "after": after, "kept_before": kept[0], "kept_after": kept[1]
    }  # fmt: skip


def test_two_equal_checkpoints_are_said_to_be_the_same():
    titles = ["Made under", "Prompts", "Models", "Data", "Consumed"]
    assert lines_of() == [
        "first  sft_checkpoint[tiny] 11",
        "second sft_checkpoint[tiny] 11",
        "They are the same snapshot.",
        *(f"{title}: no difference" for title in titles),
    ]
    assert "They are the same snapshot." not in lines_of(checkpoints=[ONE, {**ONE, "data_version": "22"}])


def test_a_changed_field_names_how_many_partitions_have_it():
    one = {"asset": "qc_scores", "field": "qc.overall_above", "before": 8, "after": 7, "partitions": ["reddit"]}
    new = {"asset": "raw", "field": "seed", "before": None, "after": "x" * 41, "partitions": ["a", "b"]}
    found = lines_of(identity=[one, new])
    assert "  qc_scores: qc.overall_above 8 -> 7" in found
    assert f"  raw (2 partitions): seed unset -> {'x' * 18}...{'x' * 18}" in found


def test_changed_data_is_summed_by_asset_and_four_partitions_are_named():
    found = lines_of(
        upstream=[moved("a", "1", "2", (3, 5)), moved("b", None, "2", (None, 1000)), moved("c", "1", None, (7, None))]
    )
    assert "  raw: a, b is new, c is gone; rows kept 10 -> 1,005" in found
    assert "  raw: p0, p1, p2, p3; rows kept 4 -> 4" in lines_of(upstream=[moved(f"p{i}", "1", "2", (1, 1)) for i in range(4)])
    five = lines_of(upstream=[moved(f"p{i}", "1", "2", (1, 1)) for i in range(5)])
    assert "  raw: p0, p1, p2, p3 and 1 more; rows kept 5 -> 5" in five
    assert "  raw: changed; rows kept 1 -> 1" in lines_of(upstream=[moved("", "1", "2", (1, 1))])


def test_prompts_and_models_of_one_side_are_named():
    found = lines_of(
        prompts={"only_first": ["say 1"], "only_second": ["say 2"]}, models={"only_first": [], "only_second": ["m 3"]}
    )
    assert [line for line in found if "only" in line] == ["  only first: say 1", "  only second: say 2", "  only second: m 3"]


def test_what_only_one_consumed_is_counted_and_its_first_ids_are_shown():
    ids = [f"r{i}" for i in range(FIRST)]
    found = lines_of(
        records={**NOTHING, "only_first": FIRST, "first_ids": ids},
        users={**NOTHING, "only_second": FIRST + 1, "second_ids": ids},
        order={"same": False, "first_difference": 1234},
    )
    assert f"  {FIRST} records only in the first: {', '.join(ids)}" in found
    assert f"  {FIRST + 1} users only in the second: {', '.join(ids)}, ..." in found
    assert found[-1] == "  the order differs from position 1,234 on"
