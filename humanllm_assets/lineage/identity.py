"""What an identity payload names: its prompts and models, wherever a stage put them.

A stage names a prompt by `Prompt.identity` and a model by `Model.identity`, mostly through `asking/identity.py`; this is the one
place that knows them again. What belongs here: finding them. What does not: comparing two identities (`staleness/explain.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class NamedPrompt(NamedTuple):
    """One prompt that decides an output: its name and the SHA-256 of its text (`Prompt.identity`)."""

    name: str
    text_sha256: str


class NamedModel(NamedTuple):
    """One model that decides an output (`Model.identity`)."""

    name: str
    revision: str

    @property
    def label(self) -> str:
        """How manifests and messages name it."""
        return f"{self.name} {self.revision}"


def is_prompt(value: Any) -> bool:
    """Whether a part of an identity is a prompt's."""
    return isinstance(value, Mapping) and "text_sha256" in value and "name" in value


def is_model(value: Any) -> bool:
    """Whether a part of an identity is a model's."""
    return isinstance(value, Mapping) and "revision" in value and "name" in value


def find_prompts(identity: Any) -> list[NamedPrompt]:
    """Every prompt of an identity, once for each text, by name."""
    found = {NamedPrompt(p["name"], p["text_sha256"]) for p in _walk(identity) if is_prompt(p)}
    return sorted({p.text_sha256: p for p in sorted(found)}.values())


def find_models(identity: Any) -> list[NamedModel]:
    """Every model of an identity, once, by name."""
    return sorted({NamedModel(m["name"], m["revision"]) for m in _walk(identity) if is_model(m)})


def _walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in plain data."""
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part)
