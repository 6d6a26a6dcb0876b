"""The card of an exported data set: `README.md` with YAML front matter, as hubs of data sets read it.

Plain text from plain facts: nothing is looked up or invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))


@dataclass(frozen=True)
class DataCard:
    """What a card says. counts: samples by (task, source, split). dropped: samples left out, by reason. made_from: data versions by
    partition. models: who wrote or judged what, by asset. checks: sentences about judges and contamination."""

    name: str
    form: str
    load: str
    profile: str
    description: str
    commit: str
    counts: Mapping[tuple[str, str, str], int]
    dropped: Mapping[str, int]
    made_from: Mapping[str, str]
    models: Mapping[str, Sequence[str]]
    licences: Mapping[str, str]
    checks: Sequence[str]
    limits: Sequence[str]
    notes: Sequence[str]


def data_card(card: DataCard) -> str:
    """The card as Markdown."""
    samples = sum(card.counts.values())
    splits = sorted({split for _, _, split in card.counts}, reverse=True)
    head = {
        "pretty_name": card.name,
        "language": ["en"],
        "license": "other",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for size, name in _SIZES if samples < size), "n>10M")],
        "tags": ["humanllm", card.form],
        "configs": [{"config_name": "default", "data_files": [{"split": s, "path": f"{s}.jsonl"} for s in splits]}],
    }
    pairs = sorted({(task, source) for task, source, _ in card.counts})
    counts = [(task, source, *(card.counts.get((task, source, s), 0) for s in splits)) for task, source in pairs]
    totals = [sum(n for (_, _, s), n in card.counts.items() if s == split) for split in splits]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False).strip()}\n---",
        f"# {card.name}",
        f"Samples for supervised fine-tuning in the form `{card.form}`, made by HumanLLM, profile `{card.profile}` ({card.description}). "
        "The splits are by user: nobody is in both.",
        f"```\n{card.load}\n```",
        "## Samples",
        _table(("task", "source", *splits), [*counts, ("all", "", *totals)]),
        "Left out: " + (", ".join(f"{n:,} {reason}" for reason, n in sorted(card.dropped.items())) or "none") + ".",
        "## Where it comes from",
        f"Code: {card.commit}. `lineage.json` names every snapshot behind the samples, down to the raw files.",
        _table(("data", "version"), card.made_from.items()),
        _table(("asset", "models that wrote or judged it"), [(a, ", ".join(names)) for a, names in card.models.items()]),
        "## Licences",
        "As far as known to us; whoever passes the data on has to see for themselves. What models wrote may also be bound by their licences.",
        _table(("source", "licence"), card.licences.items()),
    ]
    for title, texts in (("Checks", card.checks), ("Known limits", card.limits), ("Notes of the profile", card.notes)):
        if texts:
            parts += [f"## {title}", "\n".join(f"- {text}" for text in texts)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(f'{c:,}' if isinstance(c, int) else str(c) for c in row)} |" for row in rows)])
