"""Refreshing: within the budget, through the daemon, from the UI's job, and when a file changes."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from humanllm_assets.orchestration.build import build_definitions
from humanllm_assets.orchestration.instance import open_instance
from humanllm_assets.planning.handover import hand_over
from humanllm_assets.planning.refresh_plan import BudgetError, Limits, check_budget
from humanllm_assets.planning.view import WIDTH, as_json, as_text
from humanllm_assets_tests.in_process import InProcess, everything_in
from resources.home import Home
from resources.llm.budget import Budget
from resources.profile import PROJECT_ROOT

SLICES = ("filtered_reddit[askdaily]", "filtered_reddit[smalltownlife]")


# ---- budget ----------------------------------------------------------------------------------------------------------


def test_a_budget_is_exact_over_threads(tmp_path):
    budget = Budget.create(tmp_path, 20, None)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: Budget(tmp_path, budget.id).reserve(0.0), range(50)))
    assert sum(taken) == 20 and budget.spent().calls_left == 0


def test_money_is_reserved_at_its_most_and_settled_at_its_real_cost(tmp_path):
    budget = Budget.create(tmp_path, None, 1.0)
    assert budget.reserve(0.7) and not budget.reserve(0.7)
    budget.settle(0.7, 0.1, answered=True)
    assert budget.reserve(0.7) and budget.spent().calls == 2
    budget.settle(0.7, 0.0, answered=False)
    assert budget.spent().calls == 1 and budget.spent().cost == pytest.approx(0.1)


def test_a_budget_stops_before_the_next_call_and_the_same_command_goes_on(project, dummy):
    InProcess(project).refresh("eligible_reddit")
    dummy.latency_s = 0.2  # so that calls are under way when the limit comes
    asked = 0
    for limit, held in ((18, "in the middle of it"), (5, "needs 6 calls"), (30, None), (100, None)):
        work = InProcess(project)
        budget = Budget.create(project.home.root, limit, None)
        summary = work.refresh(*SLICES, budget=budget)
        spent, asked = dummy.requests - asked, dummy.requests
        assert spent == budget.spent().calls <= limit
        assert not summary.failed
        assert any(held in why for why in summary.held.values()) if held else not summary.held, summary
    assert asked == 48, "every question was asked once"
    assert InProcess(project).plan(*SLICES).items == ()


def test_a_budget_of_money_is_not_passed(project, dummy):
    project.edit(engine={"price_per_million_input": 100.0, "price_per_million_output": 100.0, "concurrency": 4})
    budget = Budget.create(project.home.root, None, 0.2)
    summary = InProcess(project).refresh(*SLICES, budget=budget)
    spent = budget.spent()
    assert summary.held and 0 < spent.cost <= 0.2
    assert spent.calls == dummy.requests


def test_a_budget_that_cannot_hold_what_can_run_now_is_refused_before_anything_is_asked(project, dummy):
    work = InProcess(project)
    work.refresh("eligible_reddit")
    plan = work.plan(*SLICES)
    with pytest.raises(
        BudgetError, match=r"needs 24 calls, the budget is 15.*--max-calls 24.*'filtered_reddit\[askdaily\]' needs 12"
    ):
        check_budget(plan, Limits(max_calls=15))
    with pytest.raises(BudgetError, match="has none: set engine.price_per_million_input"):
        check_budget(plan, Limits(max_cost=1))
    check_budget(plan, Limits(max_calls=24))
    assert dummy.requests == 0


def test_the_command_keeps_its_budget_and_says_how_to_go_on(project, dummy):
    InProcess(project).refresh("eligible_reddit[askdaily]")
    stopped = project.run("refresh", "filtered_reddit", "--partition", "askdaily", "--max-calls", "15")
    assert stopped.returncode == 3, stopped.stdout
    assert dummy.requests == 15 and "spent: 15 of 15 calls" in stopped.stdout
    assert "to go on: humanllm refresh 'filtered_reddit[askdaily]' --max-calls 15" in stopped.stdout
    assert InProcess(project).refresh(SLICES[0]).computed == [SLICES[0]] and dummy.requests == 24


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_plan_fits_the_terminal_and_is_whole_as_data(project, dummy):
    work = InProcess(project)
    work.refresh("user_profiles[reddit]")
    thresholds = project.profile.model_dump(mode="json")["thresholds"]
    thresholds["labels"]["keep_quality"] = ["high"]
    project.edit(thresholds=thresholds)
    plan = InProcess(project).plan("qc_scores[reddit]", "benchmark_report")
    lines = as_text(plan).splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    assert lines[-1] == "next: humanllm refresh 'qc_scores[reddit]' benchmark_report"

    data = json.loads(json.dumps(as_json(plan)))
    assert set(data) == {"profile", "targets", "looked_at", "stale", "no_longer_in_profile", "totals", "next"}
    entry = next(e for e in data["stale"] if e["asset"] == "filtered_reddit" and e["partition"] == "askdaily")
    assert entry["layer"] == 1 and entry["reasons"][0] == "threshold labels.keep_quality ['high', 'medium'] -> ['high']"
    assert entry["changes"][0] == {
        "phrase": entry["reasons"][0], "field": "labels.keep_quality", "old": ["high", "medium"], "new": ["high"], "rows": None,
    }  # fmt: skip
    assert entry["forecast"]["exact"] and entry["forecast"]["calls"] == 0 and entry["forecast"]["journal_hits"] == 24
    follower = next(e for e in data["stale"] if e["asset"] == "user_profiles")
    assert {"asset": "filtered_reddit", "partition": "askdaily"} in follower["follows"] and follower["layer"] == 2
    certain = [e["forecast"]["certain"] for e in data["stale"] if e["forecast"]]
    assert data["totals"]["certain"] == sum(certain)


# ---- Dagster ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(project, monkeypatch):
    monkeypatch.setenv("HUMANLLM_HOME", str(project.root))
    monkeypatch.setenv("HUMANLLM_PROFILE", str(project.profile_file))
    project.home.prepare(project.profile)


def test_the_daemon_gets_exactly_the_plan(project, environment):
    work = InProcess(project)
    work.refresh("eligible_amazon[Home_and_Kitchen]")
    plan = work.plan("filtered_amazon", "benchmark_scores[item_selection|smollm2]")
    assert ("amazon_core", "") not in plan.stale and ("eligible_amazon", "Home_and_Kitchen") not in plan.stale
    backfill_id = hand_over(plan, work.graph, work.home, Limits(max_calls=7))
    asset_graph = build_definitions(project.profile, project.home).resolve_asset_graph()
    with open_instance(project.home) as instance:
        [backfill] = instance.get_backfills()
        assert backfill.backfill_id == backfill_id
        subset = backfill.get_asset_backfill_data(asset_graph).target_subset
        launched = {(k.asset_key.to_user_string(), str(k.partition_key or "")) for k in subset.iterate_asset_partitions()}
        assert launched == set(plan.stale)
        assert Budget(project.home.root, backfill.tags["humanllm/budget"]).spent().max_calls == 7


def test_the_job_shows_the_plan_and_a_dry_run_launches_nothing(project, environment, dummy):
    InProcess(project).refresh("eligible_reddit[askdaily]")
    job = build_definitions(project.profile, project.home).resolve_job_def("refresh")
    before = everything_in(project.home.root)

    def run(**config):
        with dg.DagsterInstance.ephemeral() as instance:
            configured = {"ops": {"submit_refresh": {"config": {"targets": [SLICES[0]], "dry_run": True, **config}}}}
            result = job.execute_in_process(run_config=configured, instance=instance, raise_on_error=False)
            assert instance.get_backfills() == []
            return result

    result = run(max_calls=12)
    assert result.success
    [output] = [e for e in result.all_node_events if e.is_successful_output]
    metadata = output.step_output_data.metadata
    assert "| filtered_reddit[askdaily] | never materialized | ~24 |" in metadata["plan"].value
    assert metadata["partitions"].value == 1 and metadata["llm_calls"].value == 24
    assert not run(max_calls=11).success
    assert not run(targets=["filtered_redit"]).success
    assert everything_in(project.home.root) == before and dummy.requests == 0


def test_a_changed_source_file_requests_a_refresh_once(project, tmp_path):
    shutil.copytree(PROJECT_ROOT / "resources" / "sample" / "reddit", tmp_path / "reddit")
    sources = project.profile.model_dump(mode="json")["sources"]
    sources["reddit"]["folder"] = str(tmp_path / "reddit")
    project.edit(sources=sources)
    sensor = build_definitions(project.profile, Home(tmp_path / "other")).resolve_sensor_def("source_files_changed")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED and sensor.job_name == "refresh"
    cursor = None

    def tick():
        nonlocal cursor
        with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance, cursor=cursor) as context:
            result = sensor.evaluate_tick(context)
            cursor = result.cursor
            return len(result.run_requests or [])

    assert [tick(), tick()] == [0, 0], "what is there when it is switched on is no change"
    file = tmp_path / "reddit" / "askdaily_submissions.ndjson"
    text = file.read_text()
    file.write_text(text + "\n")
    assert [tick(), tick()] == [1, 0]
    file.write_text(text)
    assert [tick(), tick()] == [1, 0], "going back is a change too"
    file.unlink()
    assert [tick(), tick()] == [1, 0]
