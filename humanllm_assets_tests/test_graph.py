"""The whole graph but training, through the command that users type, against our own model server."""

from __future__ import annotations

import time

import duckdb
import pytest


def test_the_graph_runs_accounts_for_every_row_and_then_rests(project, dummy):
    first = project.run("materialize", "benchmark_report", "funnel_report")
    assert first.returncode == 0, first.stdout[-3000:]
    asked = dummy.requests
    assert asked > 100

    for pointer in (project.home.root / "published").rglob("*.json"):
        asset, partition = pointer.parent.name, pointer.stem if pointer.stem != "all" else ""
        manifest = project.store.published(asset, partition).manifest
        assert manifest.counts.unaccounted == 0, (asset, partition)
        assert manifest.passed

    with duckdb.connect(str(project.home.warehouse), read_only=True) as con:
        eligible = con.execute("select count(*) from eligible_reddit").fetchall()[0][0]
        asked_about = con.execute("select count(*) from filtered_reddit").fetchall()[0][0]
        orphans = con.execute(
            "select count(*) from (select unnest(record_ids) as id from task_datasets where source = 'reddit') "
            "where id not in (select record_id from filtered_reddit)"
        ).fetchall()[0][0]
        both = con.execute(
            "select count(*) from (select user_id from task_datasets group by 1 having count(distinct split) > 1)"
        ).fetchall()[0][0]
    assert eligible > asked_about > 0
    assert orphans == 0 and both == 0

    again = project.run("materialize", "benchmark_report", "funnel_report")
    assert again.returncode == 0 and "0 computed" in again.stdout, again.stdout[-2000:]
    assert dummy.requests == asked
    assert "everything is up to date" in project.run("plan", "benchmark_report", "funnel_report").stdout

    thresholds = project.profile.thresholds.model_dump()
    thresholds["qc"]["overall_above"] = 5
    project.edit(thresholds=thresholds)
    benchmarked = ("materialize", "benchmark_scores[item_selection|smollm2]", "--only", "--force")
    refused = project.run(*benchmarked)
    assert refused.returncode == 1
    assert "was not started, because of what it would read" in refused.stdout and "  qc_scores[amazon]: " in refused.stdout
    assert project.run(*benchmarked, "--allow-stale").returncode == 0
    allowed = project.store.published("benchmark_scores", "item_selection|smollm2").manifest.allow_stale
    assert any(line.startswith("qc_scores[amazon]: ") for line in allowed)


def test_a_threshold_change_asks_no_model(project, dummy):
    assert project.run("materialize", "qc_scores[reddit]").returncode == 0
    asked = dummy.requests
    judged = project.store.published("qc_scores", "reddit").manifest.measures["llm_asked"]
    assert judged > 15
    thresholds = project.profile.thresholds.model_dump()
    thresholds["qc"]["overall_above"] = 6
    project.edit(thresholds=thresholds)
    plan = project.run("plan", "qc_scores[reddit]").stdout
    assert "threshold qc.overall_above 2 -> 6" in plan
    assert f"models: 0 calls, {judged} answers from the journal" in plan
    assert project.run("materialize", "qc_scores[reddit]").returncode == 0
    assert dummy.requests == asked


@pytest.mark.long
def test_a_killed_run_asks_nothing_twice_and_ends_equal(project, dummy, tmp_path_factory):
    dummy.latency_s = 0.05
    project.edit(engine={"concurrency": 4})
    process = project.start("refresh", "user_profiles[reddit]", "social_qa[reddit]")
    deadline = time.time() + 120
    while dummy.requests < 40 and time.time() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert dummy.requests >= 40
    dummy.latency_s = 0.0
    resumed = project.run("refresh", "user_profiles[reddit]", "social_qa[reddit]")
    assert resumed.returncode == 0, resumed.stdout[-2000:]
    assert len(dummy.keys) == dummy.requests
    repeated = dummy.requests - len(set(dummy.keys))
    in_flight = project.profile.engine.concurrency * project.profile.execution.max_concurrent
    assert repeated <= in_flight, "only answers that were in flight may be asked again"

    other = type(project)(tmp_path_factory.mktemp("undisturbed"), project.profile_file)
    assert other.run("materialize", "user_profiles[reddit]", "social_qa[reddit]").returncode == 0
    assets = ("filtered_reddit", "user_profiles", "social_qa")
    for asset in assets:
        partition = "reddit" if asset != "filtered_reddit" else "askdaily"
        assert other.store.published(asset, partition).data_version == project.store.published(asset, partition).data_version


def test_mistakes_are_one_sentence_with_a_remedy(project):
    def message(*arguments: str) -> str:
        done = project.run(*arguments)
        assert done.returncode == 1
        return done.stdout.strip().splitlines()[-1]

    assert "did you mean `user_profiles`" in message("materialize", "user_profile")
    assert "has no partition `askmen`; it has: askdaily, smalltownlife" in message("materialize", "raw_reddit[askmen]")
    sources = project.profile.model_dump(mode="json")["sources"]
    sources["reddit"]["folder"] = "nowhere/reddit"
    project.edit(sources=sources)
    assert "nowhere/reddit does not exist; put the files there" in message("materialize", "raw_reddit[askdaily]")
    models = project.profile.model_dump(mode="json", exclude_none=True)["models"]
    project.edit(models={"smollm2": {**models["smollm2"], "path": "nowhere/model", "endpoints": []}})
    said = message("materialize", "filtered_twitter[shard-0]")
    assert said.strip().startswith("filtered_twitter[shard-0]: the model folder") and "does not exist; download" in said
    project.edit(colour="blue")
    assert "unknown key `colour`; remove it" in message("status")
