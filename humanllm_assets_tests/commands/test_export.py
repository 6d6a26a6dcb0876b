"""`humanllm export`: which samples go, when they may not, and the folder that comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from humanllm_assets.commands import export as command
from humanllm_assets.commands.export import LICENCES, export
from humanllm_assets.lineage.items import NO_PARTITION
from humanllm_assets.lineage.tombstones import Tombstone, edit_tombstones, user_hash
from humanllm_assets.training.exports import ExportError
from humanllm_assets_tests.conftest import Project, small_profile
from humanllm_assets_tests.in_process import InProcess
from resources.llm.dummy_server import DummyServer
from resources.sources import SOURCES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A project whose samples are published and checked."""
    root = tmp_path_factory.mktemp("made")
    with DummyServer() as server:
        content = small_profile(server.base_url)
        content["recipes"] = {
            "main": {"base_model": "smollm2", "tasks": ["writing_imitation"], "sources": ["reddit", "twitter"]},
            "few": {"base_model": "smollm2", "tasks": ["writing_imitation"], "samples": 4, "held_out": 0},
            "raw": {"base_model": "smollm2", "objective": "raw_continuation"},
        }
        content["launch"] = {"smollm2": {"cpu": True}}
        (root / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        project = Project(root / "home", root / "small.yaml")
        summary = InProcess(project).refresh("contamination")
        assert not summary.failed and not summary.skipped
        yield project


def run(made: Project, dataset: str, form: str, out: Path, **given: Any) -> list[str]:
    said: list[str] = []
    arguments = {"max_tokens": None, "tokenizer": None} | given
    export(made.profile, made.home, dataset, form, out, **arguments, echo=said.append)
    return said


def published(made: Project, *pairs: str) -> int:
    found = [made.store.published("task_datasets", pair) for pair in pairs]
    return sum(s.manifest.tables["samples"].rows for s in found if s)


def test_a_pair_comes_out_whole_with_its_card_and_lineage(made: Project, tmp_path: Path):
    out = tmp_path / "deep" / "folder"
    (said,) = run(made, "writing_imitation-reddit", "llamafactory", out)
    wanted = published(made, "writing_imitation-reddit")
    assert wanted >= 5 and f"{wanted} of {wanted} samples" in said
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "dataset_info.json",
        "lineage.json",
        "test.jsonl",
        "train.jsonl",
    ]
    rows = duckdb.sql(f"select count(*), count(distinct id) from read_json('{out}/*.jsonl', filename = true)").fetchall()
    assert rows == [(wanted, wanted)]
    assert [p.name for p in out.parent.iterdir()] == ["folder"]  # nothing half-written beside it


def test_the_card_names_data_models_licences_checks_and_limits(made: Project, tmp_path: Path):
    run(made, "task_datasets[social_qa-reddit]", "trl", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "other" and head["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.jsonl"},
        {"split": "test", "path": "test.jsonl"},
    ]
    snapshot = made.store.published("task_datasets", "social_qa-reddit")
    assert snapshot and f"| task_datasets[social_qa-reddit] | {snapshot.data_version} |" in card
    assert "| filtered_reddit | dummy 1 |" in card and "| social_qa | dummy 1 |" in card
    assert LICENCES["reddit"] in card and "twitter" not in card.split("## Licences")[1].split("## ")[0]
    assert "leaks into held-out texts: " in card and "of test social_qa" in card and "judge" in card
    assert all(note in card for note in made.profile.notes)
    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert {"raw_reddit", "filtered_reddit", "user_profiles", "qc_scores", "task_datasets"} <= {n["asset"] for n in lineage}


def test_a_recipe_means_its_pairs_and_all_means_all(made: Project, tmp_path: Path):
    (said,) = run(made, "main", "messages", tmp_path / "main")
    assert f"{published(made, 'writing_imitation-reddit', 'writing_imitation-twitter')} samples" in said
    (said,) = run(made, "task_datasets", "sharegpt", tmp_path / "all")
    pairs = InProcess(made).graph["task_datasets"].partitions
    assert f"{published(made, *pairs)} samples" in said


def test_a_recipe_that_draws_samples_exports_those_that_it_trains(made: Project, tmp_path: Path):
    (said,) = run(made, "few", "messages", tmp_path / "few")
    files = f"read_json('{tmp_path / 'few'}/*.jsonl', filename = true)"
    trained = duckdb.sql(f"select source from {files} where filename like '%train%' order by all").fetchall()
    assert len(trained) == 4 and len({source for (source,) in trained}) > 1
    assert "left out as not_drawn" in said and (tmp_path / "few" / "test.jsonl").is_file()


@pytest.mark.parametrize(
    ("dataset", "form", "given", "message"),
    [
        ("mian", "trl", {}, "there is no data set `mian`; did you mean `main`?"),
        ("raw", "trl", {}, "the recipe `raw` is trained on records, not on samples; export task_datasets"),
        ("main", "alpaca", {}, "there is no form `alpaca`; --to takes one of: llamafactory, trl, axolotl, messages, sharegpt"),
        ("main", "trl", {"max_tokens": 9}, "--max-tokens and --tokenizer belong together"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    made: Project, tmp_path: Path, dataset: str, form: str, given: dict[str, Any], message: str
):
    with pytest.raises(ExportError) as refused:
        run(made, dataset, form, tmp_path / "out", **given)
    assert message in str(refused.value) and not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_as_it_is(made: Project, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already and is left as it is; name another folder with --out"):
        run(made, "main", "trl", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_what_fails_in_the_middle_leaves_nothing(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "data_card", lambda card: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(made, "main", "trl", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_too_long_for_everything_is_refused(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "measure_with", lambda folder: lambda conversations: [100] * len(conversations))
    with pytest.raises(ExportError, match="is left to write; raise --max-tokens"):
        run(made, "main", "trl", tmp_path / "out", max_tokens=99, tokenizer=tmp_path)
    (said,) = run(made, "main", "trl", tmp_path / "out", max_tokens=100, tokenizer=tmp_path)
    assert "left out" not in said


def test_every_source_has_a_licence():
    assert set(LICENCES) == set(SOURCES)


def test_samples_of_someone_forgotten_since_are_refused_with_the_next_command(made: Project, tmp_path: Path):
    snapshot = made.store.published("task_datasets", "writing_imitation-reddit")
    assert snapshot and made.store.published("contamination", NO_PARTITION)
    user = duckdb.sql(f"select min(user_id) from '{snapshot.path('samples')}'").fetchall()[0][0]
    before = made.home.tombstones.read_bytes() if made.home.tombstones.exists() else None
    with edit_tombstones(made.home) as tombstones:
        tombstones.append(Tombstone(site="reddit", user_sha256=user_hash(user), reason="", forgotten_at="2026-01-01", slots={}))
    try:
        with pytest.raises(
            ExportError, match=r"not up to date or not checked: .*run: humanllm refresh task_datasets contamination"
        ):
            run(made, "main", "trl", tmp_path / "out")
    finally:
        made.home.tombstones.unlink() if before is None else made.home.tombstones.write_bytes(before)
