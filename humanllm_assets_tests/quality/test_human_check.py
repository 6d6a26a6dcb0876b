"""The asset human_check: empty without sheets, refused with bad ones, and each row accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from humanllm_assets.lineage.manifests import Counts
from humanllm_assets.quality.assets import _human_check, find_sheets, nodes
from humanllm_assets.quality.human_sheet import SheetError
from humanllm_assets_tests.filtering.scripted_engine import Tables
from humanllm_assets_tests.quality.judged_world import JudgedWorld
from humanllm_assets_tests.quality.test_human_sheet import fill, save
from resources.home import Home
from resources.profile import HumanCheck, load_profile


@dataclass
class Snapshot:
    file: Path
    data_version: str

    def path(self, table: str) -> Path:
        return self.file


@dataclass
class Step:
    """What the asset uses of a step."""

    world: JudgedWorld
    sheets: Path | None
    con: Any = field(default_factory=duckdb.connect)
    measures: dict[str, Any] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.profile = load_profile("local").model_copy(
            update={"name": "small", "human_check": HumanCheck(sheets=str(self.sheets)) if self.sheets else None}
        )
        self.inputs = {a: {p: Snapshot(f, f"version-{p}") for p, f in files.items()} for a, files in self.world.files.items()}
        self.write, self.log = self.tables, self.lines.append

    def count(self, **counts: Any) -> None:
        self.counts = Counts(**counts)


def compute(world: JudgedWorld, sheets: Path | None) -> Step:
    step = Step(world, sheets)
    _human_check(step)  # type: ignore[arg-type]
    assert step.counts.unaccounted == 0
    return step


@pytest.fixture
def world(tmp_path: Path) -> JudgedWorld:
    return JudgedWorld(tmp_path / "world")


def test_without_sheets_it_is_empty_and_says_so(world, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    for sheets in (None, tmp_path / "none"):
        step = compute(world, sheets)
        assert step.tables.rows("scores") == step.tables.rows("agreement") == [] and step.counts.entered == 0
        assert step.lines == ["no human check yet: humanllm human-sample"] == [step.measures["note"]]


def test_scores_and_agreement_of_two_people(world, tmp_path) -> None:
    sample = world.sample(30)
    folder = tmp_path / "sheets"
    folder.mkdir()
    for who in ("ann", "bo"):
        save(folder / f"{who}.csv", fill(sample, who, lambda n, q: "" if (n, q) == (2, "overall") else str(n % 9 + 1)))
    (folder / "notes.txt").write_text("no sheet")
    step = compute(world, folder)
    assert step.measures == {"sheets": 2, "annotators": 2, "items": 30}
    assert step.counts.dropped == {"outdated": 0, "not_scored": 2} and step.counts.kept == len(step.tables.rows("scores"))
    alpha = {r["metric"]: r["value"] for r in step.tables.rows("agreement") if r["measure"] == "alpha"}
    assert alpha["overall"] == pytest.approx(1) and alpha["plausibility"] == pytest.approx(1)


def test_a_folder_that_is_not_there_and_a_bad_sheet_stop_the_step(world, tmp_path) -> None:
    with pytest.raises(SheetError, match="make it, or correct `human_check.sheets` in the profile"):
        compute(world, tmp_path / "gone")
    folder = tmp_path / "sheets"
    folder.mkdir()
    save(folder / "ann.csv", fill(world.sample(10), "ann", lambda n, q: "12"))
    with pytest.raises(SheetError, match=r"ann.csv, line 2 scores"):
        compute(world, folder)


def test_the_content_of_the_sheets_is_what_it_was_made_from(tmp_path) -> None:
    folder = tmp_path / "sheets"
    profile = load_profile("local").model_copy(update={"human_check": HumanCheck(sheets=str(folder))})
    node = next(n for n in nodes(profile, Home(tmp_path / "home")) if n.name == "human_check")
    gone = node.external("")
    folder.mkdir()
    empty = node.external("")
    (folder / "a.csv").write_text("a")
    one = node.external("")
    (folder / "a.csv").write_text("b")
    assert gone == {"sheets": None} and empty == {}
    assert one != node.external("") and list(one["sheets"]) == ["a.csv"] and find_sheets(profile) == [folder / "a.csv"]
    other = profile.model_copy(update={"human_check": None})
    same = next(n for n in nodes(other, Home(tmp_path / "home")) if n.name == "human_check")
    assert same.own_identity("") == node.own_identity(""), "where the sheets lie decides nothing"
