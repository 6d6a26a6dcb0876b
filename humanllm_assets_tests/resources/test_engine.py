"""Laws of the LLM engine, against a real HTTP server with made-up answers."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import BaseModel

import resources.llm.engine
from humanllm_assets_tests.resources.engine_helpers import Verdict, ask, make_engine, make_requests, make_role
from resources.errors import EngineError
from resources.llm.dummy_server import DummyServer
from resources.llm.journal import Answer, Journal
from resources.llm.requests import LLMRequest
from resources.profile import PROJECT_ROOT


def test_every_request_gets_one_valid_reply(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url + "/v1"]) as engine:
        replies = ask(engine, make_requests(50))
        assert server.requests == 50
        assert set(replies) == {f"item{i}" for i in range(50)}
        assert all(isinstance(r.value, Verdict) and r.reason is None and r.attempts == 1 for r in replies.values())
        assert engine.usage.calls == 50 and engine.usage.output_tokens > 0 and engine.usage.failures == 0
        assert server.most_in_flight <= 8


def test_rerun_asks_nothing_and_append_asks_only_what_is_new(tmp_path: Path) -> None:
    with DummyServer() as server:
        with make_engine(tmp_path, [server.base_url]) as engine:
            first = ask(engine, make_requests(20))
        with make_engine(tmp_path, [server.base_url]) as engine:
            again = ask(engine, make_requests(20))
            assert server.requests == 20
            assert {k: r.value for k, r in again.items()} == {k: r.value for k, r in first.items()}
            assert all(r.from_journal for r in again.values())
            assert engine.usage.journal_hits == 20 and engine.usage.calls == 0
            ask(engine, make_requests(23))
            assert server.requests == 23


def test_the_answers_behind_replies_are_listed_once_asked_and_once_found(tmp_path: Path) -> None:
    """64 bytes each: the journal's key and the digest of the answer as it stands there."""
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        ask(engine, make_requests(5))
        mark = engine.used_so_far()
        asked = engine.used_since(0)
        ask(engine, make_requests(5))
        found = engine.used_since(mark)
        entries = {asked[i : i + 64] for i in range(0, len(asked), 64)}
        assert len(entries) == 5 and entries == {found[i : i + 64] for i in range(0, len(found), 64)}
        answers = engine.journal.get_many(e[:32].hex() for e in entries)
        assert entries == {bytes.fromhex(a.key) + a.digest for a in answers.values()}


def test_rerun_needs_no_server(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        ask(engine, make_requests(5))
    with make_engine(tmp_path, ["http://127.0.0.1:9"]) as engine:
        assert all(r.value for r in ask(engine, make_requests(5)).values())


def test_endpoints_and_concurrency_do_not_change_keys(tmp_path: Path) -> None:
    keys = []
    for place, concurrency, endpoints in (("a", 1, 1), ("b", 16, 2)):
        with DummyServer() as one, DummyServer() as two:
            urls = [one.base_url, two.base_url][:endpoints]
            with make_engine(tmp_path / place, urls, concurrency=concurrency) as engine:
                ask(engine, make_requests(12))
            keys.append(stored(tmp_path / place))
    assert keys[0] == keys[1] and len(keys[0]) == 12


@pytest.mark.parametrize(
    "change", [{"temperature": 0.1}, {"seed": 1}, {"max_tokens": 65}, {"max_field_chars": 50}, {"top_p": 0.9}]
)
def test_sampling_changes_the_question(tmp_path: Path, change: dict[str, float]) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        ask(engine, make_requests(3))
        ask(engine, make_requests(3), make_role(**change))
        assert server.requests == 6


def test_input_limit_and_attempts_do_not_change_the_question(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        ask(engine, make_requests(3))
        ask(engine, make_requests(3), make_role(max_input_tokens=7, attempts=1))
        assert server.requests == 3


def test_bad_answers_are_asked_again_with_more_room_and_another_seed_then_recorded(tmp_path: Path) -> None:
    for fault, reason in (("cut_off", "cut_off"), ("invalid_json", "invalid")):
        with DummyServer(faults={fault: 1.0}) as server:
            with make_engine(tmp_path / fault, [server.base_url], max_model_len=200) as engine:
                reply = ask(engine, make_requests(1))["item0"]
                assert reply.value is None and reply.reason == reason and reply.attempts == 3 and reply.raw
                first, prompt = server.bodies[0]["seed"], reply.input_tokens // 3
                room = 200 - prompt  # a server refuses a budget for which its context has no room
                assert [(b["max_tokens"], b["seed"]) for b in server.bodies] == [(64, first), (128, first + 1), (room, first + 2)]
                assert engine.usage.failures == 1 and engine.usage.retries == 2
            with make_engine(tmp_path / fault, [server.base_url], max_model_len=200) as engine:
                assert ask(engine, make_requests(1))["item0"] == reply.__class__(**{**reply.__dict__, "from_journal": True})
                assert server.requests == 3


def test_faults_lose_nothing(tmp_path: Path) -> None:
    faults = {"cut_off": 0.1, "invalid_json": 0.1, "http_500": 0.05, "http_503": 0.05, "drop_connection": 0.05}
    with DummyServer(faults=faults) as server, make_engine(tmp_path, [server.base_url]) as engine:
        replies = ask(engine, make_requests(80), make_role(attempts=6))
        assert len(replies) == 80 and all(r.value for r in replies.values())
        assert engine.usage.retries > 0
        before = server.requests
        ask(engine, make_requests(80), make_role(attempts=6))
        assert server.requests == before


def test_a_refused_request_among_answered_ones_is_recorded_and_not_journalled(tmp_path: Path) -> None:
    with DummyServer(faults={"http_400": 0.2}) as server, make_engine(tmp_path, [server.base_url]) as engine:
        replies = ask(engine, make_requests(20))
        refused = {key: r for key, r in replies.items() if r.value is None}
        assert 0 < len(refused) < 10 and server.requests == 20
        assert all(r.reason == "refused:400" and "http_400" in r.raw for r in refused.values())
        assert {*stored(tmp_path).values()} == {*replies} - {*refused}


def test_dead_endpoint_is_routed_around(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, ["http://127.0.0.1:9", server.base_url]) as engine:
        assert all(r.value for r in ask(engine, make_requests(30)).values())
        assert server.requests == 30


def test_two_endpoints_share_the_work(tmp_path: Path) -> None:
    with DummyServer(latency_s=0.02) as one, DummyServer(latency_s=0.02) as two:
        with make_engine(tmp_path, [one.base_url, two.base_url]) as engine:
            ask(engine, make_requests(60))
        assert min(one.requests, two.requests) > 10  # a quarter of what is in flight, were all people at home at one


def test_no_endpoint_left_is_one_clear_error(tmp_path: Path) -> None:
    with (
        make_engine(tmp_path, ["http://127.0.0.1:9"], patience_s=1) as engine,
        pytest.raises(EngineError, match=r"127\.0\.0\.1:9.*start the servers"),
    ):
        ask(engine, make_requests(5))


def test_server_that_dies_in_the_middle_loses_only_what_is_in_flight(tmp_path: Path) -> None:
    answered, limits = 0, {"concurrency": 2, "patience_s": 1}
    with DummyServer() as server, make_engine(tmp_path, [server.base_url], **limits) as engine, pytest.raises(EngineError):
        for _ in engine.ask(make_role(), make_requests(50), label="test", log=lambda _: None):
            answered += 1
            if answered == 10:
                server.shut_down()
    assert answered <= len(stored(tmp_path)) < 50


def test_requests_are_pulled_lazily(tmp_path: Path) -> None:
    pulled = consumed = 0

    def counted() -> Iterator[LLMRequest]:
        nonlocal pulled
        for request in make_requests(300):
            pulled += 1
            yield request

    with DummyServer() as server, make_engine(tmp_path, [server.base_url], concurrency=4) as engine:
        for _ in engine.ask(make_role(), counted(), label="test", log=lambda _: None):
            consumed += 1
            assert pulled - consumed < 4 + 8 + 1
    assert pulled == consumed == 300


def test_abandoned_call_leaves_the_engine_usable(tmp_path: Path) -> None:
    with DummyServer(latency_s=0.05) as server, make_engine(tmp_path, [server.base_url]) as engine:
        replies = engine.ask(make_role(), make_requests(100), label="test", log=lambda _: None)
        next(replies)
        replies.close()  # type: ignore[attr-defined]
        assert len(ask(engine, make_requests(10))) == 10


def test_error_of_the_request_source_reaches_the_caller(tmp_path: Path) -> None:
    def broken() -> Iterator[LLMRequest]:
        yield from make_requests(3)
        raise RuntimeError("the table is broken")

    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine, pytest.raises(RuntimeError, match="table"):
        ask(engine, broken())


def test_overload_lowers_the_number_in_flight(tmp_path: Path) -> None:
    with DummyServer(faults={"http_503": 1.0}) as server, make_engine(tmp_path, [server.base_url], concurrency=16) as engine:
        assert len(ask(engine, make_requests(16))) == 16
        assert engine._transport._pools["m"].throttle.limit < 16


def test_first_tokens_log_probabilities_are_reported_and_journalled(tmp_path: Path) -> None:
    question = (("user", "Who comes?\nA. the cat\nB. the dog\nC. nobody\nAnswer with the letter of the option."),)
    request = LLMRequest(key="q", messages=question, schema=None, logprobs=3)
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        reply = ask(engine, iter([request]))["q"]
        assert reply.value in ("A", "B", "C") and reply.top[0][0] == reply.value
        assert sorted(t for t, _ in reply.top) == ["A", "B", "C"] and reply.top[0][1] >= reply.top[1][1]
        assert ask(engine, iter([request]))["q"].top == reply.top and server.requests == 1


def test_string_fields_are_bounded_by_the_role(tmp_path: Path) -> None:
    class Inner(BaseModel):
        title: str

    class Outer(BaseModel):
        title: str
        inner: list[Inner]

    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        reply = ask(engine, make_requests(1, schema=Outer), make_role(max_field_chars=30))["item0"]
        assert isinstance(reply.value, Outer) and len(reply.value.title) <= 30
        sent = server.bodies[0]["response_format"]["json_schema"]
        assert sent["strict"] and sent["schema"]["properties"]["title"] == {"type": "string", "maxLength": 30}
        assert sent["schema"]["$defs"]["Inner"]["properties"]["title"]["maxLength"] == 30


def test_a_penalty_is_part_of_a_question_that_has_one(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url], dialect="openai") as engine:
        ask(engine, make_requests(1))
        ask(engine, make_requests(1), make_role(frequency_penalty=0.5))
        assert list(dict.fromkeys(b.get("frequency_penalty") for b in server.bodies)) == [None, 0.5]


def test_thinking_is_switched_off_by_the_models_settings_alone(tmp_path: Path) -> None:
    with DummyServer() as server:
        for arguments in ({}, {"enable_thinking": False}):
            with make_engine(tmp_path, [server.base_url]) as engine:
                engine.add_model("other", engine.model("m").model_copy(update={"chat_template_arguments": arguments}))
                ask(engine, make_requests(1), make_role(model="other"))
        assert "chat_template_kwargs" not in server.bodies[0]
        assert server.bodies[1]["chat_template_kwargs"] == {"enable_thinking": False}


def test_tokens_are_counted_by_the_server_when_there_is_no_folder(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        assert engine.count_tokens("m", ["one two three", "", "four"]) == [3, 0, 1]


def test_tokens_are_counted_after_the_server_has_dropped_the_connections(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        texts = ["one two"] * 20
        assert engine.count_tokens("m", texts) == [2] * 20
        server.shut_down()
        with DummyServer(server.port):
            assert engine.count_tokens("m", texts) == [2] * 20


def test_progress_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.llm.engine, "PROGRESS_S", 0.05)
    lines: list[str] = []
    with DummyServer(latency_s=0.05) as server, make_engine(tmp_path, [server.base_url]) as engine:
        list(engine.ask(make_role(), make_requests(40), label="judge", log=lines.append, total=40))
    assert any("ETA" in line for line in lines) and lines[-1].startswith("judge: 40/40 replies")


_CHILD = """
import sys
from pathlib import Path
from humanllm_assets_tests.resources.engine_helpers import make_engine, make_requests, make_role
with make_engine(Path(sys.argv[1]), [sys.argv[2]], concurrency=4) as engine:
    for n, _ in enumerate(engine.ask(make_role(), make_requests(500), label="test", log=print)):
        print(n, flush=True)
"""


def test_an_answer_that_waits_for_the_journal_counts_as_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is, a crash can lose no more paid answers than may be in flight."""
    put = Journal.put_many

    def put_slowly(journal: Journal, answers: Sequence[Answer]) -> list[Answer]:
        time.sleep(0.02)
        return put(journal, answers)

    monkeypatch.setattr(Journal, "put_many", put_slowly)
    with DummyServer() as server, make_engine(tmp_path, [server.base_url], concurrency=4) as engine:
        for _ in engine.ask(make_role(), make_requests(40), label="test", log=lambda _: None):
            asked = server.requests
            assert asked - len(stored(tmp_path)) <= 4


def test_sigkill_loses_only_the_answers_in_flight(tmp_path: Path) -> None:
    with DummyServer(latency_s=0.02) as server:
        command = [sys.executable, "-c", _CHILD, str(tmp_path), server.base_url]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)
        assert child.stdout
        while child.stdout.readline().strip() != "20":
            assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(0.2)
        asked, survivors = server.requests, stored(tmp_path)
        assert len(survivors) >= 21 and asked - len(survivors) <= 4
        with make_engine(tmp_path, [server.base_url]) as engine:
            assert len(ask(engine, make_requests(60))) == 60
            assert all(row.sound for row in engine.journal.check_rows())
        lost = {f"item{i}" for i in range(60)} - set(survivors.values())
        assert server.requests - asked == len(lost)


def stored(home: Path) -> dict[str, str]:
    """Item by journal key."""
    with contextlib.closing(sqlite3.connect(home / "journal" / "answers.sqlite")) as db:
        return dict(db.execute("SELECT key, item_key FROM answers").fetchall())


_ASKS_ALL = """
import sys
from pathlib import Path
from humanllm_assets_tests.resources.engine_helpers import ask, make_engine, make_requests
with make_engine(Path(sys.argv[1]), [sys.argv[2]], concurrency=int(sys.argv[3])) as engine:
    print(len(ask(engine, make_requests(60))), flush=True)
"""


def start_child(home: Path, server: DummyServer, concurrency: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _ASKS_ALL, str(home), server.base_url, str(concurrency)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)


def test_processes_that_ask_the_same_at_once_pay_once(tmp_path: Path) -> None:
    with DummyServer(latency_s=0.3) as server:
        children = [start_child(tmp_path, server, concurrency=8) for _ in range(3)]
        assert [child.communicate(timeout=60)[0].strip() for child in children] == ["60"] * 3
        assert server.requests == 60


def test_a_question_of_a_killed_process_is_asked_again_and_who_waits_says_for_whom(tmp_path: Path) -> None:
    with DummyServer(latency_s=4) as server:
        child = start_child(tmp_path, server, concurrency=4)
        wait_until(lambda: server.requests == 4)
        lines: list[str] = []

        def ask_the_same() -> int:
            with make_engine(tmp_path, [server.base_url], concurrency=80) as engine:
                return len(list(engine.ask(make_role(), make_requests(60), label="test", log=lines.append)))

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask_the_same)
            wait_until(lambda: any(f"asks models (process {child.pid})" in line for line in lines))
            wait_until(lambda: server.requests == 60)
            child.kill()
            child.wait()
            assert asking.result(15) == 60
        assert server.requests == 64, "what the killed process asked is asked again, and nothing else"


def wait_until(happened: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
