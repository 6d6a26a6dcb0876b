"""Laws of the merge (M3), with the real mergekit on tiny models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def rewrite(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def add_other_layout(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = {f"layers.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(other, folder / "consolidated.safetensors")


def add_buffers(folder: Path) -> None:
    import torch

    rewrite(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}))


def repeat_tied_weights(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))


def split_in_shards(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    weight_map = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(weight_map.values()):
        save_file({n: tensors[n] for n in names if weight_map[n] == file}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    save_file({"left.over": tensors[names[0]]}, folder / "model-00003-of-00003.safetensors")


@pytest.mark.parametrize("layout", [add_other_layout, add_buffers, repeat_tied_weights, split_in_shards])
def test_what_loading_ignores_in_a_base_folder_is_neither_merged_nor_missed(models, tmp_path, layout):
    base = shutil.copytree(models / "base", tmp_path / "base")
    layout(base)
    out = merge(base, models / "tuned", 0.3, tmp_path / "out")
    check = verify_merge(base, models / "tuned", out, 0.3)
    assert check.max_abs_error == 0 and len(check.tensors) == 38


def test_a_tensor_that_the_tuned_model_lacks_is_missed(models, tmp_path, merged):
    tuned = shutil.copytree(models / "tuned", tmp_path / "tuned")
    rewrite(tuned, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(MergeError, match=r"the tuned model and its base differ in the tensors model\.norm\.weight"):
        verify_merge(models / "base", tuned, merged, 0.3)


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
