"""Reasons say what changed, down to the field, the line and the row."""

from __future__ import annotations

import shutil

import duckdb
import pytest

from humanllm_assets.lineage.staleness.explain import Details, count_row_differences, explain, find_changed_lines, find_changes
from humanllm_assets.lineage.staleness.plan import find_undeclared, plan
from humanllm_assets_tests.lineage.small_graph import World
from resources.prompting.prompts import Prompt


def identity(**changed):
    prompt = {"name": "rewrite_record", "text_sha256": "aa", "schema": "{}"}
    base = {
        "code": {"humanllm_assets.filtering.rules": "1"},
        "contract": {"scores.overall": {"kwargs": {"min_value": 8}}},
        "qc": {"overall_above": 8},
        "judge": {"model": {"name": "smollm2", "revision": "a"}, "prompts": {"rewrite_record": prompt}},
        "external": {"files": [{"file": "a.ndjson", "sha256": "1"}]},
        "upstream": {"filtered_reddit": {"askmen": "1", "x": "1"}},
    }
    return {**base, **changed}


@pytest.mark.parametrize(
    ("changed", "phrases"),
    [
        ({"qc": {"overall_above": 7}}, ["threshold qc.overall_above 8 -> 7"]),
        ({"code": {"humanllm_assets.filtering.rules": "2"}}, ["code of humanllm_assets.filtering.rules changed"]),
        ({"contract": {"scores.overall": {"kwargs": {"min_value": 7}}}}, ["contract scores.overall: min_value 8 -> 7"]),
        ({"judge": {**identity()["judge"], "model": {"name": "smollm2", "revision": "b"}}}, ["model smollm2 revision a -> b"]),
        (
            {"judge": {**identity()["judge"], "prompts": {"rewrite_record": {"name": "rewrite_record", "text_sha256": "bb", "schema": "{}"}}}},
            ["prompt rewrite_record: text changed"],
        ),
        (
            {"external": {"files": [{"file": "a.ndjson", "sha256": "2"}, {"file": "b.ndjson", "sha256": "3"}]}},
            ["file a.ndjson changed", "file b.ndjson is new"],
        ),
        ({"external": {"files": []}}, ["file a.ndjson was removed"]),
        ({"external": {}}, ["files changed"]),
        ({"external": {**identity()["external"], "problem": "folder gone"}}, ["folder gone"]),
        ({"external": {**identity()["external"], "seen": 3}}, ["external.seen unset -> 3"]),
        ({"columns": {"items": ["a"]}}, ["columns changed"]),
        ({"code": {}}, ["code of humanllm_assets.filtering.rules was removed"]),
        ({"contract": {"scores.overall": {"kwargs": {}}}}, ["contract scores.overall: was removed"]),
        ({"contract": {**identity()["contract"], "scores.rows": {"kwargs": {}}}}, ["contract scores.rows: is new"]),
        ({"judge": {**identity()["judge"], "prompts": {}}}, ["prompt rewrite_record was removed"]),
        ({"judge": {**identity()["judge"], "model": {"name": "qwen", "revision": "a"}}}, ["judge.model smollm2 -> qwen"]),
        ({"seed": 3}, ["seed unset -> 3"]),
        ({"upstream": {"filtered_reddit": {"askmen": "2"}}}, ["filtered_reddit[askmen] changed", "filtered_reddit[x] was removed"]),
    ],
)  # fmt: skip
def test_a_phrase_names_what_changed(changed, phrases):
    assert explain(identity(), identity(**changed)) == phrases


def test_what_people_change_is_said_before_what_follows_from_it():
    now = identity(
        qc={"overall_above": 7},
        contract={"scores.overall": {"kwargs": {"min_value": 7}}},
        code={"humanllm_assets.filtering.rules": "2"},
    )
    assert [c.field for c in find_changes(identity(), now)] == [
        "qc.overall_above", "contract.scores.overall.kwargs.min_value", "code.humanllm_assets.filtering.rules",
    ]  # fmt: skip


def test_changed_lines_are_those_of_the_new_text():
    old = "a\nb\nc\nd\ne\nf\n"
    assert find_changed_lines(old, old) == ""
    assert find_changed_lines(old, "a\nB\nc\nd\ne\nf\n") == "line 2"
    assert find_changed_lines(old, "a\nb\nC\nD\nE\nf\n") == "lines 3-5"
    assert find_changed_lines(old, "a\nc\nd\ne\nf\n") == "line 2"  # the line before which one is missing
    assert find_changed_lines(old, "a\nb\nnew\nc\nd\nE\nf\n") == "lines 3, 6"
    assert find_changed_lines(old, "a\nB\nC\nd\ne\nf\ng\n", offset=10) == "lines 12-13, 17"


def test_an_old_prompt_text_gives_the_lines_of_the_file(tmp_path):
    text = Prompt.load("rewrite_record").text
    lines = text.splitlines()
    wanted = next(i for i, line in enumerate(lines) if "Copy the text" in line)
    lines[wanted] = "Copy it."
    (tmp_path / "old.md").write_text("\n".join(lines) + "\n")
    details = Details(World(tmp_path).store, tmp_path)
    from resources.prompting.prompts import PROMPTS

    file = (PROMPTS / "rewrite_record.md").read_text().splitlines()
    said = details.find_lines("rewrite_record", "old")
    assert "Copy the text" in file[int(said.removeprefix("line ")) - 1]
    assert details.find_lines("rewrite_record", "gone") == ""


def test_row_differences_are_exact(tmp_path):
    def table(name, rows):
        path = tmp_path / name
        duckdb.sql(f"copy (from (values {rows}) t(id, n, tags)) to '{path}' (format parquet)")
        return path

    old = table("old.parquet", "('a', 1, ['x']), ('b', 2, ['y']), ('c', 3, ['z']), ('d', null, null)")
    new = table(
        "new.parquet", "('d', null, null), ('e', 1, ['x']), ('b', 2, ['y', 'y']), ('c', 4, ['z']), ('f', 0, []), ('g', 0, [])"
    )
    assert count_row_differences(old, new) == {"added": 3, "removed": 1, "changed": 2}
    assert count_row_differences(old, old) == {"added": 0, "removed": 0, "changed": 0}


def test_a_changed_parent_tells_its_rows_while_the_old_snapshot_is_kept(tmp_path):
    world = World(tmp_path)
    world.run_all()
    old = world.store.published("raw", "a")
    world.source["a"] = {"x": 5, "new": 7}
    world.run("raw", "a")

    def reasons():
        details = Details(world.store, tmp_path / "prompts")
        return {s.item: s.reasons for s in plan(world.graph(), world.store, details=details)}

    assert reasons() == {
        ("scaled", "a"): ("raw[a]: 1 row added, 1 removed, 1 changed",),
        ("total", ""): ("follows scaled[a]",),
    }
    assert old is not None
    shutil.rmtree(old.folder)
    assert reasons()["scaled", "a"] == ("raw[a] changed",)


def test_a_deleted_slice_is_noticed(tmp_path):
    world = World(tmp_path)
    world.run_all()
    assert find_undeclared(world.graph(), world.store) == []
    del world.source["b"]
    graph = world.graph()
    assert find_undeclared(graph, world.store) == [("raw", "b"), ("scaled", "b")]
    assert {s.item: s.reasons for s in plan(graph, world.store)} == {("total", ""): ("scaled[b] was removed",)}
