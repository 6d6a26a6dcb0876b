"""Text that others wrote, in the Markdown that Dagster's UI renders."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#!~&])")


def escape_markdown(text: object) -> str:
    """The text in one line, shown as it is: no link, picture, tag or table cell of its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
