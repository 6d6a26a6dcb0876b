"""Laws of the canonical encoding and of code versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanllm_assets.lineage.canonical import canonical_json, differences, digest
from humanllm_assets.lineage.code_version import code_version, source_hash

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), PLAIN))
def test_key_order_does_not_matter(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@given(PLAIN, PLAIN)
def test_different_values_have_different_hashes(a, b):
    if canonical_json(a) != canonical_json(b):
        assert digest(a) != digest(b)


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


def test_code_version_covers_imported_science_and_nothing_else():
    assert code_version("humanllm_assets.quality.judge") != code_version("humanllm_assets.synthesis.users")
    with pytest.raises(ValueError, match="no science module"):
        code_version("humanllm_assets.lineage.step")
