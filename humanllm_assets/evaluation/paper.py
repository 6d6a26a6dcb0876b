"""The paper's printed numbers (`paper_numbers.yaml`), and how a report sets its own beside them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from resources.yaml_text import read_yaml

Row = dict[str, Any]
_FILE = Path(__file__).with_name("paper_numbers.yaml")


@cache
def page_files() -> dict[str, str]:
    """Content hashes of what a report shows beside its code: the paper's numbers."""
    return {_FILE.name: hashlib.sha256(_FILE.read_bytes()).hexdigest()}


def paper_numbers() -> dict[str, Any]:
    """`paper_numbers.yaml`: source, contestants (ours -> the paper's row), tables (caption, unit, columns, rows)."""
    return read_yaml(_FILE.read_text(encoding="utf-8"))


def paper_value(table: str, row: str, column: str) -> float | None:
    """What the paper prints, null where it prints a dash or has no such row or column."""
    printed = paper_numbers()["tables"][table]
    if row not in printed["rows"] or column not in printed["columns"]:
        return None
    return printed["rows"][row][printed["columns"].index(column)]


def report_row(section: str, row: str, column: str, value: float | None, paper: float | None) -> Row:
    """A row of REPORT_ROWS."""
    return {"section": section, "row": row, "column": column, "value": value, "paper": paper}


def show_count(value: float | None) -> str:
    """A whole number with separators; a dash for none."""
    return "–" if value is None else f"{value:,.0f}"
