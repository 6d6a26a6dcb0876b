"""Processes and ports of this machine: who still runs, and who must not outlive whom."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1


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
        return cls(_boot(), os.getpid(), started_at(os.getpid()) or 0)

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


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
