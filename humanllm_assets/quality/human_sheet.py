"""The sheet in which people score items (Q5), as CSV: its columns, writing it, and reading what came back.

One row per item and annotator. Every row names its sample and what it was drawn from, so that a filled-in sheet can be matched
however it travelled. Cells that a spreadsheet would run as a formula get an apostrophe in front, which is taken away again on reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from resources.canonical import digest
from resources.errors import Explained
from resources.item_kinds import ITEM_KINDS, METRICS, read_score

PLAUSIBILITY = "plausibility"  # which the paper asks people about (A.4) and no judge
QUESTIONS = (*METRICS, PLAUSIBILITY)
QUESTIONS_OF = {kind.name: (*kind.metrics, PLAUSIBILITY) for kind in ITEM_KINDS}
"""What people are asked about an item, by its kind: all that the judge is asked (Q2), and whether it is plausible."""

SHOWN = ("source", "kind", "item", "records")
DRAWN_FROM = ("item_id", "text_version", "sample", "items", "profile", "seed", "versions", "home")
COLUMNS = ("annotator", *SHOWN, *QUESTIONS, "comment", *DRAWN_FROM)
NEEDED = ("annotator", *QUESTIONS, "item_id", "text_version", "sample", "items", "profile", "versions")
"""Columns that a filled-in sheet must have; a downloaded one has no texts."""

NOT_ASKED = "n/a"
LONGEST_CELL = 30_000  # characters; a spreadsheet cuts at 32,767 without a word
BOM = "\ufeff"  # without it spreadsheets take UTF-8 for an old code page
_FORMULA = re.compile(r"'*(?:\s*[=+\-@|%]|[\t\r\n])")
_GUARDED = re.compile(r"'(?='*(?:\s*[=+\-@|%]|[\t\r\n]))")
_SHOWN_VALUE = 40  # characters of a wrong value in a message


class SheetError(Explained):
    """A scored sheet that cannot be used; the message names file and line, what is wrong and the remedy."""


class DrawnItem(NamedTuple):
    """One item of a sample. `records`: what it was made from, as prompts show them, oldest first."""

    item_id: str
    text_version: str
    source: str
    item_kind: str
    text: str
    records: list[str]


@dataclass(frozen=True)
class HumanSample:
    """A drawn sample and what it was drawn from.

    versions: data version of qc_scores by source. home: the data home, for people.
    """

    home: str
    profile: str
    seed: int
    versions: Mapping[str, str]
    items: Sequence[DrawnItem]

    @cached_property
    def id(self) -> str:
        """Names the sample in its sheets: equal for equal items, data versions, profile and seed, wherever the home lies."""
        items = sorted([i.item_id, i.text_version] for i in self.items)
        return digest({"profile": self.profile, "seed": self.seed, "versions": dict(self.versions), "items": items})[:12]


def guard(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """What `guard` was given."""
    return text[1:] if _GUARDED.match(text) else text


def sample_cells(sample: HumanSample) -> dict[str, str]:
    """The cells that every row of a sheet has."""
    versions = " ".join(f"{source}={version}" for source, version in sorted(sample.versions.items()))
    return {
        "sample": sample.id,
        "items": str(len(sample.items)),
        "profile": sample.profile,
        "seed": str(sample.seed),
        "versions": versions,
        "home": sample.home,
    }


def item_cells(item: DrawnItem) -> dict[str, str]:
    """The cells of one item, without what it shows."""
    return {"source": item.source, "kind": item.item_kind, "item_id": item.item_id, "text_version": item.text_version}


def sheet_csv(sample: HumanSample) -> str:
    """The sheet for people who prefer a spreadsheet: no scores yet, `n/a` where a question is not asked of the kind."""
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_ALL)
    rows.writerow(COLUMNS)
    for item in sample.items:
        shown = {"item": _shorten(item.text), "records": _shorten("\n\n".join(item.records))}
        unasked = {q: NOT_ASKED for q in QUESTIONS if q not in QUESTIONS_OF[item.item_kind]}
        cells = {**sample_cells(sample), **item_cells(item), **shown, **unasked}
        rows.writerow([guard(cells.get(column, "")) for column in COLUMNS])
    return BOM + out.getvalue()


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + " [... the rest is in sheet.html]"


# ---- reading ---------------------------------------------------------------------------------------------------------


class SheetRow(NamedTuple):
    """One item as one annotator scored it; a question without a score is not in `scores`."""

    where: str
    annotator: str
    item_id: str
    text_version: str
    scores: dict[str, int]


@dataclass(frozen=True)
class Sheets:
    """Sheets of one sample. items: how many were drawn. versions: as the sheets name them."""

    sample: str
    items: int
    versions: str
    rows: Sequence[SheetRow]

    @property
    def annotators(self) -> list[str]:
        """Everybody who filled in a sheet, sorted."""
        return sorted({row.annotator for row in self.rows})


def read_sheets(files: Sequence[Path], profile: str) -> Sheets:
    """Read the sheets of several annotators; comma, semicolon or tab, as spreadsheets write them.

    Raises:
        SheetError: a file is no sheet, is of another sample or profile than the first, names no annotator, holds a value that is no
            score, or scores an item twice.
    """
    rows: list[SheetRow] = []
    first: Mapping[str, str] = {}
    seen: dict[tuple[str, str], str] = {}
    for where, cells in (found for file in files for found in _read_cells(file)):
        first = first or cells
        if cells["profile"] != profile:
            raise SheetError(
                f"{where} is of a sample of the profile `{_show(cells['profile'])}`, not of `{profile}`; name that profile with --profile"
            )
        for name in ("sample", "items", "versions"):
            if cells[name] != first[name]:
                raise SheetError(
                    f"{where} is of another sample than the first row ({name} `{_show(cells[name])}`, not `{_show(first[name])}`); "
                    "give sheets of one sample alone"
                )
        if not cells["annotator"]:
            raise SheetError(f"{where} names no annotator; write the same name or initials in every row of a sheet")
        if not cells["item_id"]:
            raise SheetError(f"{where} has no item_id; restore the row from the sheet as it was given out")
        key = cells["annotator"], cells["item_id"]
        if key in seen:
            raise SheetError(
                f"{where} scores {_show(key[1])} a second time for `{_show(key[0])}` (the first is {seen[key]}); keep one of the two"
            )
        seen[key] = where
        rows.append(SheetRow(where, *key, cells["text_version"], _read_scores(where, cells)))
    if not rows:
        names = ", ".join(str(f) for f in files)
        raise SheetError(f"{names or 'no file'} holds no scored row; give sheets that `humanllm human-sample` made")
    if not first["items"].isdecimal():
        raise SheetError(
            f"{rows[0].where} names no number of items; restore the column `items` from the sheet as it was given out"
        )
    return Sheets(first["sample"], int(first["items"]), first["versions"], rows)


def _read_cells(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`file, line n` and the cells by column of every row that is not blank."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise SheetError(f"{file} is not UTF-8; save it from the spreadsheet as `CSV UTF-8`") from e
    except OSError as e:
        raise SheetError(f"{file} cannot be read ({e.strerror}); name the CSV of an annotator") from e
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header, line = [name.strip() for name in next(reader, [])], reader.line_num
    if lacking := [name for name in NEEDED if header.count(name) != 1]:
        raise SheetError(
            f"{file}, line 1 has the column{'s' * (len(lacking) > 1)} {', '.join(lacking)} not exactly once; "
            "restore the first line from the sheet as it was given out"
        )
    while True:
        where = f"{file}, line {line + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as e:
            raise SheetError(f"{where} cannot be read as CSV ({e}); save the sheet again from the spreadsheet") from e
        line = reader.line_num
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise SheetError(f"{where} has {len(cells)} cells where the first line has {len(header)}; save the sheet again")
        yield where, {name: unguard(cell).strip() for name, cell in zip(header, cells, strict=True)}


def _read_scores(where: str, cells: Mapping[str, str]) -> dict[str, int]:
    scores: dict[str, int] = {}
    for question in QUESTIONS:
        if cells[question] in ("", NOT_ASKED):
            continue
        score = read_score(cells[question])
        if not isinstance(score, int) or not 1 <= score <= 10:
            raise SheetError(
                f"{where} scores {question} with `{_show(cells[question])}`; write a whole number from 1 to 10, or leave it empty"
            )
        scores[question] = score
    return scores


def _show(value: str) -> str:
    return value if len(value) <= _SHOWN_VALUE else value[:_SHOWN_VALUE] + "..."


class Matched(NamedTuple):
    """Scores by people beside the judge's. rows: of HUMAN_SCORES. outdated: scores whose item was written anew or is gone since
    the sample was drawn. missing: questions without a score, by annotator."""

    rows: list[dict[str, Any]]
    outdated: int
    missing: dict[str, int]


def match_scores(sheets: Sheets, verdicts: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str]) -> Matched:
    """Join sheets with what the judge said now.

    Scores hold for a text, not for a verdict: a sheet stays usable when the judge changes.

    Args:
        verdicts: by item id (`judged_items.py`).
        versions: data version of qc_scores by source, now.

    Raises:
        SheetError: an item that the sample does not hold, or a score of a question that is not asked of the item's kind.
    """
    now = " ".join(f"{source}={version}" for source, version in sorted(versions.items()))
    found = Matched([], 0, dict.fromkeys(sheets.annotators, 0))
    outdated = 0
    for row in sheets.rows:
        verdict = verdicts.get(row.item_id)
        if verdict is None or verdict["text_version"] != row.text_version:
            if sheets.versions == now:
                raise SheetError(
                    f"{row.where} names the item {_show(row.item_id)} with the text {_show(row.text_version)}, which the sample "
                    f"{sheets.sample} cannot hold; restore the columns item_id and text_version from the sheet as it was given out"
                )
            outdated += len(row.scores)
            continue
        asked = QUESTIONS_OF[verdict["item_kind"]]
        if strange := [q for q in row.scores if q not in asked]:
            raise SheetError(
                f"{row.where} scores {strange[0]}, which is not asked of a {verdict['item_kind']}; clear that cell or write {NOT_ASKED}"
            )
        found.missing[row.annotator] += len(asked) - len(row.scores)
        same = {name: verdict[name] for name in ("source", "item_id", "item_kind", "user_id", "record_id", "kept")}
        found.rows.extend(
            {**same, "annotator": row.annotator, "metric": q, "score": row.scores[q], "judge_score": verdict.get(q)}
            for q in asked
            if q in row.scores
        )
    return found._replace(outdated=outdated)
