"""Laws of what is no answer, end to end: the step waits or stops, and nothing of it is kept, published or shown that should not be."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

import resources.llm.transport
from humanllm_assets_tests.resources.engine_helpers import Verdict, ask, make_engine, make_requests, make_role
from resources.errors import EngineError
from resources.llm.connections import chat_address, hide_secrets, tokenize_address
from resources.llm.counting import read_count
from resources.llm.dummy_server import DummyServer, Script, Scripted
from resources.llm.engine import Engine
from resources.llm.supervisor import explain_failure
from resources.llm.transport import read_wait
from resources.profile import Engine as EngineConfig
from resources.profile import Model, ProfileError, load_profile, parse_profile

NO_TEMPLATE = {"error": {"message": "you must provide a chat template", "type": "BadRequestError", "code": 400}}
SECRET = "sk-very-secret-token"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own pauses, a hundred times shorter."""
    monkeypatch.setattr(resources.llm.transport, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(resources.llm.transport, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(resources.llm.transport, "LONGEST_REST_S", 0.1)


def says(content: Any = "A", finish: str = "stop", **top: Any) -> Scripted:
    choice = {"message": content if isinstance(content, dict) else {"content": content}, "finish_reason": finish}
    return Scripted(200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}, **top})


def always(said: Scripted) -> Script:
    return lambda body, n, headers: said


def about(number: int, said: Scripted) -> Script:
    """`said` to every question about one person, the server's own answer to the others."""
    return lambda body, n, headers: said if f"Person {number} " in body["messages"][-1]["content"] else None


def kept(home: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(home / "journal" / "answers.sqlite")) as db:
        return [key for (key,) in db.execute("SELECT item_key FROM answers ORDER BY item_key")]


# ---- the set-up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Scripted(400, NO_TEMPLATE), r"20 questions.*you must provide a chat template.*chat template"),
        (Scripted(401, {"error": {"message": "bad key"}}), "401.*bad key.*api_key_env"),
        (Scripted(404, {"error": {"message": "no such model"}}), "404.*no such model.*name"),
        (Scripted(429, {"error": {"message": "no money", "code": "insufficient_quota"}}), "429.*no money.*top up"),
        (Scripted(402, {"error": {"message": "pay"}}), "402.*pay.*top up"),
        (Scripted(301, b""), "301.*endpoints"),
        (Scripted(200, b"<html>Sign in</html>"), "malformed.*Sign in.*endpoints"),
        (says(model="another"), "other model.*`another`"),
        (says({"content": None, "reasoning_content": "hm"}), "thoughts.*chat_template_arguments"),
        (says(""), "empty"),
        (Scripted(503, {"error": {"message": "loading"}}), "503.*loading.*patience_s"),
        (Scripted(429, {"error": {"message": "slow down"}}), "429.*slow down.*patience_s"),
        (Scripted(500, {"error": {"message": "broken"}}), "broken.*log"),
        (Scripted(429, {"error": {"message": "wait"}}, {"Retry-After": "3600"}), "429.*wait.*patience_s"),
        (says("half a", "abort"), "ended by `abort`"),
    ],
)
def test_what_is_wrong_with_every_question_stops_the_step_and_is_asked_again(
    tmp_path: Path, said: Scripted, message: str
) -> None:
    limits = {"concurrency": 16, "patience_s": 0.3}
    with DummyServer(script=always(said)) as server, make_engine(tmp_path, [server.base_url], **limits) as engine:
        with pytest.raises(EngineError, match=f"(?s){message}"):
            ask(engine, make_requests(20, None))
        assert kept(tmp_path) == []
        server.script = None
        assert all(r.value for r in ask(engine, make_requests(20, None)).values())


def test_a_server_that_refuses_every_question_is_not_asked_all_of_them(tmp_path: Path) -> None:
    refuses = DummyServer(script=always(Scripted(400, NO_TEMPLATE)))
    with refuses as server, make_engine(tmp_path, [server.base_url]) as engine, pytest.raises(EngineError):
        ask(engine, make_requests(5000))
    assert server.requests < 50


def test_refusals_after_answers_from_the_journal_stop_the_step_too(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        ask(engine, make_requests(20))
        server.script = always(Scripted(400, NO_TEMPLATE))
        with pytest.raises(EngineError, match="chat template"):
            ask(engine, make_requests(40))
        replies = ask(engine, make_requests(21))  # one of many is that question's own fault, also when it alone is asked
        assert [r.reason for r in replies.values() if r.reason] == ["refused:400"]


def test_texts_too_long_for_the_context_are_failures_also_in_a_rerun(tmp_path: Path) -> None:
    too_long = Scripted(400, {"error": {"message": "maximum context length is 10 tokens", "code": "context_length_exceeded"}})

    def script(body: dict[str, Any], n: int, headers: Mapping[str, str]) -> Scripted | None:
        return too_long if "Person 1" in body["messages"][-1]["content"] else None

    with DummyServer(script=script) as server, make_engine(tmp_path, [server.base_url]) as engine:
        for _ in range(2):
            replies = ask(engine, make_requests(20))
            assert {k for k, r in replies.items() if r.reason == "too_long"} == {f"item{n}" for n in (1, *range(10, 20))}


# ---- one question ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason", "is_kept"),
    [
        (Scripted(400, NO_TEMPLATE), "refused:400", False),
        (Scripted(400, {"error": {"message": "no", "code": "content_filter"}}), "refused:400", False),
        (Scripted(200, {"choices": []}), "no_choice", False),
        (Scripted(200, b"<html>"), "malformed", False),
        (says(7), "malformed", False),
        (Scripted(500, {"error": {"message": "broken"}}), "refused:500", False),
        (says("half a", "content_filter"), "filtered", True),
        (says({"content": None, "refusal": "I can't."}), "refusal", True),
        (says({"content": None, "reasoning_content": "hm"}), "thoughts", False),
        (says(None), "empty", False),
        (says({"content": None, "tool_calls": [{}]}), "ended_otherwise", False),
    ],
)
def test_what_is_wrong_with_one_question_fails_it_alone(tmp_path: Path, said: Scripted, reason: str, is_kept: bool) -> None:
    limits = {"concurrency": 4, "patience_s": 0.2}
    with DummyServer(script=about(3, said)) as server, make_engine(tmp_path, [server.base_url], **limits) as engine:
        replies = ask(engine, make_requests(30, None))
        assert {k: r.reason for k, r in replies.items() if r.value is None} == {"item3": reason}
        assert ("item3" in kept(tmp_path)) is is_kept and len(set(kept(tmp_path))) == 29 + is_kept


@pytest.mark.parametrize(
    "said",
    [
        Scripted(200, {"error": {"message": "Provider returned error", "code": 502}}),
        Scripted(200, {"choices": None, "error": {"message": "slow", "code": 429}}),
        Scripted(200, b"{"),
        Scripted(408, b""),
        Scripted(409, b""),
        Scripted(425, b""),
        Scripted(529, b""),
        says("half a", "error"),
    ],
)
def test_what_passes_costs_no_answer(tmp_path: Path, said: Scripted) -> None:
    seen = set[int]()

    def hit_once(body: dict[str, Any], n: int, headers: Mapping[str, str]) -> Scripted | None:
        first = body["seed"] not in seen
        seen.add(body["seed"])
        return said if first and body["seed"] % 3 == 0 else None

    with DummyServer(script=hit_once) as server, make_engine(tmp_path, [server.base_url]) as engine:
        assert all(r.value for r in ask(engine, make_requests(30)).values())
        assert len(kept(tmp_path)) == 30


def test_thoughts_and_control_characters_reach_no_answer(tmp_path: Path) -> None:
    class Text(BaseModel):
        text: str

    raw = '<think>\n\n</think>\n\n{"text": "home\\u0000 and\\u2028slept\\f \\u001b[31mred\\n"}'
    with DummyServer(script=always(says(raw))) as server, make_engine(tmp_path, [server.base_url]) as engine:
        assert ask(engine, make_requests(1, Text))["item0"].value == Text(text="home and slept  [31mred\n")


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_server_that_says_when_to_come_back_is_asked_no_earlier(tmp_path: Path) -> None:
    """A limit that outlasts the engine's own pauses delays the questions; it is no failure of them."""
    start, early = time.monotonic(), 0

    def limited(body: dict[str, Any], n: int, headers: Mapping[str, str]) -> Scripted | None:
        nonlocal early
        if time.monotonic() - start > 1.5:
            return None
        early += 1
        return Scripted(429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, {"Retry-After": "2"})

    with DummyServer(script=limited) as server, make_engine(tmp_path, [server.base_url], concurrency=8) as engine:
        assert all(r.value for r in ask(engine, make_requests(20)).values())
        assert early <= 8


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert read_wait({"Retry-After": "7"}) == 7 and read_wait({"Retry-After": "1.5"}) == 1.5
    assert read_wait({"Retry-After-Ms": "250"}) == 0.25
    assert read_wait({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert 3.6e9 < read_wait({"Retry-After": "Fri, 01 Jan 2150 00:00:00 GMT"}) < 4.1e9
    assert read_wait({}) == read_wait({"Retry-After": "soon"}) == 0


# ---- replicas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        Scripted(401, {"error": "Unauthorized"}),
        Scripted(404, {"error": "no such model"}),
        says(model="another"),
        Scripted(400, NO_TEMPLATE),
        Scripted(500, {"error": "broken"}),
        Scripted(200, b"<html>"),
        Scripted(200, b"", delay_s=5),
    ],
)
def test_one_bad_replica_loses_no_question_and_draws_few(tmp_path: Path, bad: Scripted) -> None:
    with DummyServer(script=always(bad)) as one, DummyServer(latency_s=0.02) as two:
        with make_engine(tmp_path, [one.base_url, two.base_url], timeout_s=0.5) as engine:
            replies = ask(engine, make_requests(60))
        assert all(r.value for r in replies.values()) and two.requests >= 60
        assert one.requests < 30


def test_a_replica_that_answers_nonsense_fast_does_not_draw_most_requests(tmp_path: Path) -> None:
    with DummyServer(script=always(says("Sure!"))) as one, DummyServer(latency_s=0.02) as two:
        with make_engine(tmp_path, [one.base_url, two.base_url]) as engine:
            replies = ask(engine, make_requests(80), make_role(attempts=3))
        assert one.requests < two.requests and sum(r.value is None for r in replies.values()) < 8


# ---- models as people have them --------------------------------------------------------------------------------------


def guarded(body: dict[str, Any], n: int, headers: Mapping[str, str]) -> Scripted | None:
    given = headers.get("Authorization", "")
    return None if given == f"Bearer {SECRET}" else Scripted(401, {"error": {"message": f"wrong key: {given}"}})


def test_the_key_lets_in_and_stands_in_no_file_log_or_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with DummyServer(script=guarded) as server:
        url = f"{server.base_url}/v1?key={SECRET}-3"
        with make_engine(tmp_path, [url], api_key_env="TEST_KEY") as engine:
            monkeypatch.delenv("TEST_KEY", raising=False)
            with pytest.raises(EngineError, match="TEST_KEY is not set; export TEST_KEY"):
                ask(engine, make_requests(1))
        monkeypatch.setenv("TEST_KEY", SECRET)
        with make_engine(tmp_path, [url], api_key_env="TEST_KEY") as engine:
            ask(engine, make_requests(9))
            assert SECRET not in str(engine.model("m").identity)
        with_user = server.base_url.replace("//", f"//user:{SECRET}-2@") + f"/v1?key={SECRET}-3"
        for place, settings, own in ((url, {"api_key_env": "TEST_KEY"}, ""), (with_user, {}, "-2")):
            echo = f"wrong key: {SECRET}{own} {SECRET}-3"
            server.script = always(Scripted(401, {"error": {"message": echo}}))
            with make_engine(tmp_path, [place], **settings) as engine, pytest.raises(EngineError) as wrong:
                list(engine.ask(make_role(), make_requests(12), label="test", log=lines.append))
            assert "wrong key: *** ***" in str(wrong.value) and server.base_url.removeprefix("http://") in str(wrong.value)
            assert SECRET not in str(wrong.value)
            server.script = about(11, Scripted(400, {"error": {"message": echo}}))
            with make_engine(tmp_path, [place], **settings) as engine:
                replies = list(engine.ask(make_role(), make_requests(12), label="test", log=lines.append))
            assert sum(r.value is None for r in replies) == 1
            assert SECRET not in str(replies) + str(lines)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"item0" in written and SECRET.encode() not in written


def test_a_pasted_key_is_refused_without_being_shown() -> None:
    text = Path("resources/profiles/local.yaml").read_text()
    for field in ("api_key", "api_key_env"):
        with pytest.raises(ProfileError, match="api_key_env|pattern") as wrong:
            parse_profile(text.replace("    max_model_len: 4096", f"    max_model_len: 4096\n    {field}: {SECRET}"), "mine.yaml")
        assert SECRET not in f"{wrong.value} {wrong.value.__cause__}"


@pytest.mark.parametrize(
    ("url", "chat", "tokenize"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions", "http://h:1/tokenize"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions", "http://h:1/tokenize"),
        ("http://h/api/v1", "http://h/api/v1/chat/completions", "http://h/api/tokenize"),
        ("http://h/v1beta/openai/", "http://h/v1beta/openai/chat/completions", "http://h/v1beta/openai/tokenize"),
        ("http://h/x/chat/completions?v=2", "http://h/x/chat/completions?v=2", "http://h/x/tokenize?v=2"),
        ("http://h?v=2", "http://h/v1/chat/completions?v=2", "http://h/tokenize?v=2"),
    ],
)
def test_addresses_work_as_documentations_print_them(url: str, chat: str, tokenize: str) -> None:
    assert (chat_address(url), tokenize_address(url)) == (chat, tokenize)


def test_addresses_are_shown_without_their_secrets() -> None:
    assert hide_secrets("https://me:pw@h/v1?key=abc&v=2#x") == "https://***@h/v1?key=***&v=***#x"
    assert hide_secrets("https://token@h/v1") == "https://***@h/v1" and hide_secrets("http://h:1/a@b") == "http://h:1/a@b"


def test_the_openai_dialect_sends_what_such_servers_take_and_refuses_by_name_what_they_do_not(tmp_path: Path) -> None:
    class Inner(BaseModel):
        name: str = Field(max_length=9)
        note: str = ""

    class Outer(BaseModel):
        people: list[Inner]

    with DummyServer() as server, make_engine(tmp_path, [server.base_url], dialect="openai") as engine:
        ask(engine, make_requests(1, Outer))
        sent = server.bodies[0]["response_format"]["json_schema"]["schema"]
        assert sent["additionalProperties"] is False and sent["$defs"]["Inner"]["required"] == ["name", "note"]
        assert sent["$defs"]["Inner"]["properties"]["name"] == {"type": "string"}
        assert not {"repetition_penalty", "chat_template_kwargs", "top_k"} & {*server.bodies[0]}
        with pytest.raises(EngineError, match=r"no `repetition_penalty`, and test needs 1\.05"):
            ask(engine, make_requests(1), make_role(repetition_penalty=1.05))
        with pytest.raises(EngineError, match="tokenizer.json"):
            engine.count_tokens("m", ["one"])
    with pytest.raises(ValidationError, match="chat_template_arguments"):
        Model(name="m", revision="1", endpoints=("http://h",), dialect="openai", chat_template_arguments={"a": True})


def test_the_dialect_and_the_bounds_that_it_leaves_out_change_no_key(tmp_path: Path) -> None:
    class Long(BaseModel):
        text: str = Field(min_length=20)

    with DummyServer() as server:
        with make_engine(tmp_path, [server.base_url]) as engine:
            ask(engine, make_requests(3, Long))
            text = server.bodies[0]["response_format"]["json_schema"]["schema"]["properties"]["text"]
            assert text == {"type": "string", "minLength": 20}
        with make_engine(tmp_path, [server.base_url], dialect="openai") as engine:
            ask(engine, make_requests(3, Long))
        assert server.requests == 3


def test_other_forms_of_counting_are_read_or_refused(tmp_path: Path) -> None:
    assert read_count(b'{"count": 2, "tokens": [1, 2]}', "a b") == 2
    assert read_count(b'{"tokens": [1, 2]}', "a b") == read_count(b"[1, 2]", "a b") == 2
    assert read_count(b'{"tokens": []}', "a") is read_count(b"<html>", "a") is read_count(b'{"n": 1}', "a") is None
    assert read_count(b'{"tokens": []}', "") == 0


def test_prices_of_a_model_stand_before_the_engines() -> None:
    engine = EngineConfig(price_per_million_input=1, price_per_million_output=2)
    model = Model(name="m", revision="1", path="m", price_per_million_output=8)
    assert engine.cost(1e6, 1e6) == 3 and engine.cost(1e6, 1e6, model) == 9


def test_what_is_trained_from_a_model_is_served_as_it_is() -> None:
    model = Model(
        name="m", revision="1", path="m", server_args=("--dtype", "half"), chat_template_arguments={"a": 1}, max_model_len=9
    )
    trained = model.trained("t", "2", Path("t"))
    assert (trained.server_args, trained.chat_template_arguments, trained.max_model_len) == (("--dtype", "half"), {"a": 1}, 9)


def test_how_a_model_is_asked_and_served_is_no_identity() -> None:
    model = load_profile("local").models["smollm2"]
    changed = model.model_copy(
        update={"api_key_env": "KEY", "dialect": "openai", "server_args": ("--x",), "price_per_million_input": 9.0}
    )
    assert changed.identity == model.identity == {"name": model.name, "revision": model.revision}


def test_vllms_own_reason_is_shown_with_a_remedy() -> None:
    log = """\
(APIServer pid=4) Traceback (most recent call last):
(APIServer pid=4) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=4)   Value error, User-specified max_model_len (9000) is greater than the derived max_model_len [type=value_error, input=1]
(APIServer pid=4)     For further information visit https://errors.pydantic.dev
"""
    assert "User-specified max_model_len (9000)" in explain_failure(
        log
    ) and "lower the model's `max_model_len`" in explain_failure(log)
    heads = "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8)."
    assert "--tensor-parallel-size" in explain_failure(heads)


def test_a_blank_reply_is_no_choice(tmp_path: Path) -> None:
    with DummyServer(script=about(3, says(" "))) as server, make_engine(tmp_path, [server.base_url]) as engine:
        replies = ask(engine, make_requests(9, None, logprobs=5))
        assert replies["item3"].value is None and replies["item3"].reason == "empty"


def test_a_failure_that_stops_a_call_leaves_its_answers(tmp_path: Path) -> None:
    with DummyServer(script=about(30, Scripted(401, b""))) as server:
        with make_engine(tmp_path, [server.base_url]) as engine, pytest.raises(EngineError):
            ask(engine, make_requests(40))
        answered = len(kept(tmp_path))
        assert 20 <= answered < 40
        server.script, before = None, server.requests
        with make_engine(tmp_path, [server.base_url]) as engine:
            assert isinstance(engine, Engine) and all(
                isinstance(r.value, Verdict) for r in ask(engine, make_requests(40)).values()
            )
        assert server.requests - before == 40 - answered
