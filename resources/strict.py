"""The base of every model that a profile's YAML is checked against: unknown keys are errors, values do not change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of a profile; see `resources/profile.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # a value can be a key by mistake
