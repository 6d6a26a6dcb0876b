"""The base of every model that a profile's YAML is checked against: unknown keys are errors, values do not change."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of a profile; see `resources/profile.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # a value can be a key by mistake


def check_name(name: str, what: str, known: Collection[str]) -> str:
    """The name, if it is a known one.

    Raises:
        ValueError: it is not; the message has the nearest one that is.
    """
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, 1)
    raise ValueError(f"`{name}` is no {what}; " + (f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"))
