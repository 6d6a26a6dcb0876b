"""Processes and ports of this machine: who still runs, and who must not outlive whom."""

from __future__ import annotations

import atexit
import ctypes
import functools
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_CLOCKS_DIFFER_S = 1.0


def die_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """In a started process: be ended by the kernel when its parent ends by whatever means, so that nothing is left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)


def started_at(pid: int) -> int | None:
    """Start time of a running process in clock ticks, None when there is none; with the id it names one process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def ran_at(pid: int, moment: float) -> bool:
    """Whether the process that has an id now ran at a moment (seconds since 1970) already."""
    started = started_at(pid)
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return started is not None and booted + started / os.sysconf("SC_CLK_TCK") <= moment + _CLOCKS_DIFFER_S


class Holder(NamedTuple):
    """The process that holds something: its id alone is given to another process sooner or later, the three together never.

    `boot`: which start of the machine (a home belongs to one machine). `started`: see `started_at`.
    """

    boot: str
    pid: int
    started: int

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Holder:
        """The process that has an id now; one that does not live when none has."""
        return cls(_boot(), pid, started_at(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        """The holder whose `str` a text begins with (more may follow a dash); None when it names none."""
        boot, pid, started = (*text.split("-"), "", "")[:3]
        return cls(boot, int(pid), int(started)) if boot and pid.isdecimal() and started.isdecimal() else None

    @property
    def lives(self) -> bool:
        return self.boot == _boot() and started_at(self.pid) == self.started

    def __str__(self) -> str:
        return f"{self.boot}-{self.pid}-{self.started}"


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")[:8]


# ---- what a killed process leaves behind outside the home ------------------------------------------------------------

_OURS = "humanllm-"  # begins the name of a semaphore or temporary folder; its process follows


@functools.cache
def sign_shared_things() -> None:
    """Let `multiprocessing` name the semaphores and the folder of sockets that it makes from now on after this process, so that
    `remove_shared_things` knows whose they are when it is killed."""
    config = getattr(multiprocessing.current_process(), "_config")  # noqa: B009 (there is no public way)
    config["semprefix"] = f"/{_OURS}{Holder.me()}"
    config["tempdir"] = tempfile.mkdtemp(prefix=f"{_OURS}{Holder.me()}-")
    atexit.register(shutil.rmtree, config["tempdir"], ignore_errors=True)


def remove_shared_things() -> list[str]:
    """Remove such semaphores and folders of processes that are gone; returns a sentence for each."""
    removed = []
    for path in [*Path("/dev/shm").glob(f"sem.{_OURS}*"), *Path(tempfile.gettempdir()).glob(f"{_OURS}*")]:
        holder = Holder.parse(path.name.partition(_OURS)[2])
        if holder is None or holder.lives:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            removed.append(f"the temporary folder {path} of process {holder.pid} was deleted")
        else:
            path.unlink(missing_ok=True)
            removed.append(f"a semaphore of process {holder.pid} was deleted")
    return removed


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
