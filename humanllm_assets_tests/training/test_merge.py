"""Laws of the merge (M3), with the real mergekit on tiny models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from humanllm_assets.training.merge import MergeError, check_model_files, merge, verify_merge
from resources.model_files import OF_THE_CALL
from resources.profile import PROJECT_ROOT

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
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (merged / name).read_bytes() == (models / "base" / name).read_bytes()
    for name in ("tokenizer_config.json", "generation_config.json"):
        mine, base = (json.loads((f / name).read_text()) for f in (merged, models / "base"))
        assert mine == {k: v for k, v in base.items() if k not in OF_THE_CALL}
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


MERGE = "import sys; from pathlib import Path; from humanllm_assets.training.merge import merge; merge(*map(Path, sys.argv[1:3]), 0.5, Path(sys.argv[3]))"


def test_a_model_merged_again_elsewhere_is_equal_to_the_byte(models, tmp_path):
    """The base model may have been written by a call that noted other things."""
    content = {}
    for name, offline in (("one", {}), ("two", {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})):
        base = tmp_path / name / "base"
        base.mkdir(parents=True)
        for path in (models / "base").iterdir():
            (base / path.name).write_bytes(path.read_bytes())
        config = json.loads((base / "tokenizer_config.json").read_text())
        config["local_files_only"] = bool(offline)
        (base / "tokenizer_config.json").write_text(json.dumps(config))
        out = tmp_path / name / "merged"
        env = {k: v for k, v in os.environ.items() if "OFFLINE" not in k} | offline | {"PYTHONPATH": str(PROJECT_ROOT)}
        command = [sys.executable, "-c", MERGE, str(base), str(models / "tuned"), str(out)]
        subprocess.run(command, cwd=tmp_path / name, env=env, check=True)
        content[name] = {str(p.relative_to(out)): p.read_bytes() for p in sorted(Path(out).rglob("*")) if p.is_file()}
    assert content["one"].keys() == content["two"].keys()
    assert [f for f in content["one"] if content["one"][f] != content["two"][f]] == []
