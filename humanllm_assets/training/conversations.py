"""Conversations as training takes them: ShareGPT turns, `{"from": human|gpt|system, "value": text}`, and what is irregular in others.

Regular is: a system turn or none, then a human and a gpt turn by turns, the last from gpt, every one with text. What is not is
left out whole and counted by the reason that `find_irregularity` names; nothing is mended by guessing.

What belongs here: plain functions over parsed JSON. What does not: tokens and templates (`encoding.py`), files (`mix.py`).
"""

from __future__ import annotations

from typing import Any

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
REMEDY = (
    "a conversation is a list of turns with `from` (human, gpt or, first, system) and `value` (text), human and gpt by turns, "
    "the last from gpt"
)


def find_irregularity(turns: Any) -> str | None:
    """The first thing that makes a conversation no training sample, as a reason to count by; None for a regular one.

    Reasons: no_turns, missing_field (a turn without `from` or `value`), unknown_role, not_text, empty_text, not_unicode (half of a
    surrogate pair), wrong_order, ends_without_answer.
    """
    if not isinstance(turns, list) or not turns:
        return "no_turns"
    for turn in turns:
        if reason := _find_fault(turn):
            return reason
    roles = [ROLES[turn["from"]] for turn in turns]
    spoken = roles[1:] if roles[0] == "system" else roles
    if any(role != ("user", "assistant")[i % 2] for i, role in enumerate(spoken)):
        return "wrong_order"
    return None if spoken and spoken[-1] == "assistant" else "ends_without_answer"


def _find_fault(turn: Any) -> str | None:
    if not isinstance(turn, dict) or "from" not in turn or "value" not in turn:
        return "missing_field"
    if not isinstance(turn["from"], str) or turn["from"] not in ROLES:
        return "unknown_role"
    text = turn["value"]
    if not isinstance(text, str):
        return "not_text"
    if not text.strip():
        return "empty_text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not_unicode"
    return None
