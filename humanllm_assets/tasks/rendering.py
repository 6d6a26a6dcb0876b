"""How a task becomes a prompt: the template and the labels of its options. Benchmarks ask with the same."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resources.prompting.prompts import Prompt

"""Of the options of a question, in the order in which they are shown."""


def render_fields(fields: Mapping[str, Any]) -> str:
    """The human turn of the `fields` of a sample, which may have been changed."""
    values = dict(fields)
    return load_template(values.pop("template")).render(**values)[-1][1]


@cache
def load_template(name: str) -> Prompt:
    """The prompt file of that name, loaded once."""
    from resources.prompting.prompts import Prompt

    return Prompt.load(name)
