"""Files of model folders, whatever library wrote them: equal models are equal bytes.

Libraries note in their JSON files how they were called, where and when; a model made twice from the same inputs would then have
two hashes. `normalise_model_folder` is called wherever a model is written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Notes of a call: paths or hub names that were loaded, whether the hub was switched off, which commit a cache held, when.
OF_THE_CALL = {
    "_commit_hash",
    "_name_or_path",
    "name_or_path",
    "is_local",
    "local_files_only",
    "cache_dir",
}
_VOCABULARIES = ("tokenizer.json", "vocab.json")  # large, their order may count, and they hold nothing of a call


def normalise_model_folder(folder: Path) -> None:
    """Take notes of the call out of a model folder's JSON files, and give its files the usual permissions.

    Keys are sorted. Vocabularies are left as they are.
    """
    for path in folder.iterdir():
        if path.suffix == ".json" and path.name not in _VOCABULARIES:
            content = json.loads(path.read_text(encoding="utf-8"))
            text = json.dumps(_without_notes(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            if text != path.read_text(encoding="utf-8"):
                path.write_text(text, encoding="utf-8")
        if path.is_file():
            path.chmod(0o644)  # safetensors are written readable by their owner alone; servers may run as another user


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_notes(v) for k, v in value.items() if k not in OF_THE_CALL}
    return [_without_notes(v) for v in value] if isinstance(value, list) else value
