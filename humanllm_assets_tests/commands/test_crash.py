"""A crash never blocks what comes after it: commands are killed with all their processes, and the next ones go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from humanllm_assets import cli
from humanllm_assets.orchestration.instance import open_instance
from humanllm_assets.orchestration.runs import HOLDER_TAG, free_dead_runs
from humanllm_assets_tests.conftest import Project
from humanllm_assets_tests.in_process import InProcess
from resources.home import Home
from resources.locks import hold_lock
from resources.processes import Holder
from resources.profile import PROJECT_ROOT

FOUR = [
    *("filtered_reddit[askdaily]", "filtered_reddit[smalltownlife]"),
    *("filtered_amazon[Home_and_Kitchen]", "filtered_amazon[Patio_Lawn_and_Garden]"),
]


def wait_until(happened: Callable[[], object], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start(project: Project, *arguments: str) -> subprocess.Popen[bytes]:
    """A command in a session of its own, so that it can be killed with all its processes; its output goes to a file."""
    command = [sys.executable, "-m", "humanllm_assets.cli", *arguments]
    with open(project.root.parent / "output.txt", "wb") as output:
        return subprocess.Popen(
            command, env=project.environment(), cwd=PROJECT_ROOT, stdout=output, stderr=output, start_new_session=True
        )


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def output(project: Project) -> str:
    return (project.root.parent / "output.txt").read_text()


def humanllm(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> str:
    for name, value in {**project.environment(), "DAGSTER_HOME": str(project.home.dagster)}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def left_in_memory_and_tmp() -> set[str]:
    folders = Path("/dev/shm"), Path(tempfile.gettempdir())
    return {p.name for folder in folders for p in folder.glob("*humanllm-*")}


def test_after_a_kill_of_everything_the_next_command_goes_on_and_repair_lists_what_was_held(
    project: Project, dummy, monkeypatch: pytest.MonkeyPatch
) -> None:
    InProcess(project).refresh("eligible_reddit", "eligible_amazon")
    dummy.latency_s = 600
    process = start(project, "materialize", *FOUR)
    try:
        wait_until(lambda: len(list(project.home.root.glob("snapshots/filtered_*/*/.writing-*"))) >= 4 and dummy.requests > 4)
        for refused in (("gc", "--yes"), ("forget", "reddit/nobody", "--purge", "--yes")):
            said = humanllm(project, monkeypatch, *refused, code=1)
            assert "cannot start beside" in said and all(f"{name} (process " in said for name in FOUR), said
    finally:
        kill_tree(process)
    dummy.latency_s = 0
    copy = Project(project.root.parent / "copy", project.profile_file)
    shutil.copytree(project.root, copy.root)
    assert len(left_in_memory_and_tmp()) > 1

    said = humanllm(project, monkeypatch, "repair")
    assert all(f"({name}; process " in said for name in FOUR) and said.count(") ended: its process was killed") == 4
    assert said.count("a place in the pool `llm`") == 4 and said.count("unfinished snapshot") == 4
    assert "semaphore" in said and "temporary folder" in said
    with open_instance(project.home) as instance:
        assert not instance.event_log_storage.get_concurrency_info("llm").claimed_slots
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.FAILURE}
    assert humanllm(project, monkeypatch, "repair") == "nothing is held by a process that is gone\n"
    assert humanllm(project, monkeypatch, "gc", "--yes") == "nothing to remove\n"
    humanllm(project, monkeypatch, "forget", "reddit/nobody", "--purge", "--yes")

    process = start(copy, "materialize", *FOUR)
    try:
        assert process.wait(200) == 0, output(copy)
    finally:
        if process.poll() is None:
            kill_tree(process)
    assert output(copy).count(") ended: its process was killed") == 4
    assert not list(copy.home.root.glob("snapshots/*/*/.writing-*"))


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_run_is_in_progress_only_while_the_very_process_lives(status, project: Project) -> None:
    me = Holder.me()
    with open_instance(project.home.prepare(project.profile)) as instance:

        def add(tag: str) -> str:
            return instance.create_run_for_job(_nothing, status=status, tags={HOLDER_TAG: tag} if tag else {}).run_id

        mine, new = add(str(me)), add("")
        dead = [
            add(str(h)) for h in (me._replace(started=me.started - 1), me._replace(boot="before"), me._replace(pid=2**22 + 1))
        ]
        assert len(free_dead_runs(instance)) == 3
        assert all(instance.get_run_by_id(r).status == dg.DagsterRunStatus.FAILURE for r in dead)
        assert all(instance.get_run_by_id(r).status == status for r in (mine, new)), "a new run of the daemon may yet begin"


@dg.job
def _nothing() -> None: ...


def test_a_killed_worker_ends_one_partition_with_a_sentence(project: Project, dummy) -> None:
    InProcess(project).refresh("eligible_reddit", "eligible_amazon")
    dummy.latency_s = 0.3
    process = start(project, "materialize", *FOUR)
    try:
        writing = project.home.root / "snapshots" / "filtered_amazon" / "Home_and_Kitchen"
        wait_until(lambda: list(writing.glob(".writing-*")))
        [folder] = writing.glob(".writing-*")
        holder = Holder.parse(folder.name.removeprefix(".writing-"))
        assert holder
        os.kill(holder.pid, signal.SIGKILL)
        assert process.wait(200) == 1, output(project)
    finally:
        if process.poll() is None:
            kill_tree(process)
    said = output(project)
    assert "Traceback" not in said and "3 computed, 9 already up to date, 1 failed" in said, said
    assert "filtered_amazon[Home_and_Kitchen]: its process was killed" in said.splitlines()[-1]
    assert not folder.exists()
    with open_instance(project.home) as instance:
        assert not instance.event_log_storage.get_concurrency_info("llm").claimed_slots


def test_a_step_waits_for_a_collection_and_says_so(project: Project) -> None:
    with hold_lock(project.home.steps_lock, "humanllm gc"):
        process = start(project, "materialize", "raw_reddit[askdaily]")
        try:
            wait_until(lambda: f"waiting for: humanllm gc (process {os.getpid()})" in output(project))
            assert not project.home.root.joinpath("snapshots").exists() and process.poll() is None
        except BaseException:
            kill_tree(process)
            raise
    assert process.wait(150) == 0
    assert project.store.published("raw_reddit", "askdaily")


def test_who_waits_for_a_place_in_a_pool_says_for_whom(project: Project, dummy) -> None:
    InProcess(project).refresh("eligible_reddit[askdaily]")
    with open_instance(project.home.prepare(project.profile)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("llm", 1)
        run = instance.create_run_for_job(_nothing, status=dg.DagsterRunStatus.STARTED, tags={HOLDER_TAG: str(Holder.me())})
        assert storage.claim_concurrency_slot("llm", run.run_id, "step").is_claimed
        process = start(project, "materialize", "filtered_reddit[askdaily]")
        try:
            who = f"run {run.run_id[:8]} (_nothing; process {os.getpid()})"
            wait_until(lambda: f") waits for a place in the pool `llm`, held by: {who}" in output(project))
            storage.free_concurrency_slots_for_run(run.run_id)
            assert process.wait(150) == 0
        finally:
            if process.poll() is None:
                kill_tree(process)


_SERVES = """
import os, sys
from pathlib import Path
from humanllm_assets.commands import ui
from resources.home import Home
execv = os.execv
os.execv = lambda program, command: execv(program, [program, "-c", "import time; print('serving', flush=True); time.sleep(60)"])
ui.serve_ui(Home(Path(sys.argv[1])), int(sys.argv[2]), print)
"""


def test_a_second_ui_of_a_home_is_refused_with_the_address_of_the_first(project: Project) -> None:
    home: Home = project.home.prepare(project.profile)

    def serve(port: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _SERVES, str(home.root), str(port)]
        return subprocess.Popen(command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def read(process: subprocess.Popen[str]) -> str:
        assert process.stdout
        return next((line for line in process.stdout if "serving" in line or "beside" in line), "")

    first = serve(41)  # nobody listens: what takes the UI's place only sleeps
    try:
        assert "serving" in read(first)
        second = serve(42)
        wanted = f"the UI at http://127.0.0.1:42 cannot start beside the UI at http://127.0.0.1:41 (process {first.pid})"
        assert wanted in read(second) and second.wait(10) == 1
    finally:
        first.kill()
        first.wait()
    third = serve(43)
    try:
        assert "serving" in read(third)
    finally:
        third.kill()
        third.wait()
