"""Laws of the canonical encoding and of code versions."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.code_version import function_versions, module_versions, source_hash
from humanllm_assets.lineage.identity import find_models, find_prompts
from resources.canonical import canonical_json, differences, digest
from resources.home import Home
from resources.profile import load_profile

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), PLAIN))
def test_key_order_does_not_matter(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@settings(deadline=None)
@given(PLAIN, PLAIN)
def test_different_values_have_different_hashes(a, b):
    if canonical_json(a) != canonical_json(b):
        assert digest(a) != digest(b)


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_characters="."), min_size=1), PLAIN))
def test_no_difference_to_itself(value):
    assert list(differences(value, value)) == []


def test_sets_are_sorted_and_whole_floats_are_integers():
    assert canonical_json({"s": {"b", "a"}, "f": 8.0}) == b'{"f":8,"s":["a","b"]}'


@pytest.mark.parametrize("value", [print, Path("x"), object(), float("nan"), {1: 2}, b"bytes"])
def test_what_has_no_canonical_form_raises_and_names_its_place(value):
    with pytest.raises(TypeError, match=r"value\.field"):
        canonical_json({"field": value})


def test_differences_name_the_field():
    old, new = {"qc": {"overall": 8, "metric": 7}, "seed": 1}, {"qc": {"overall": 7, "metric": 7}, "model": "m", "seed": 1}
    assert list(differences(old, new)) == [("model", None, "m"), ("qc.overall", 8, 7)]


def test_comments_and_docstrings_do_not_change_a_code_version():
    assert source_hash('"""One."""\nx = 1  # why\n') == source_hash('"""Two."""\n\n\nx = 1\n')
    assert source_hash("x = 1") != source_hash("x = 2")


def test_module_versions_cover_imported_science_and_nothing_else():
    versions = module_versions("humanllm_assets.quality.judge")
    assert {"humanllm_assets.quality.judge", "humanllm_assets.asking.questions", "resources.prompting.tokens"} <= set(versions)
    assert not [m for m in versions if ".lineage." in m or m.endswith(".assets")]
    with pytest.raises(ValueError, match="no science module"):
        module_versions("humanllm_assets.lineage.step")


def test_prompts_and_models_are_found_at_any_depth_each_text_and_each_revision_once_by_name():
    def prompt(name, text):
        return {"name": name, "text_sha256": text, "schema": None}

    payload = {
        "judge": {"model": {"name": "m", "revision": "2"}, "prompts": {"b": prompt("b", "2"), "again": prompt("a", "2")}},
        "others": [{"name": "m", "revision": "1"}, [{"deep": prompt("z", "1")}, {"name": "m", "revision": "2", "path": "p"}]],
        "neither": [{"name": "x"}, {"revision": "x"}, {"text_sha256": "x"}, "name revision text_sha256"],
    }
    assert find_prompts(payload) == [("b", "2"), ("z", "1")]
    assert find_models(payload) == [("m", "1"), ("m", "2")] and find_models(payload)[0].label == "m 1"


STAGE = """
LIMIT = 3
OTHER = 4

def compute(step):
    return helper(step)

def helper(step):
    unrelated = LIMIT
    return unrelated

def unrelated(step):
    return OTHER
"""


def version_of(tmp_path: Path, text: str) -> str:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # a file of its own: versions are remembered for the life of a process
    path = folder / "stage.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("stage", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.dumps(function_versions(partial(module.compute, 1)))


@pytest.mark.parametrize(
    "old, new",
    [("return helper(step)", "return helper(step) or 1"), ("LIMIT = 3", "LIMIT = 5"), ("= LIMIT", "= -LIMIT")],
)
def test_an_edit_of_what_an_asset_function_uses_changes_its_version(tmp_path, old, new):
    assert version_of(tmp_path, STAGE.replace(old, new)) != version_of(tmp_path, STAGE)


@pytest.mark.parametrize(
    "old, new",
    [
        ("OTHER = 4", "OTHER = 5"),
        ("return OTHER", "return 9"),
        ("LIMIT = 3", "LIMIT = 3  # why"),
        ("    return helper", '    """Doc."""\n    return helper'),
    ],
)
def test_an_edit_of_anything_else_does_not(tmp_path, old, new):
    assert version_of(tmp_path, STAGE.replace(old, new)) == version_of(tmp_path, STAGE)


def test_every_asset_versions_its_own_function_and_the_science_it_uses(tmp_path):
    graph = build_graph(load_profile("local"), Home(tmp_path))

    def versions(name: str) -> dict[str, str]:
        return graph[name].code_versions(graph[name].partitions[0])

    assert "humanllm_assets.filtering.assets:_filtered" in versions("filtered_reddit")
    assert "humanllm_assets.filtering.selection" in versions("filtered_reddit")
    assert "humanllm_assets.sources.readers" in versions("eligible_reddit")
    assert "humanllm_assets.training.encoding" in versions("sft_checkpoint")
    assert "humanllm_assets.evaluation.scoring" in versions("benchmark_scores")
    for node in graph.nodes.values():
        assert versions(node.name), node.name
