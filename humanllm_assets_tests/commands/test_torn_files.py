"""A torn pointer or manifest is a sentence in every command, and nothing is removed because of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from humanllm_assets import cli
from humanllm_assets_tests.conftest import Project, small_profile
from humanllm_assets_tests.in_process import InProcess

POINTER = "published/eligible_reddit/askdaily.json"
TORN = {"cut": None, "empty": b"", "wrong json": b"{]", "a list": b"[1]", "a number": b"3", "other types": b'{"data_version": 3}',
        "other fields": b'{"version": "x"}', "no text": b"\xff\xfe\x00", "reformatted types": b'{"data_version": null, "manifest": 1}'}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """Reddit's eligible slices, which ask no model, in two versions of one of them."""
    import yaml

    root = tmp_path_factory.mktemp("made")
    profile = root / "small.yaml"
    profile.write_text(yaml.safe_dump(small_profile("http://127.0.0.1:1/v1"), sort_keys=False))
    project = Project(root / "home", profile)
    InProcess(project).refresh("eligible_reddit")
    thresholds = project.profile.thresholds.model_dump(mode="json")
    thresholds["rules"]["reddit"]["min_chars"] = 60
    project.edit(thresholds=thresholds)
    InProcess(project).refresh("eligible_reddit[askdaily]")
    return project


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Project:
    shutil.copytree(made.root, tmp_path / "home")
    copy = Project(tmp_path / "home", made.profile_file)
    for name, value in {**copy.environment(), "DAGSTER_HOME": str(copy.home.dagster)}.items():
        monkeypatch.setenv(name, value)
    return copy


def humanllm(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def tear(path: Path, content: bytes | None) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)


def snapshots(project: Project) -> set[str]:
    return {str(p.relative_to(project.home.root)) for p in project.home.root.glob("snapshots/*/*/*")}


@pytest.mark.parametrize("content", TORN.values(), ids=TORN)
def test_status_and_gc_say_which_pointer_is_damaged_and_nothing_of_it_goes(project, content):
    tear(project.home.root / POINTER, content)
    said = humanllm("status")
    assert f"{POINTER} is damaged" in said and "materialize" in said
    assert "eligible_reddit 1 of 2 published, 2 stale" in said
    before = snapshots(project)
    said = humanllm("gc", "--yes", "--grace-minutes", "0")
    assert f"{POINTER} is damaged" in said and "every snapshot of eligible_reddit[askdaily] is kept" in said
    assert snapshots(project) == before


def test_gc_removes_the_superseded_version_where_the_pointer_is_whole(project):
    before = snapshots(project)
    assert "is kept" not in humanllm("gc", "--yes", "--grace-minutes", "0")
    assert len(before - snapshots(project)) == 1


@pytest.mark.parametrize("content", [None, b"", b"[1]"], ids=["cut", "empty", "a list"])
def test_forget_and_purge_stop_with_a_sentence_that_names_the_pointer(project, content):
    raw = "published/raw_reddit/askdaily.json"
    tear(project.home.root / raw, content)
    user = "reddit/nobody"
    assert f"{raw} is damaged" in humanllm("forget", user, "--yes")
    before = snapshots(project)
    said = humanllm("forget", user, "--purge", "--yes", code=1)
    assert f"{raw} is damaged" in said and "humanllm materialize 'raw_reddit[askdaily]'" in said
    assert snapshots(project) == before
    tear(project.home.root / POINTER, content)
    assert f"{POINTER} is damaged" in humanllm("forget", user, "--yes", code=1), "whose slots stay empty is not known"


@pytest.mark.parametrize("content", [None, b"", b"[1]"], ids=["cut", "empty", "a list"])
def test_a_torn_manifest_is_a_sentence_and_what_it_was_made_from_stays(project, content):
    snapshot = project.store.published("eligible_reddit", "askdaily")
    assert snapshot is not None
    manifest = snapshot.folder / snapshot.manifest_file
    name = str(manifest.relative_to(project.home.root))
    tear(manifest, content)
    assert f"{name} is damaged" in humanllm("status")
    before = snapshots(project)
    said = humanllm("gc", "--yes", "--grace-minutes", "0")
    assert f"{name} is damaged" in said and "no snapshot is removed" in said
    assert snapshots(project) == before
    assert f"{name} is damaged" in humanllm("forget", "reddit/nobody", "--yes", code=1)
    assert "is damaged" in humanllm("forget", "reddit/nobody", "--purge", "--yes", code=1)
    InProcess(project).refresh("eligible_reddit[askdaily]")
    assert project.store.published("eligible_reddit", "askdaily").data_version == snapshot.data_version
    assert "is damaged" not in humanllm("gc", "--grace-minutes", "0"), "made again, it is whole"
