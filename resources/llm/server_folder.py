"""The folder of one local server, by which its clients and its supervisor talk: `<home>/servers/<model>-<hash>/`.

    spec.json     command line, environment and limits of the server (written by the client that starts it)
    state.json    what the supervisor last knew: status, port, process ids, error
    server.log    output of the supervisor and of vLLM
    leases/       one file per client that needs the server, touched while it does; a dead process's lease does not count
    supervisor.lock   held by the living supervisor

What belongs here: these files, and what both sides read from them. What does not: the sides (`local_servers.py`, `supervisor.py`).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.processes import Holder

LEASE_EXPIRES_S = 120.0  # a living process that has not touched its lease for so long no longer holds it
STOP_GRACE_S = 20.0  # between asking a process to end and killing it


@dataclass
class ServerState:
    """`status`: starting, ready, restarting, failed or stopped."""

    status: str
    port: int
    supervisor_pid: int
    server_pid: int | None = None
    restarts: int = 0
    error: str | None = None

    @classmethod
    def read(cls, folder: Path) -> ServerState | None:
        """The state of a folder, None before the first start."""
        path = folder / "state.json"
        return cls(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, folder: Path) -> None:
        """Replace the state of a folder."""
        write_json(folder / "state.json", asdict(self))


def write_json(path: Path, value: Any) -> None:
    """Replace a file so that a reader sees the old or the new content."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1))
    os.replace(partial, path)


def live_leases(folder: Path) -> list[Path]:
    """The leases that count: their process lives and has touched them lately. Others are removed."""
    live = []
    for lease in (folder / "leases").glob("*-*"):
        try:
            age = time.time() - lease.stat().st_mtime
        except FileNotFoundError:  # released in this moment
            continue
        holder = Holder.parse(lease.name)
        if holder and holder.lives and age < LEASE_EXPIRES_S:
            live.append(lease)
        else:
            lease.unlink(missing_ok=True)
    return live


def supervisor_lives(folder: Path) -> bool:
    """Whether some process holds the folder's supervisor lock: certain, unlike a process id, which may be reused."""
    path = folder / "supervisor.lock"
    if not path.is_file():
        return False
    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def is_healthy(port: int) -> bool:
    """Whether a server on this machine says that it is ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
