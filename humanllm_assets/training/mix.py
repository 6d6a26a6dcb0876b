"""What a recipe mixes in (ablation A2): files of conversations in the layouts in which such data are published.

Every line is read by itself: one that is no conversation to train on is left out and counted by reason, never mended by guessing.

What belongs here: reading lines. What does not: which conversations are regular (`conversations.py`), drawing shares (`data.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from humanllm_assets.training.conversations import ROLES, find_irregularity

_NAMES = {"user": "human", "assistant": "gpt", "system": "system"}  # ShareGPT's, so that equal conversations are equal


class MixLine(NamedTuple):
    """A line's ShareGPT turns, or the reason why it is left out."""

    turns: list[dict[str, str]]
    reason: str | None


def read_mix(path: Path) -> Iterator[MixLine]:
    """Every line of a file that is not blank. Reasons: not_json, unknown_layout, and those of `find_irregularity`."""
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield _read_line(line)


def _read_line(line: bytes) -> MixLine:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return MixLine([], "not_json")
    turns = _find_turns(found)
    if turns is None:
        return MixLine([], "unknown_layout")
    reason = find_irregularity(turns)
    return MixLine([] if reason else [{"from": _NAMES[ROLES[turn["from"]]], "value": turn["value"]} for turn in turns], reason)


def _find_turns(line: Any) -> Any:
    """The turns in ShareGPT's names, whatever the layout; None for a layout that is not known."""
    if not isinstance(line, dict):
        return None
    if "question" in line and "response" in line:
        turns = [{"from": "human", "value": line["question"]}, {"from": "gpt", "value": line["response"]}]
    else:
        turns = next((line[key] for key in ("conversations", "messages") if line.get(key) is not None), None)
        if isinstance(turns, list):
            turns = [_rename(turn) for turn in turns]
    system = next((line[key] for key in ("system", "system_prompt") if line.get(key)), None)
    if system and isinstance(turns, list):
        turns = [{"from": "system", "value": system}, *turns]
    return turns


def _rename(turn: Any) -> Any:
    if isinstance(turn, dict) and "from" not in turn and {"role", "content"} <= turn.keys():
        return {"from": turn["role"], "value": turn["content"]}
    return turn
