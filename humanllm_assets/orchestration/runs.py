"""Dagster's records of runs: which process each ends with, freeing what ended runs hold, who waits for whom.

A run record outlives a killed process, and so do the places in pools that the run holds: nothing in Dagster ties them to the process
when no daemon runs. What belongs here: runs. What does not: what else a process can leave behind (`instance.py`).

Concept: https://docs.dagster.io/guides/operate/managing-concurrency"""

from __future__ import annotations

import time

import dagster as dg

from humanllm_assets.lineage.items import NO_PARTITION, Item
from resources.processes import Holder, ran_at

HOLDER_TAG = "humanllm/holder"  # the process that a run of a command ends with
_BEGUN = [
    getattr(dg.DagsterRunStatus, s) for s in ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")
]  # queued ones hold nothing
_START_S = 180.0  # Dagster's own limit for a run to begin


def free_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the runs whose process is gone and free the places in pools that ended runs hold; returns a sentence for each."""
    freed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_BEGUN)):
        if not _lives(instance, record):
            instance.report_run_failed(record.dagster_run, "its process was killed")
            freed.append(f"{_name_run(record.dagster_run)} ended: its process was killed")
    storage = instance.event_log_storage
    for pool, places in storage.get_concurrency_infos(list(storage.get_concurrency_keys())).items():
        for run_id in {*places.active_run_ids, *places.pending_run_ids, *places.assigned_run_ids}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
                freed.append(f"a place in the pool `{pool}` was held by run {run_id[:8]}, which has ended")
    return freed


def _lives(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether the process of a run lives. A run that Dagster launched has it in its log, once there is one."""
    run = record.dagster_run
    if holder := Holder.parse(run.tags.get(HOLDER_TAG, "")):
        return holder.lives
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.get_dagster_event()
        if pid := event.engine_event_data.metadata.get("pid"):
            return ran_at(int(str(pid.value)), entry.timestamp)
    return time.time() - record.create_timestamp.timestamp() < _START_S


def describe_waiting(instance: dg.DagsterInstance) -> dict[str, str]:
    """By run: a sentence for each that waits for a place in a pool, with who holds the places."""
    storage = instance.event_log_storage
    waiting = {}
    for pool, places in storage.get_concurrency_infos(list(storage.get_concurrency_keys())).items():
        for run_id in places.pending_run_ids:
            runs = [instance.get_run_by_id(r) for r in (run_id, *sorted(places.active_run_ids))]
            me, *holders = [_name_run(run) for run in runs if run]
            waiting[run_id] = f"{me} waits for a place in the pool `{pool}`, held by: {'; '.join(holders)}"
    return waiting


def _name_run(run: dg.DagsterRun) -> str:
    partition = run.tags.get("dagster/partition", NO_PARTITION)
    items = [str(Item(key.to_user_string(), partition)) for key in sorted(run.asset_selection or ())]
    holder = Holder.parse(run.tags.get(HOLDER_TAG, ""))
    process = f"; process {holder.pid}" if holder else ""
    return f"run {run.run_id[:8]} ({', '.join(items) or run.job_name}{process})"
