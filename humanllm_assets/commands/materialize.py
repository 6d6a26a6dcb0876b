"""Materializing from the command line: the same assets, instance and checks as in the UI, one run per stale partition.

`drive` decides what runs when; `materialize` runs it in worker processes through Dagster.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.warehouse import refresh_warehouse
from humanllm_assets.orchestration.build import build_definitions
from humanllm_assets.orchestration.instance import FORCE_TAG, free_left_behind, open_instance
from humanllm_assets.orchestration.runs import HOLDER_TAG, describe_waiting
from humanllm_assets.planning.drive import Summary, drive
from humanllm_assets.planning.targets import parse_targets
from resources.home import Home, machine_problem
from resources.processes import Holder, sign_shared_things
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
    with open_instance(home, echo) as instance, _watch(instance, home, echo), Workers(profile, home) as workers:

        def submit(item: Item, forced: bool) -> Future[str | None]:
            config = {"allow_stale": allow_stale} if graph[item.asset].gated else {}
            return workers.submit(item, config, {**(tags or {}), **({FORCE_TAG: "true"} if forced else {})})

        store = SnapshotStore(home.root)
        summary = drive(graph, store, targets, submit, concurrency=concurrency, echo=echo, force=force, only=only, allow=allow)
    refresh_warehouse(graph, store, home.warehouse)  # steps do it too, but the last of two at once may have seen less
    return summary


@contextmanager
def _watch(instance: dg.DagsterInstance, home: Home, echo: Callable[[str], None]) -> Iterator[None]:
    """While partitions run: free what processes that were killed meanwhile hold, and say once for whom each waits."""
    ended, told = threading.Event(), set[str]()

    def look() -> None:
        free_left_behind(instance, home)
        waiting = describe_waiting(instance)
        for run in waiting.keys() - told:
            echo(waiting[run])
        told.update(waiting)

    def look_again() -> None:
        while not ended.wait(_LOOK_S):
            try:
                look()
            except Exception as e:  # where nothing can be written, the partitions say so
                if not machine_problem(e, home.root):
                    raise

    thread = threading.Thread(target=look_again, name="watch-runs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        free_left_behind(instance, home)


def repair(home: Home, echo: Callable[[str], None]) -> None:
    """`humanllm repair`: free what processes that are gone still hold, and list it."""
    freed: list[str] = []
    with open_instance(home, freed.append):
        for line in freed or ["nothing is held by a process that is gone"]:
            echo(line)


# ---- worker processes ------------------------------------------------------------------------------------------------

_LOOK_S = 5.0


class Workers:
    """Worker processes, started when partitions need them: forked from a server process that has imported the libraries once.

    Each is a pool of its own, because a pool ends all of its processes when one is killed.
    """

    def __init__(self, profile: Profile, home: Home) -> None:
        sign_shared_things()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["humanllm_assets.orchestration.build", "great_expectations"])
        self._profile, self._home = profile, home
        self._all: list[ProcessPoolExecutor] = []
        self._idle: list[ProcessPoolExecutor] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.shutdown()

    def submit(self, item: Item, config: Mapping[str, Any], tags: Mapping[str, str]) -> Future[str | None]:
        """Run one partition in an idle worker, or a new one; the future holds the failure's sentence, or None."""
        worker = self._idle.pop() if self._idle else self._start()
        outcome: Future[str | None] = Future()

        def finish(done: Future[str | None]) -> None:
            error = done.exception()
            if isinstance(error, BrokenProcessPool):
                outcome.set_result(f"{item}: {_KILLED}")
                return
            self._idle.append(worker)  # before anybody is told, who may submit the next
            if error:
                outcome.set_exception(error)
            else:
                outcome.set_result(done.result())

        worker.submit(_execute, item, config, tags, self._home.root).add_done_callback(finish)
        return outcome

    def _start(self) -> ProcessPoolExecutor:
        arguments = (self._profile, self._home, os.getpid())
        worker = ProcessPoolExecutor(1, mp_context=self._context, initializer=_start_worker, initargs=arguments)
        self._all.append(worker)
        return worker


_KILLED = (
    "its process was killed, most often by the system because memory ran out; lower `execution.max_concurrent` or "
    "`execution.duckdb_memory` in the profile if it happens again, and run the same command: it goes on from there"
)

# The job of all assets in this worker process, built once, because that takes seconds. It cannot be pickled: what is submitted
# can only find it in its module.
_job: Callable[[], dg.JobDefinition] | None = None


def _start_worker(profile: Profile, home: Home, command: int) -> None:
    global _job
    threading.Thread(target=_end_with, args=(os.pidfd_open(command),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C means
    _job = functools.cache(lambda: build_definitions(profile, home).resolve_implicit_global_asset_job_def())


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
        if problem := machine_problem(e, root):
            return f"{item}: {problem}"
        raise


def _run(item: Item, config: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    if _job is None:
        raise RuntimeError("a partition runs in a worker process that _start_worker has prepared")
    with dg.DagsterInstance.get() as instance:
        result = _job().execute_in_process(
            instance=instance,
            partition_key=item.partition or None,
            asset_selection=[dg.AssetKey(item.asset)],
            tags={HOLDER_TAG: str(Holder.me()), **tags},
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
