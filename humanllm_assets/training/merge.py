"""The linear merge of a fine-tuned model with its base (requirement M3) by mergekit, and its exact proof.

Both run as processes of their own (`python -m humanllm_assets.training.merge verify ...` for the proof), so that torch never
loads into the caller.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resources.errors import Explained
from resources.model_files import normalise_model_folder
from resources.profile import PROJECT_ROOT

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_COPIED_FROM_BASE = ("generation_config.json", "LICENSE", "NOTICE")


class MergeError(Explained):
    """A merge that failed or is not what it should be; one sentence."""


@dataclass(frozen=True)
class TensorCheck:
    """One tensor of the merged model against the exact weighted mean, rounded to the merged model's type."""

    tensor: str
    elements: int
    max_abs_error: float


@dataclass(frozen=True)
class MergeCheck:
    """The proof of a merge. `max_abs_error` 0 means that every weight is the exact mean, rounded once."""

    tensors: list[TensorCheck]

    @property
    def max_abs_error(self) -> float:
        """The largest deviation of any weight from the exact mean."""
        return max(t.max_abs_error for t in self.tensors)

    @property
    def elements(self) -> int:
        """Number of weights in all tensors."""
        return sum(t.elements for t in self.tensors)


def merge_config(base: Path, tuned: Path, weight: float) -> dict[str, Any]:
    """mergekit's configuration: linear, computed in float32, written in bfloat16, the base model's tokenizer.

    Paths are absolute: mergekit takes a relative one for a model on a hub. The base comes first, because mergekit takes
    configuration and tokenizer from the first model; the tokenizer's files are copied as they are, since letting mergekit
    rebuild it would cut the padding rows off the embeddings and end the likeness with the base model.
    """
    return {
        "merge_method": "linear",
        "models": [
            {"model": str(base.resolve()), "parameters": {"weight": 1 - weight}},
            {"model": str(tuned.resolve()), "parameters": {"weight": weight}},
        ],
        "parameters": {"normalize": True},
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }


def merge(base: Path, tuned: Path, weight: float, out: Path) -> Path:
    """Write `weight` x tuned + (1 - `weight`) x base to the new folder `out`; returns it.

    Raises:
        MergeError: `out` exists, mergekit failed, or the folder it wrote lacks a file or has another type than bfloat16.
    """
    if out.exists():
        raise MergeError(f"{out} exists already; remove it or merge into a new folder")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config = out.with_name(f".{out.name}.merge.yaml")
    config.write_text(yaml.safe_dump(merge_config(base, tuned, weight), sort_keys=False), encoding="utf-8")
    try:
        options = ["--no-write-model-card", "--copy-tokenizer", "--quiet"]
        _run(["mergekit.scripts.run_yaml", str(config), str(partial), *options], "mergekit")
        for name in _COPIED_FROM_BASE:
            if (base / name).is_file() and not (partial / name).exists():
                shutil.copyfile(base / name, partial / name)
        _clean_config(partial / "config.json")
        check_model_files(partial, like=base)
        normalise_model_folder(partial)
        partial.rename(out)
    finally:
        config.unlink()
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _clean_config(path: Path) -> None:
    """Write the type of the weights once, under its present name; mergekit sets it under the former one."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = "bfloat16"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def check_model_files(folder: Path, like: Path | None = None) -> None:
    """Check that a folder can be loaded as a model, with all that the model `like` has of tokenizer and chat template.

    Raises:
        MergeError: names every missing file and every deviating field.
    """
    wrong = [f"{name} is missing" for name in ("config.json", *_TOKENIZER_FILES) if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        wrong.append("there are no safetensors")
    if pickles := sorted(p.name for pattern in ("*.bin", "*.pt", "*.pkl") for p in folder.glob(pattern)):
        wrong.append(f"{', '.join(pickles)} is a pickle")
    if not wrong and like is not None:
        if _chat_template(like) is None or _chat_template(folder) != _chat_template(like):
            wrong.append(f"its chat template is not that of {like}")
        mine, theirs = (json.loads((f / "config.json").read_text(encoding="utf-8")) for f in (folder, like))
        for field in ("architectures", "vocab_size", "hidden_size", "num_hidden_layers"):
            if mine.get(field) != theirs.get(field):
                wrong.append(f"config.json has {field} {mine.get(field)} instead of {theirs.get(field)}")
    if wrong:
        raise MergeError(f"the model in {folder} cannot be used: {'; '.join(wrong)}")


def _chat_template(folder: Path) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")


def verify_merge(base: Path, tuned: Path, merged: Path, weight: float) -> MergeCheck:
    """Compute the merge again, tensor by tensor, and compare (in a process of its own).

    Raises:
        MergeError: the folders' tensors differ in names or shapes, or could not be read.
    """
    folders = [str(p.resolve()) for p in (base, tuned, merged)]
    text = _run(["humanllm_assets.training.merge", "verify", *folders, repr(weight)], "verifying the merge")
    return MergeCheck([TensorCheck(**row) for row in json.loads(text.splitlines()[-1])])


def _run(module: list[str], what: str) -> str:
    path = os.pathsep.join(p for p in (str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-m", *module], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it printed nothing"]
        raise MergeError(f"{what} ended with exit status {done.returncode}: {lines[-1][:500]}")
    return done.stdout


# ---- the process that proves -----------------------------------------------------------------------------------------


def _tensor_files(folder: Path) -> dict[str, Path]:
    """The file of each tensor that loading reads: those of the index, or of `model.safetensors`; other files are not looked at."""
    from safetensors import safe_open

    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {tensor: folder / name for tensor, name in weight_map.items()}
    places: dict[str, Path] = {}
    for path in [single] if single.is_file() else sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as f:
            places.update(dict.fromkeys(f.keys(), path))
    return places


def _list_weights(folder: Path) -> set[str]:
    """The tensors that the model in a folder consists of. A file may hold others, which loading ignores: buffers that are computed
    (rotary frequencies of old files), the embeddings again under the name of the output layer that is tied to them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    own = {name for name, _ in model.named_parameters()}
    copies = {name for name, _ in model.named_parameters(remove_duplicate=False)} - own
    return model.state_dict().keys() - copies


def _check_tensors(base: Path, tuned: Path, merged: Path, weight: float) -> Iterator[TensorCheck]:
    import torch
    from safetensors import safe_open

    places = [_tensor_files(folder) for folder in (base, tuned, merged)]
    if len({frozenset(files) for files in places}) > 1:
        weights = _list_weights(base)
        places = [{tensor: path for tensor, path in files.items() if tensor in weights} for files in places]
    for name, other in (("tuned", places[1]), ("merged", places[2])):
        if odd := sorted(places[0].keys() ^ other.keys()):
            raise MergeError(f"the {name} model and its base differ in the tensors {', '.join(odd[:5])}")
    for tensor in sorted(places[0]):
        loaded = []
        for files in places:
            with safe_open(files[tensor], framework="pt") as f:
                loaded.append(f.get_tensor(tensor))
        if len({t.shape for t in loaded}) != 1:
            raise MergeError(f"the tensor {tensor} has the shapes {', '.join(str(tuple(t.shape)) for t in loaded)}")
        b, t, m = loaded
        # The same order of operations as the merge, in float32, so that rounding is the same to the last bit.
        exact = torch.zeros_like(b, dtype=torch.float32)
        exact.addcmul_(b.float(), torch.tensor(1 - weight)).addcmul_(t.float(), torch.tensor(weight))
        exact.div_(torch.tensor([1 - weight, weight]).sum())
        yield TensorCheck(tensor, m.numel(), (m.float() - exact.to(m.dtype).float()).abs().max().item())


def main() -> None:
    """Print the proof of a merge as JSON: a list of TensorCheck. The entry of the process that `verify_merge` starts."""
    parser = argparse.ArgumentParser(description="Prove that a merged model is the weighted mean of two models.")
    parser.add_argument("verb", choices=["verify"])
    parser.add_argument("folders", nargs=3, type=Path, metavar=("BASE", "TUNED", "MERGED"))
    parser.add_argument("weight", type=float)
    arguments = parser.parse_args()
    base, tuned, merged = arguments.folders
    print(json.dumps([vars(check) for check in _check_tensors(base, tuned, merged, arguments.weight)]))


if __name__ == "__main__":
    main()
