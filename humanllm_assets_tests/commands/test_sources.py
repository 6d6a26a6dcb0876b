"""`humanllm sources` tells what lies in the folders: what is read, what cannot be, what belongs to no slice."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from humanllm_assets.cli import app
from humanllm_assets.commands.sources import Facts, UnknownSource, look_at
from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import write_lines
from resources.home import Home
from resources.profile import Profile, Source, load_profile


def profile_of(folder: Path, slices: dict[str, Any], **more: Any) -> Profile:
    reddit = {"reddit": Source.model_validate({"folder": str(folder), "slices": slices})}
    others = {name: Source.model_validate({"folder": str(folder), "slices": found}) for name, found in more.items()}
    return load_profile("local").model_copy(update={"sources": reddit | others})


def look(profile: Profile, tmp_path: Path, *names: str, quick: bool = False) -> Facts:
    return look_at(profile, Home(tmp_path / "home"), names, quick, lambda what, done: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dumps"
    made.mkdir()
    posts = [
        rows.submission(id=f"p{n}", author=f"u{n % 2}", created_utc=1_600_000_000 + n * 86_400, subreddit="a") for n in range(4)
    ]
    posts.append(rows.submission(id="other", author="u9", created_utc=1_500_000_000, subreddit="b"))
    write_lines(made / "RS_1.ndjson", [*posts, b"{broken"])
    return made


def test_rows_users_and_days_of_a_slice_are_those_of_its_files(folder: Path, tmp_path: Path) -> None:
    [found] = look(profile_of(folder, {"s": {"files": ["RS_*.ndjson"]}}), tmp_path).slices
    assert (found.files, found.bytes, found.layouts) == (1, (folder / "RS_1.ndjson").stat().st_size, ["pushshift-ndjson"])
    assert (found.rows, found.unreadable, found.chosen, found.users) == (6, 1, 5, 3)
    assert (found.first, found.last) == (datetime(2017, 7, 14, 2, 40), datetime(2020, 9, 16, 12, 26, 40))
    assert "1 row: not JSON" in found.notes[0] and "line 6 of RS_1.ndjson" in found.notes[0]
    assert found.problems == ["1 of 6 rows cannot be read, more than the profile's 10%"]


def test_a_slice_of_some_subreddits_counts_its_own(folder: Path, tmp_path: Path) -> None:
    [found] = look(profile_of(folder, {"s": {"files": ["RS_*"], "subreddits": ["A"]}}), tmp_path).slices
    assert (found.rows, found.chosen, found.users, found.first) == (6, 4, 2, datetime(2020, 9, 13, 12, 26, 40))


def test_what_cannot_be_read_or_is_not_there_is_a_problem_and_stops_nothing_else(folder: Path, tmp_path: Path) -> None:
    (folder / "empty.ndjson").write_bytes(b"")
    (folder / "cut.ndjson.gz").write_bytes(b"\x1f\x8b\x08\x00")
    write_lines(folder / "reviews.jsonl", [rows.review_2023()])
    slices = {name: {"files": [f"{name}*"]} for name in ("empty", "cut", "reviews", "missing", "RS_1")}
    facts = look(profile_of(folder, slices), tmp_path, quick=True)
    problems = {s.slice: s.problems for s in facts.slices}
    assert {name for name, found in problems.items() if len(found) == 1} == {"empty", "cut", "reviews", "missing"}
    assert "no file" in problems["missing"][0] and "reviews.jsonl cannot be read" in problems["reviews"][0]
    assert problems["RS_1"] == [] and all(s.rows is None for s in facts.slices) and facts.wrong
    assert [s.rows for s in look(profile_of(folder, slices), tmp_path).slices] == [0, 0, 0, 0, 6]


def test_a_missing_folder_is_told_once_for_each_slice(tmp_path: Path) -> None:
    [found] = look(profile_of(tmp_path / "nowhere", {"s": {"files": ["*"]}}), tmp_path).slices
    assert "nowhere does not exist" in found.problems[0] and len(found.problems) == 1
    unset = profile_of(Path("${HUMANLLM_UNSET_FOLDER}"), {"s": {"files": ["*"]}})
    facts = look(unset, tmp_path)
    assert facts.slices == [] and "HUMANLLM_UNSET_FOLDER" in facts.problems[0] and len(facts.problems) == 1


def test_files_of_no_slice_are_named_and_those_of_another_source_in_the_same_folder_are_not(folder: Path, tmp_path: Path) -> None:
    write_lines(folder / "RC_1.ndjson", [rows.comment()])
    (folder / "deep").mkdir()
    (folder / "deep/notes.txt").write_text("x")
    comments = {"s": {"files": ["RC_1.ndjson"], "context_files": ["RS_1.ndjson"]}}
    facts = look(profile_of(folder, {"s": {"files": ["RS_*"]}}, reddit_comments=comments), tmp_path, "reddit")
    assert facts.unused == {str(folder): ["deep/notes.txt"]} and [s.source for s in facts.slices] == ["reddit"]


def test_a_file_in_two_slices_is_noted_unless_they_share_it_out_by_subreddit(folder: Path, tmp_path: Path) -> None:
    both = {name: {"files": ["RS_1.ndjson"]} for name in "ab"}
    a, b = look(profile_of(folder, both), tmp_path, quick=True).slices
    assert (a.notes, len(b.notes)) == ([], 1) and "also in the slice a" in b.notes[0]
    split = {name: {"files": ["RS_1.ndjson"], "subreddits": [name]} for name in "ab"}
    assert [s.notes for s in look(profile_of(folder, split), tmp_path, quick=True).slices] == [[], []]


def test_an_unknown_source_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownSource, match="no source `redit`; it has reddit"):
        look(profile_of(folder, {"s": {"files": ["RS_*"]}}), tmp_path, "redit")


def test_the_command_shows_a_table_or_json_and_ends_with_1_for_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLLM_HOME", str(tmp_path))
    shown = CliRunner().invoke(app, ["sources", "reddit", "--profile", "local"])
    assert shown.exit_code == 0 and "smalltownlife" in shown.output and "no problems" in shown.output
    found = json.loads(CliRunner().invoke(app, ["sources", "blogger", "--json", "--quick"]).output)
    assert [s["slice"] for s in found["slices"]] == ["blogs-csv", "blogs-xml"] and found["problems"] == []
    monkeypatch.delenv("HUMANLLM_DATA", raising=False)
    failed = CliRunner().invoke(app, ["sources", "--quick", "--profile", "paper"])
    assert failed.exit_code == 1 and "HUMANLLM_DATA" in failed.output
