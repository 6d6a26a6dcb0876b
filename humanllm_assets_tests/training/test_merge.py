"""Laws of the merge (M3), with the real mergekit on tiny models."""

from __future__ import annotations

import json
import shutil

import pytest

from humanllm_assets.training.merge import MergeError, check_model_files, merge, verify_merge

pytestmark = pytest.mark.real_engine


@pytest.fixture(scope="module")
def merged(models, tmp_path_factory):
    return merge(models / "base", models / "tuned", 0.3, tmp_path_factory.mktemp("merge") / "out")


def test_every_weight_is_the_exact_mean(models, merged):
    check = verify_merge(models / "base", models / "tuned", merged, 0.3)
    assert check.max_abs_error == 0
    assert len(check.tensors) == 38 and check.elements > 100_000
    assert verify_merge(models / "base", models / "tuned", merged, 0.5).max_abs_error > 0.001


def test_merged_folder_is_like_its_base(models, merged):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (merged / name).read_bytes() == (models / "base" / name).read_bytes()
    mine, base = (json.loads((f / "config.json").read_text()) for f in (merged, models / "base"))
    assert mine["dtype"] == "bfloat16" and "torch_dtype" not in mine
    assert mine["vocab_size"] == base["vocab_size"] == 384  # padding rows stay
    assert not [p for p in merged.parent.iterdir() if p != merged]


def test_a_missing_file_or_a_pickle_is_named(models, tmp_path):
    folder = shutil.copytree(models / "base", tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(MergeError, match="chat template"):
        check_model_files(folder, like=models / "base")
    (folder / "tokenizer.json").unlink()
    (folder / "weights.bin").touch()
    with pytest.raises(MergeError, match=r"tokenizer.json is missing; weights.bin is a pickle"):
        check_model_files(folder)


def test_failed_merge_leaves_nothing_and_says_why(models, tmp_path):
    broken = shutil.copytree(models / "tuned", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(MergeError, match="mergekit ended with exit status 1: "):
        merge(models / "base", broken, 0.5, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["broken"]
    with pytest.raises(MergeError, match="exists already"):
        merge(models / "base", models / "tuned", 0.5, broken)
