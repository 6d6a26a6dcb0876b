"""The page on which people score items: one file that needs no network and no program beside a browser.

Everything that a model or a user wrote is text of the page or the value of an attribute, escaped by the template; the script holds no
value at all, and the page's policy lets no other script run and nothing be fetched. Scores stay in the browser until they are
downloaded as CSV.

What belongs here: layout. What does not: which items, questions and columns there are (`humanllm_assets/quality/`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent


class AskedQuestion(NamedTuple):
    """One question about an item, with what its numbers mean."""

    name: str
    definition: str


@dataclass(frozen=True)
class ShownItem:
    """One item. cells: its own cells of the CSV; questions without one are `n/a` there."""

    kind: str
    source: str
    text: str
    records: Sequence[str]
    questions: Sequence[AskedQuestion]
    cells: Mapping[str, str]


def render_sheet(
    *,
    columns: Sequence[str],
    all_questions: Sequence[str],
    cells: Mapping[str, str],
    facts: Mapping[str, str],
    items: Sequence[ShownItem],
) -> str:
    """The page.

    Args:
        columns: of the CSV, in order.
        all_questions: which of the columns hold scores.
        cells: what stands in every row of it; `sample` among them, under which the browser keeps scores.
        facts: printed on top.
    """
    import jinja2

    script = (_FOLDER / "human_sheet.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((_FOLDER / "human_sheet.html.j2").read_text(encoding="utf-8"))
    return template.render(
        script=script,
        script_hash=digest,
        facts=facts,
        items=items,
        columns=json.dumps(list(columns)),
        all_questions=json.dumps(list(all_questions)),
        cells=json.dumps(dict(cells)),
        item_cells=[json.dumps(dict(item.cells)) for item in items],
    )
