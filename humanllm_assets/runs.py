"""Materializing from the command line: the same assets, instance and checks as in the UI, one run per stale partition.

`drive` decides what runs when; `materialize` runs it in worker processes through Dagster.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from humanllm_assets.lineage.nodes import Graph, display
from humanllm_assets.lineage.plan import Item, own_reasons
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.warehouse import refresh_warehouse
from resources.home import Home, storage_problem
from resources.profile import Profile

PID_TAG = "humanllm/pid"
FORCE_TAG = "humanllm/force"  # a run with this tag computes even what is up to date


@dataclass
class Summary:
    """What a materialization did, by partition."""

    fresh: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)  # stale, but not allowed to start
    skipped: list[str] = field(default_factory=list)


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


def drive(
    graph: Graph,
    store: SnapshotStore,
    targets: Sequence[Item],
    submit: Callable[[Item, bool], Future[str | None]],
    *,
    concurrency: int,
    echo: Callable[[str], None],
    force: bool = False,
    only: bool = False,
    allow: Callable[[Item], str | None] | None = None,
) -> Summary:
    """Bring the targets and everything above them up to date, parents first.

    A failed partition stops what depends on it, nothing else. Before each partition its identity is compared with the published
    one, so a parent that turned out equal stops the wave there.

    Args:
        submit: runs one partition, given whether to compute it even when it is up to date; the future holds the failure's
            sentence, or None.
        force: compute the targets even when they are up to date.
        only: leave what is above the targets as it is published.
        allow: looks at a stale partition right before it starts, and returns why it must not, or None. Partitions that ask a
            model then run one after another, so that each is looked at after the one before was paid for.
    """
    wanted = graph.upstream_closure(targets)
    if only:
        wanted = [item for item in wanted if item in set(targets)]
    wanted_set, forced = set(wanted), set(targets) if force else set()
    summary = Summary()
    todo, finished, blocked = list(wanted), set[Item](), set[Item]()
    running: dict[Future[str | None], Item] = {}
    started = 0

    def ready(item: Item) -> bool:
        return all(p in finished or p not in wanted_set for p in graph[item[0]].parents(item[1]))

    def fits(item: Item) -> bool:
        node, beside = graph[item[0]], [graph[r[0]] for r in running.values()]
        if allow and node.uses_llm and any(n.uses_llm for n in beside):
            return False
        return not beside if node.alone else not any(n.alone for n in beside)

    while todo or running:
        for item in list(todo):
            if any(p in blocked for p in graph[item[0]].parents(item[1])):
                todo.remove(item)
                blocked.add(item)
                summary.skipped.append(display(*item))
            elif len(running) < concurrency and ready(item) and fits(item):
                todo.remove(item)
                if item not in forced and not own_reasons(graph, store, *item):
                    finished.add(item)
                    summary.fresh.append(display(*item))
                    continue
                if allow and (refusal := allow(item)):
                    blocked.add(item)
                    summary.held[display(*item)] = refusal
                    echo(f"HELD {display(*item)}: {refusal}")
                    continue
                started += 1
                rest = len(wanted) - len(finished) - len(blocked) - len(running) - 1
                echo(f"[{started} started, {rest} left] {display(*item)}")
                running[submit(item, item in forced)] = item
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            failure = future.result()
            if failure is None:
                finished.add(item)
                summary.computed.append(display(*item))
            else:
                blocked.add(item)
                summary.failed[display(*item)] = failure
                echo(f"FAILED {failure}")
    return summary


def materialize(
    profile: Profile,
    graph: Graph,
    home: Home,
    targets: Sequence[Item],
    *,
    echo: Callable[[str], None],
    force: bool = False,
    only: bool = False,
    allow_stale: bool = False,
    allow: Callable[[Item], str | None] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Summary:
    """`drive` in worker processes: up to `execution.max_concurrent` partitions at once, each as a Dagster run with `tags`.

    Most of their time they wait for a model. (Not in threads: Dagster configures logging per run, which deadlocks with another
    run's handlers.) `allow_stale` opens the gates of gated nodes.
    """
    concurrency = profile.execution.max_concurrent
    with open_instance(home), _workers(profile, home, concurrency) as pool:

        def submit(item: Item, forced: bool) -> Future[str | None]:
            config = {"allow_stale": allow_stale} if graph[item[0]].gated else {}
            return pool.submit(_execute, *item, config, {**(tags or {}), **({FORCE_TAG: "true"} if forced else {})}, home.root)

        store = SnapshotStore(home.root)
        summary = drive(graph, store, targets, submit, concurrency=concurrency, echo=echo, force=force, only=only, allow=allow)
    refresh_warehouse(graph, store, home.warehouse)  # steps do it too, but the last of two at once may have seen less
    return summary


# ---- worker processes ------------------------------------------------------------------------------------------------

_JOB: dict[str, dg.JobDefinition] = {}  # of this worker process, set once by _start_worker


def _workers(profile: Profile, home: Home, number: int) -> ProcessPoolExecutor:
    """Worker processes, started with the first partition: forked from a server process that has imported the libraries once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["humanllm_assets.build", "great_expectations"])
    return ProcessPoolExecutor(number, mp_context=context, initializer=_start_worker, initargs=(profile, home, os.getpid()))


def _start_worker(profile: Profile, home: Home, command: int) -> None:
    from humanllm_assets.build import build_definitions

    threading.Thread(target=_end_with, args=(os.pidfd_open(command),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C means
    _JOB["all"] = build_definitions(profile, home).resolve_implicit_global_asset_job_def()


def _end_with(command: int) -> None:
    """Wait for the command's end: a killed command must not leave a worker behind that goes on asking."""
    ended = select.poll()
    ended.register(command, select.POLLIN)
    ended.poll()
    os._exit(1)


def _execute(asset: str, partition: str, config: Mapping[str, Any], tags: Mapping[str, str], root: Path) -> str | None:
    """Run one partition in this worker; returns the failure's sentence, or None."""
    try:
        return _run(asset, partition, config, tags)
    except Exception as e:  # Dagster's own event log may be what cannot be written
        if problem := storage_problem(e, root):
            return f"{display(asset, partition)}: {problem}"
        raise


def _run(asset: str, partition: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    with dg.DagsterInstance.get() as instance:
        result = _JOB["all"].execute_in_process(
            instance=instance,
            partition_key=partition or None,
            asset_selection=[dg.AssetKey(asset)],
            tags={PID_TAG: str(os.getpid()), **tags},
            run_config={"loggers": {"console": {"config": {}}}, "ops": {asset: {"config": dict(config)}} if config else {}},
            raise_on_error=False,
        )
        return None if result.success else _failure(result)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            failure = data.user_failure_data
            if failure and failure.description:
                return failure.description
            error = data.error
            if error:
                root = error
                while root.cause:
                    root = root.cause
                return root.message.strip().splitlines()[-1]
    return "the run failed; see it in the UI (make ui)"
