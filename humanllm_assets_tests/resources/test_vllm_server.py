"""Laws of local servers. The supervisor is the real one; the server it runs is the dummy, which starts in a second."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import resources.llm.local_servers
from humanllm_assets_tests.resources.engine_helpers import make_requests, make_role
from resources.llm.engine import Engine
from resources.llm.local_servers import LocalServers, ServerError, is_bfloat16_slow, server_command, stop_all
from resources.llm.server_folder import ServerState
from resources.llm.supervisor import explain_failure
from resources.models import ModelError
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Profile


def dummy_command(model_name: str, folder: Path, max_model_len: int, port: int, extra: list[str]) -> list[str]:
    return [sys.executable, "-m", "resources.llm.dummy_server", "--port", str(port), "--latency-s", "0.02", *extra]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(resources.llm.local_servers, "server_command", dummy_command)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").touch()
    yield tmp_path
    stop_all(tmp_path)


def config(**changes: object) -> EngineConfig:
    return EngineConfig.model_validate({"start_timeout_s": 30, "concurrency": 4, **changes})


def wait_until(what: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(folder: Path) -> ServerState:
    found = ServerState.read(folder)
    assert found
    return found


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_clients_share_one_server_and_it_stops_when_idle(home: Path) -> None:
    with LocalServers(home, config(idle_stop_s=1)) as one, LocalServers(home, config(idle_stop_s=1)) as two:
        handle = one.acquire("a", home / "a", 100)
        assert two.acquire("a", home / "a", 100) == handle
        pid = state(handle.folder).server_pid
        assert pid
        one.release(handle.folder)
        time.sleep(2)
        assert state(handle.folder).status == "ready"
    wait_until(lambda: state(handle.folder).status == "stopped")
    assert not lives(pid)


def test_idle_server_makes_room_for_another_model(home: Path) -> None:
    with LocalServers(home, config()) as servers:
        first = servers.acquire("a", home / "a", 100)
        servers.release(first.folder)
        second = servers.acquire("b", home / "b", 100)
        assert state(first.folder).status == "stopped" and state(second.folder).status == "ready"


def test_step_that_needs_two_servers_at_once_is_told_so(home: Path) -> None:
    with LocalServers(home, config()) as servers:
        servers.acquire("a", home / "a", 100)
        with pytest.raises(ServerError, match="max_local_servers` to 2"):
            servers.acquire("b", home / "b", 100)


def test_leases_of_dead_processes_do_not_count(home: Path) -> None:
    with LocalServers(home, config(idle_stop_s=1)) as servers:
        handle = servers.acquire("a", home / "a", 100)
        (handle.folder / "leases" / "999999999-dead").touch()
    wait_until(lambda: state(handle.folder).status == "stopped")


def test_crashed_server_is_restarted_and_the_call_completes(home: Path) -> None:
    profile = Profile.model_construct(models={"m": Model(name="a", revision="1", path=str(home / "a"))}, engine=config())
    with Engine(profile, home) as engine:
        replies = []
        for reply in engine.ask(make_role(), make_requests(60), label="test", log=lambda _: None):
            replies.append(reply)
            if len(replies) == 10:
                folder = next((home / "servers").glob("a-*"))
                os.kill(state(folder).server_pid or 0, signal.SIGKILL)
        assert len(replies) == 60 and all(r.value for r in replies)
        assert state(folder).restarts == 1


def test_killed_supervisor_takes_its_server_along_and_the_next_call_starts_anew(home: Path) -> None:
    with LocalServers(home, config()) as servers:
        handle = servers.acquire("a", home / "a", 100)
        before = state(handle.folder)
        os.kill(before.supervisor_pid, signal.SIGKILL)
        wait_until(lambda: not lives(before.server_pid or 0))
        assert servers.acquire("a", home / "a", 100).folder == handle.folder
        assert state(handle.folder).server_pid != before.server_pid


def test_failed_start_says_why_and_where(home: Path) -> None:
    sentence = r"unrecognized arguments.*engine\.server_args.*server\.log"
    with LocalServers(home, config(server_args=["--nonsense"])) as servers, pytest.raises(ServerError, match=sentence):
        servers.acquire("a", home / "a", 100)


def test_missing_folder_and_used_port_say_what_to_do(home: Path) -> None:
    with LocalServers(home, config()) as servers:
        with pytest.raises(ModelError, match="does not exist"):
            servers.acquire("a", home / "nothing", 100)
        port = state(servers.acquire("a", home / "a", 100).folder).port
    with LocalServers(home, config(port=port, max_local_servers=2)) as servers, pytest.raises(ServerError, match="in use"):
        servers.acquire("b", home / "b", 100)


def test_stop_all_stops_servers_in_use(home: Path) -> None:
    with LocalServers(home, config()) as servers:
        handle = servers.acquire("a", home / "a", 100)
        assert stop_all(home) == [handle.folder.name] and stop_all(home) == []
        with pytest.raises(ServerError, match="stopped while it was needed"):
            servers.recover(handle)


def test_root_error_is_found_below_the_ones_that_wrap_it() -> None:
    log = """\
(EngineCore pid=5) ERROR 11-21 08:52:50 [core.py:1512] Traceback (most recent call last):
(EngineCore pid=5) ERROR 11-21 08:52:50 [core.py:1512] ValueError: No available memory for the cache blocks (KV cache).
(APIServer pid=4) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
    assert explain_failure(log).startswith("ValueError: No available memory") and "max_model_len" in explain_failure(log)
    assert "pip install" in explain_failure("ModuleNotFoundError: No module named 'vllm'")
    assert "Killed" in explain_failure("loading\nKilled\n")


def test_extra_arguments_come_last() -> None:
    assert server_command("a", Path("a"), 100, 1, ["--max-num-seqs", "8"])[-2:] == ["--max-num-seqs", "8"]


@pytest.mark.parametrize(
    ("cpuinfo", "slow"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx avx2 fma\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", False),
        (None, False),
    ],
)
def test_bfloat16_is_slow_where_the_processor_says_so(tmp_path: Path, cpuinfo: str | None, slow: bool) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert is_bfloat16_slow(tmp_path / "cpuinfo") == slow
