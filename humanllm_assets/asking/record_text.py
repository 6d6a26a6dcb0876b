"""A record as prompts show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def record_text(row: Row) -> str:
    """One record as prompts show it: its day, what it refers to, and the text.

    Amazon: the item and the rating stand before the review. A Reddit title is part of the text already.
    """
    lines = [f"[{row['created_at']:%Y-%m-%d}]"]
    if row["source"] == "amazon":
        item, rating = row["context_title"] or "an item", row["rating"]
        lines[0] += f" Review of {item}" + (f", {rating:g} of 5 stars" if rating is not None else "")
        if row["title"]:
            lines.append(row["title"])
    return "\n".join([*lines, row["text"]])
