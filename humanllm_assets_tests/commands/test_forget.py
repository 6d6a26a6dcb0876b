"""Takedown and collection through the commands that users type, with Dagster's records and Great Expectations' pages."""

from __future__ import annotations

import json

import duckdb
from typer.testing import CliRunner

from humanllm_assets import cli
from humanllm_assets.orchestration.instance import open_instance
from humanllm_assets_tests.lineage.removal.test_takedown import files_with


def test_forget_rebuild_purge_and_collect(project, dummy, monkeypatch):
    for name, value in {**project.environment(), "DAGSTER_HOME": str(project.home.dagster)}.items():
        monkeypatch.setenv(name, value)

    def humanllm(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    thresholds = project.profile.thresholds.model_dump()
    thresholds["words"] |= {"persona_max": 2}  # no persona is short enough, so checks and pages name every user
    project.edit(thresholds=thresholds)
    assert project.run("materialize", "user_profiles[reddit]").returncode == 0
    asked = dummy.requests
    profiles = project.store.published("user_profiles", "reddit").path("items")
    user, other = duckdb.sql(f"select min(user_id), max(user_id) from read_parquet('{profiles}')").fetchall()[0]
    name = user.removeprefix("reddit/")

    shown = json.loads(humanllm("forget", user, "--json"))
    assert {h["asset"] for h in shown["holdings"]} >= {"eligible_reddit", "filtered_reddit", "user_profiles"}
    humanllm("forget", user, code=1)  # asked, nobody says yes
    assert "tombstone" not in shown and not project.home.tombstones.exists(), "without a yes nothing is changed"
    done = humanllm("forget", user, "--reason", "asked for it", "--yes")
    assert f"humanllm forget {user} --purge" in done and all(len(line) <= 80 for line in done.splitlines()), done
    assert "asked for it" in humanllm("forget", "--list") and name not in humanllm("forget", "--list")
    assert "rebuild first: humanllm refresh" in humanllm("forget", user, "--purge", "--yes", code=1)

    rebuilt = project.run("materialize", "user_profiles[reddit]")
    assert rebuilt.returncode == 0 and dummy.requests == asked, rebuilt.stdout
    found = {path.split("/")[0] for path in files_with(project.home.root, name)}
    assert found == {"snapshots", "journal", "data_docs", "dagster"}
    purged = humanllm("forget", user, "--purge", "--yes")
    assert "deleted 5 snapshots" in purged
    assert files_with(project.home.root, name) == []
    assert files_with(project.home.dagster, "[forgotten]") and files_with(project.home.dagster, other)
    with open_instance(project.home) as instance:
        assert all(len(instance.all_logs(run.run_id)) > 5 for run in instance.get_runs()), "Dagster reads its records as before"

    assert "humanllm gc --yes" in humanllm("gc", "--grace-minutes", "0")
    assert "freed" in humanllm("gc", "--grace-minutes", "0", "--yes")
    assert humanllm("gc", "--grace-minutes", "0").strip() == "nothing to remove"
    assert "everything is up to date" in humanllm("plan", "user_profiles[reddit]")
