"""The two files that travel inside a model folder: `README.md` for people and `lineage.json` for audits.

Plain text from plain facts: the files hold what the caller passes in; nothing is looked up or invented.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CARD = "README.md"
LINEAGE = "lineage.json"


def describe_model(folder: Path, facts: Mapping[str, Any], lineage: Mapping[str, Any]) -> tuple[str, ...]:
    """Write both files (see `write_model_card`, `write_lineage`) and return their names."""
    return write_model_card(folder, facts).name, write_lineage(folder, lineage).name


def write_model_card(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write the model card and return its path.

    Args:
        facts: `name` and `base_model` (text) are required. Optional: `description` (text), `merge_weight` (number; 0 < w),
            `data` (mapping of (task, source) or text to samples), `hyperparameters`, `outcome` (mappings, e.g.
            `TrainingOutcome.facts()`), `notes` (list of texts about thresholds of this profile), `limitations` (list of texts),
            `license` (text).

    Raises:
        KeyError: `name` or `base_model` is missing.
    """
    head = {"base_model": facts["base_model"], "library_name": "transformers", "tags": ["humanllm"]}
    if "license" in facts:
        head["license"] = facts["license"]
    parts = [f"---\n{yaml.safe_dump(head, sort_keys=False).strip()}\n---", f"# {facts['name']}"]
    if facts.get("description"):
        parts.append(str(facts["description"]))
    made = f"Full fine-tuning of `{facts['base_model']}`, loss on response tokens only."
    if facts.get("merge_weight") is not None:
        made += f" Then linearly merged with it; weight of the fine-tuned model: {facts['merge_weight']}."
    parts.append(made)
    if facts.get("data"):
        rows = [((" / ".join(pair) if isinstance(pair, tuple) else pair), n) for pair, n in facts["data"].items()]
        parts += ["## Training data", _table(("task / source", "samples"), [*rows, ("all", sum(n for _, n in rows))])]
    for title, key in (("Hyperparameters", "hyperparameters"), ("What the training did", "outcome")):
        if facts.get(key):
            parts += [f"## {title}", _table(("field", "value"), [(k.replace("_", " "), v) for k, v in facts[key].items()])]
    for title, key in (("Notes on this run", "notes"), ("Limitations", "limitations")):
        if facts.get(key):
            parts += [f"## {title}", "\n".join(f"- {text}" for text in facts[key])]
    parts.append(f"`{LINEAGE}` beside this file names every data version, record and model that this one was made from.")
    path = folder / CARD
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _table(head: Sequence[str], rows: Sequence[tuple[Any, Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {_shown(value)} |" for name, value in rows])


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) or "none"
    return str(value)


def write_lineage(folder: Path, lineage: Mapping[str, Any]) -> Path:
    """Write `lineage.json` with the caller's facts and return its path."""
    path = folder / LINEAGE
    path.write_text(json.dumps(lineage, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
