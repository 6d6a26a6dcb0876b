"""The home's Dagster instance: opening it, what killed processes left in it, what a run prints.

Concept: https://docs.dagster.io/deployment/oss/dagster-instance"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from humanllm_assets.lineage.snapshots import remove_unfinished
from humanllm_assets.orchestration.runs import free_dead_runs
from resources.home import Home
from resources.llm.local_servers import free_dead_leases
from resources.processes import remove_shared_things

FORCE_TAG = "humanllm/force"  # a run with this tag computes even what is up to date


@contextmanager
def open_instance(home: Home, echo: Callable[[str], None] = lambda line: None) -> Iterator[dg.DagsterInstance]:
    """The home's Dagster instance. What processes that are gone still hold is freed first; `echo` is told."""
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    with dg.DagsterInstance.get() as instance:
        for line in free_left_behind(instance, home):
            echo(line)
        yield instance


def free_left_behind(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Free what processes that are gone still hold, so that a crash blocks nothing; returns a sentence for each.

    Locks and claims are not among it: the kernel frees those (resources/locks.py).
    """
    runs, servers = free_dead_runs(instance), free_dead_leases(home.root)
    return [*runs, *servers, *remove_unfinished(home.root), *remove_shared_things()]


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
