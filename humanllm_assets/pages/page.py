"""The parts of a self-contained HTML page: sections, tables, figures; no script, no file, no address outside the page.

What belongs here: layout. What does not: the numbers (`evaluation/funnel_report.py`, `lineage/audit/`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Context:
    """What the numbers were made with; printed on top of every report.

    models: role or contestant -> model and revision. notes: the profile's notes, printed beside every number it produces.
    """

    profile: str
    engine: str
    data: str
    made_at: str
    models: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def facts(self) -> list[tuple[str, str]]:
        fixed = [("Profile", self.profile), ("Data", self.data), ("Engine", self.engine), ("Made at", self.made_at)]
        return [*fixed, *((name, model) for name, model in self.models.items())]


class Cell(NamedTuple):
    """One value of a table, and what stands small below it, such as an interval."""

    text: str
    detail: str = ""


class TableRow(NamedTuple):
    """One row: its name and a cell per column. `paper`: the paper's numbers, set off from ours."""

    name: str
    cells: list[Cell]
    paper: bool = False


class Table(NamedTuple):
    """A table of a page; `head` stands over the column of the rows' names, `columns` over the others."""

    title: str
    head: str
    columns: list[str]
    rows: list[TableRow]


class Figure(NamedTuple):
    """An SVG drawing with the sentence below it."""

    svg: str
    caption: str


@dataclass
class Section:
    """One part of a page: paragraphs, then tables, then figures."""

    title: str
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def render_page(title: str, lead: str, context: Context, sections: Sequence[Section]) -> str:
    """One HTML page that needs nothing beside it."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((Path(__file__).parent / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(title=title, lead=lead, context=context, sections=sections)
