"""A recipe against reality, before the first step: what would make a checkpoint differ from its recipe, or end a run half way.

Each function returns sentences, each with its remedy; `sft_checkpoint` raises them all in one message. What a training did is
compared with its plan by `TrainingOutcome.find_deviations`, and by the contract `sft_checkpoint` from the same measures.

What belongs here: plain checks that load no library and decide no weight. What does not: chat templates
(`humanllm_assets/training/prepare.py`), mixed-in files (`humanllm_assets/training/data.py`).
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.devices import visible_devices
from resources.profile import Hyperparameters, Launch
from resources.thresholds import Failures
from resources.training import find_batch_fault

_STATE_BYTES = {
    "bfloat16": 16,
    "float32": 20,
}  # of a checkpoint, per weight: the weights twice, AdamW's two moments, the master copy
_WEIGHT_BYTES = {"bfloat16": 2, "float32": 4}
_AS_THE_RECIPE_SAYS = ("too_long", "held_out", "over_max_tokens")  # reasons to leave a sample out
_KEPT = 3  # checkpoints at once: two are kept while the next is written


def find_launch_faults(hyper: Hyperparameters, launch: Launch) -> list[str]:
    """Devices that are not there, a batch that can't be divided among the processes."""
    faults = [fault for fault in [find_batch_fault(hyper, launch)] if fault]
    if not (launch.cpu or launch.hostfile):
        devices = visible_devices()
        if len(devices) < launch.processes:
            faults.append(
                f"{launch.processes} training processes need a GPU each, but {len(devices)} are visible "
                f"({', '.join(devices) or 'none'}); correct CUDA_VISIBLE_DEVICES or `processes` under `launch` in the profile"
            )
    return faults


def find_model_faults(folder: Path) -> list[str]:
    """Weight files that are missing, cut off or without a tensor that the index names; a tokenizer that is missing."""
    faults = [
        f"the base model in {folder} has no {name}; download the model again"
        for name in ("config.json", "tokenizer.json")
        if not (folder / name).is_file()
    ]
    wanted = _indexed_tensors(folder)
    for name in sorted(wanted):
        path = folder / name
        header = _read_header(path) if path.is_file() else None
        if header is None:
            what = "is cut off or no safetensors file" if path.is_file() else "is missing"
            faults.append(f"{name} of the base model in {folder} {what}; download it again")
        elif absent := sorted(wanted[name] - header.keys()):
            faults.append(
                f"{name} of the base model in {folder} lacks the tensor {absent[0]} that its index names; download both again"
            )
    return faults


def _indexed_tensors(folder: Path) -> dict[str, set[str]]:
    """The tensors that each weight file must hold: by the index; without one, all files of a numbered series."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files: dict[str, set[str]] = {}
        for tensor, name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            files.setdefault(name, set()).add(tensor)
        return files
    found = {path.name for path in folder.glob("*.safetensors")}
    for name in sorted(found):
        if series := re.fullmatch(r"(.*-)(\d+)-of-(\d+)\.safetensors", name):
            width, last = len(series[2]), int(series[3])
            found |= {f"{series[1]}{n:0{width}}-of-{series[3]}.safetensors" for n in range(1, last + 1)}
    return {name: set() for name in found}


def _read_header(path: Path) -> dict[str, Any] | None:
    """The tensors of a safetensors file; None for one that is not as long as its header says."""
    with path.open("rb") as f:
        size = int.from_bytes(f.read(8), "little")
        if size > path.stat().st_size - 8:
            return None
        try:
            header = json.loads(f.read(size))
        except ValueError:
            return None
    header.pop("__metadata__", None)
    end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    return header if path.stat().st_size == 8 + size + end else None


def count_weights(folder: Path) -> int:
    """Number of weights in a model's folder."""
    headers = [_read_header(folder / name) for name in _indexed_tensors(folder) if (folder / name).is_file()]
    return sum(math.prod(tensor["shape"]) for header in headers if header for tensor in header.values())


def find_disk_faults(folder: Path, weights: int, steps: int, hyper: Hyperparameters, launch: Launch) -> list[str]:
    """Too little room below `folder` for the checkpoints of a run of so many steps, and the model that it ends with.

    What an earlier run left in `folder` counts as free: it is resumed from or removed.
    """
    kept = min(_KEPT, (steps - 1) // launch.save_steps)
    needed = weights * (kept * _STATE_BYTES[hyper.dtype] + 2 * _WEIGHT_BYTES[hyper.dtype])
    free = shutil.disk_usage(folder).free + sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    if needed <= free:
        return []
    return [
        f"the disk of {folder} has {free / 1e9:,.1f} GB free, and training needs about {needed / 1e9:,.1f} GB ({kept} checkpoints of "
        f"{weights * _STATE_BYTES[hyper.dtype] / 1e9:,.1f} GB, and the model twice); free some, raise `save_steps` under `launch`, or "
        "set HUMANLLM_HOME to a larger disk"
    ]


def find_encoding_faults(
    entered: int, dropped: Mapping[str, int], share_error: float, steps: int, hyper: Hyperparameters, failures: Failures
) -> list[str]:
    """What the encoded samples show before the first step: none left, too many unusable, shares of a mix missed, all warm-up.

    Args:
        entered: samples, held-out ones included.
        dropped: those left out, by reason.
        share_error: largest difference of a share of the mix from the recipe's, without them.
        steps: of the run over those that are left.
    """
    counted = ", ".join(f"{n:,} {reason}" for reason, n in sorted(dropped.items()))
    faults = []
    if entered == sum(dropped.values()):
        return [f"none of {entered:,} samples is left to train on ({counted}); raise `max_length` or add samples"]
    if (rate := measure_unusable(dropped, entered)) > failures.max_quarantine_rate:
        faults.append(
            f"{rate:.1%} of {entered:,} samples can't be trained on ({counted}), at most {failures.max_quarantine_rate:.1%} may be; "
            "mend them, or train a model whose chat template can write them"
        )
    if share_error > failures.max_share_error:
        faults.append(
            f"the shares of the mix differ from the recipe's by up to {share_error:.1%} once unusable samples are left out ({counted}), at "
            f"most {failures.max_share_error:.1%} may be; raise `max_length`, or mix in samples that fit"
        )
    if hyper.warmup_steps(steps) >= steps:
        faults.append(f"all of {steps} steps would be warm-up, so nothing would be trained; set `warmup_ratio: 0` or add samples")
    return faults


def measure_unusable(dropped: Mapping[str, int], entered: int) -> float:
    """Share of the samples that are left out for what they are, not for what the recipe says."""
    return sum(n for reason, n in dropped.items() if reason not in _AS_THE_RECIPE_SAYS) / entered
