"""Which accelerators this process may use, and whether a model can be divided among those of a server.

From the environment, the driver and a model's `config.json`, without loading a library that would claim a device.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def limited_devices() -> list[str] | None:
    """The devices that CUDA_VISIBLE_DEVICES names, each once; None where it is not set.

    As CUDA reads it: the list ends at the first entry that is empty or negative, and one that is set and empty hides all.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        return None
    devices: list[str] = []
    for entry in given.split(","):
        device = entry.strip()
        if not device or device.startswith("-"):
            break
        if device not in devices:
            devices.append(device)
    return devices


def visible_devices(dev: Path = Path("/dev")) -> list[str]:
    """The devices that this process can use: those that it is limited to, else all that the NVIDIA driver has made."""
    limited = limited_devices()
    if limited is not None:
        return limited
    return sorted((p.name.removeprefix("nvidia") for p in dev.glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)), key=int)


def find_serving_faults(folder: Path, server_args: Sequence[str]) -> list[str]:
    """Attention heads that don't divide by the servers' tensor-parallel size: what is trained could not be served."""
    if not (folder / "config.json").is_file():
        return []
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    written, heads = _tensor_parallel_size(server_args), config.get("num_attention_heads") or 0
    if not re.fullmatch("[1-9][0-9]*", written):
        return [
            f"`--tensor-parallel-size` of {folder.name} needs a number of devices behind it, not `{written}`; correct `server_args`"
        ]
    size = int(written)
    shared = config.get("num_key_value_heads") or heads
    if heads % size == 0 and (shared % size == 0 or size % shared == 0):
        return []
    return [
        f"a server of {folder.name} can't divide its {heads} attention heads and {shared} key-value heads by "
        f"`--tensor-parallel-size {size}`; give the model `server_args` with a size that divides them"
    ]


def _tensor_parallel_size(server_args: Sequence[str]) -> str:
    """The size that vLLM takes: the last one given, as it is written."""
    size = "1"
    for i, argument in enumerate(server_args):
        name, _, value = argument.partition("=")
        if name.replace("_", "-") in ("--tensor-parallel-size", "-tp"):
            size = value or "".join(server_args[i + 1 : i + 2])
    return size
