"""Whatever a process holds is free when it is gone, and nobody else is taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from resources.locks import Locked, hold_lock, read_holders
from resources.processes import Holder, ran_at, remove_shared_things
from resources.profile import PROJECT_ROOT

_HOLDS = """
import multiprocessing, sys, time
from pathlib import Path
from resources.locks import hold_lock
from resources.processes import sign_shared_things
sign_shared_things()
lock = multiprocessing.get_context("forkserver").Lock()
with hold_lock(Path(sys.argv[1]), "a step", shared=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(path: Path, *shared: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLDS, str(path), *shared]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_steps_hold_a_lock_together_and_who_wants_it_alone_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "steps"
    first, second = start_holder(path, "shared"), start_holder(path, "shared")
    try:
        with pytest.raises(Locked) as refused, hold_lock(path, "humanllm gc"):
            raise AssertionError("the lock was given twice")
        assert str(refused.value).startswith("humanllm gc cannot start beside a step (process ")
        assert all(f"a step (process {p.pid})" in str(refused.value) for p in (first, second))
    finally:
        kill(first)
        kill(second)
    with hold_lock(path, "humanllm gc"):
        assert len(read_holders(path)) == 1
    assert [p.name for p in path.parent.iterdir()] == ["steps"], "notes of killed processes are removed"


def test_who_waits_is_told_for_whom_and_goes_on_when_the_holder_is_killed(tmp_path: Path) -> None:
    holder = start_holder(tmp_path / "lock")
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        kill(holder)

    with hold_lock(tmp_path / "lock", "another step", shared=True, on_wait=hear):
        assert lines == [f"waiting for: a step (process {holder.pid})"]


def test_a_process_that_got_the_number_of_another_is_not_taken_for_it() -> None:
    me = Holder.me()
    assert me.lives and Holder.parse(f"{me}-more") == me
    assert not me._replace(started=me.started - 1).lives and not me._replace(boot="before").lives
    assert ran_at(me.pid, time.time()) and not ran_at(me.pid, time.time() - 10**6) and not ran_at(2**22 + 1, time.time())
    assert [Holder.parse(text) for text in ("", "x", "12-dead", "b-1-", "-1-2")] == [None] * 5


def test_semaphores_and_folders_of_a_killed_process_are_removed_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    dead, living = start_holder(tmp_path / "one"), start_holder(tmp_path / "two")
    folders = Path("/dev/shm"), Path(tempfile.gettempdir())

    def things(process: subprocess.Popen[str]) -> int:
        return sum(1 for folder in folders for p in folder.glob(f"*humanllm-*-{process.pid}-*"))

    try:
        assert things(dead) == things(living) == 2
        os.killpg(dead.pid, signal.SIGKILL)  # with the process that would tidy up
        dead.wait()
        assert things(dead) == 2
        assert len([line for line in remove_shared_things() if f"process {dead.pid} " in line]) == 2
        assert things(dead) == 0 and things(living) == 2
    finally:
        kill(living)
