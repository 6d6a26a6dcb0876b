"""Materializing from the command line: the same assets, instance and checks as in the UI, one run per stale partition.

`drive` decides what runs when; `materialize` runs it in worker processes through Dagster.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.warehouse import refresh_warehouse
from humanllm_assets.orchestration.build import build_definitions
from humanllm_assets.orchestration.instance import FORCE_TAG, PID_TAG, open_instance
from humanllm_assets.planning.drive import Summary, drive
from humanllm_assets.planning.targets import parse_targets
from resources.home import Home, storage_problem
from resources.profile import Profile


def bring_up_to_date(
    profile: Profile,
    home: Home,
    names: Sequence[str],
    *,
    echo: Callable[[str], None],
    warn: Callable[[str], None],
    force: bool = False,
    only: bool = False,
    allow_stale: bool = False,
) -> int:
    """`humanllm materialize`: run what is stale among the named targets and report it; returns the exit code.

    Raises:
        TargetError: a name means nothing in this graph.
    """
    started = time.time()
    graph = build_graph(profile, home.prepare(profile))
    targets = parse_targets(graph, names)
    summary = materialize(profile, graph, home, targets, echo=echo, force=force, only=only, allow_stale=allow_stale)
    echo(
        f"{len(summary.computed)} computed, {len(summary.fresh)} already up to date, {len(summary.failed)} failed, "
        f"{len(summary.skipped)} skipped behind a failure; {time.time() - started:.0f} s"
    )
    for label, message in summary.failed.items():
        warn(f"  {message}" if label in message else f"  {label}: {message}")
    return 1 if summary.failed else 0


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
            config = {"allow_stale": allow_stale} if graph[item.asset].gated else {}
            return pool.submit(_execute, item, config, {**(tags or {}), **({FORCE_TAG: "true"} if forced else {})}, home.root)

        store = SnapshotStore(home.root)
        summary = drive(graph, store, targets, submit, concurrency=concurrency, echo=echo, force=force, only=only, allow=allow)
    refresh_warehouse(graph, store, home.warehouse)  # steps do it too, but the last of two at once may have seen less
    return summary


# ---- worker processes ------------------------------------------------------------------------------------------------

# The job of all assets in this worker process. `_start_worker` sets it once, because building it takes seconds and it cannot be
# pickled: what the pool submits can only find it in its module.
_job: dg.JobDefinition | None = None


def _workers(profile: Profile, home: Home, number: int) -> ProcessPoolExecutor:
    """Worker processes, started with the first partition: forked from a server process that has imported the libraries once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["humanllm_assets.orchestration.build", "great_expectations"])
    return ProcessPoolExecutor(number, mp_context=context, initializer=_start_worker, initargs=(profile, home, os.getpid()))


def _start_worker(profile: Profile, home: Home, command: int) -> None:
    global _job
    threading.Thread(target=_end_with, args=(os.pidfd_open(command),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C means
    _job = build_definitions(profile, home).resolve_implicit_global_asset_job_def()


def _end_with(command: int) -> None:
    """Wait for the command's end: a killed command must not leave a worker behind that goes on asking."""
    ended = select.poll()
    ended.register(command, select.POLLIN)
    ended.poll()
    os._exit(1)


def _execute(item: Item, config: Mapping[str, Any], tags: Mapping[str, str], root: Path) -> str | None:
    """Run one partition in this worker; returns the failure's sentence, or None."""
    try:
        return _run(item, config, tags)
    except Exception as e:  # Dagster's own event log may be what cannot be written
        if problem := storage_problem(e, root):
            return f"{item}: {problem}"
        raise


def _run(item: Item, config: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    if _job is None:
        raise RuntimeError("a partition runs in a worker process that _start_worker has prepared")
    with dg.DagsterInstance.get() as instance:
        result = _job.execute_in_process(
            instance=instance,
            partition_key=item.partition or None,
            asset_selection=[dg.AssetKey(item.asset)],
            tags={PID_TAG: str(os.getpid()), **tags},
            run_config={"loggers": {"console": {"config": {}}}, "ops": {item.asset: {"config": dict(config)}} if config else {}},
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
