"""The home's Dagster instance: opening it, what runs in it, what a run prints.

Concept: https://docs.dagster.io/deployment/oss/dagster-instance"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.home import Home

PID_TAG = "humanllm/pid"
FORCE_TAG = "humanllm/force"  # a run with this tag computes even what is up to date


@contextmanager
def open_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The home's Dagster instance. Runs whose process was killed are marked as failed first."""
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])):
            pid = run.tags.get(PID_TAG)
            if pid and not os.path.exists(f"/proc/{pid}"):
                instance.report_run_failed(run, "its process was killed")
        yield instance


def running_since(home: Home) -> float | None:
    """When the oldest Dagster run in progress began (seconds since 1970), queued ones included; None when nothing runs."""
    states = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    with open_instance(home) as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=states))
    return min((r.create_timestamp.timestamp() for r in records), default=None)


class _Echo(logging.Handler):
    """Prints a step's own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        if meta.get("dagster_event") is None and record.levelno >= logging.INFO:
            print(f"    {meta.get('orig_message') or record.getMessage()}", flush=True)


@dg.logger
def step_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """Console output of runs: the steps' own messages, without Dagster's event chatter (the UI has it all)."""
    logger = logging.Logger("humanllm", logging.INFO)
    logger.addHandler(_Echo())
    return logger
