"""A text of the wrong length is asked for again, with what was wrong said to the model, and is no answer if that does not help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from humanllm_assets_tests.resources.engine_helpers import ask, make_engine, make_requests, make_role
from resources.llm.dummy_server import DummyServer, Script, Scripted
from resources.prompting.lengths import WordLimits, find_cut, name_fault


class Nested(BaseModel):
    title: str
    parts: list[str]


class Text(BaseModel):
    text: str
    inner: Nested | None = None


def say(*texts: str) -> Script:
    """A server that says one text after the other, the last one for ever."""

    def script(body: dict[str, Any], number: int, _: Any) -> Scripted:
        content = json.dumps({"text": texts[min(number, len(texts)) - 1]})
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return Scripted(200, {"model": "dummy", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})

    return script


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Text(text="a b c"), ""),
        (Text(text="a b"), "it had 2 words, and 3 are the fewest"),
        (Text(text="a b c d e"), "it had 5 words, and 4 are the most"),
        (Text(text="a", inner=Nested(title="b", parts=["c", "d"])), ""),
        (Text(text="a", inner=Nested(title="b", parts=["c d", "e"])), "it had 5 words, and 4 are the most"),
        ("a b", "it had 2 words, and 3 are the fewest"),
    ],
)
def test_words_are_counted_over_all_texts(answer: Any, fault: str) -> None:
    assert WordLimits(3, 4).find_fault(answer) == fault
    assert WordLimits().find_fault(answer) == ""


def test_a_text_at_the_bound_is_cut_wherever_it_stands() -> None:
    assert find_cut(Text(text="123456789"), 10) == "" and find_cut(Text(text="1234567890"), None) == ""
    assert "10 characters" in find_cut(Text(text="1234567890"), 10)
    assert find_cut(Text(text="", inner=Nested(title="", parts=["", "12345678901"])), 10)


@pytest.mark.parametrize(
    ("bad", "limits", "role", "reason"),
    [
        ("one two three four", {"words": WordLimits(None, 3)}, {}, "wrong_length"),
        ("one", {"words": WordLimits(2, 3)}, {}, "wrong_length"),
        ("x" * 12, {}, {"max_field_chars": 12}, "cut_off"),
    ],
)
def test_a_wrong_length_is_asked_again_with_the_limit_named(
    tmp_path: Path, bad: str, limits: dict[str, Any], role: dict[str, Any], reason: str
) -> None:
    with DummyServer(script=say(bad, "one two")) as server, make_engine(tmp_path / "good", [server.base_url]) as engine:
        reply = ask(engine, make_requests(1, Text, **limits), make_role(**role))["item0"]
        assert reply.value == Text(text="one two") and reply.attempts == 2
        first, second = ([m["content"] for m in body["messages"]] for body in server.bodies)
        assert second[0] == first[0] and second[1].startswith(first[1]) and "could not be used" in second[1]
        assert ("words" if limits else "12 characters") in second[1].removeprefix(first[1])
        again = ask(engine, make_requests(1, Text, **limits), make_role(**role))["item0"]
        assert again.from_journal and again.value == reply.value and server.requests == 2
    with DummyServer(script=say(bad)) as server, make_engine(tmp_path / "bad", [server.base_url]) as engine:
        reply = ask(engine, make_requests(1, Text, **limits), make_role(**role))["item0"]
        assert (reply.value, reply.reason, reply.attempts) == (None, reason, 3) and bad in reply.raw


def test_the_limit_is_no_part_of_the_first_question(tmp_path: Path) -> None:
    """So that a profile with other limits asks no question again whose answer keeps them."""
    with DummyServer(script=say("one two")) as server, make_engine(tmp_path, [server.base_url]) as engine:
        for words in (None, WordLimits(1, 2), WordLimits(2, 400)):
            assert ask(engine, make_requests(1, Text, words=words))["item0"].value
        assert server.requests == 1


def test_what_is_said_of_a_fault_has_room_in_the_context(tmp_path: Path) -> None:
    with DummyServer(script=say("one two three")) as server:
        with make_engine(tmp_path, [server.base_url], max_model_len=150) as engine:
            ask(engine, make_requests(1, Text, words=WordLimits(None, 1)))
        said = len(name_fault("", WordLimits(None, 1).find_fault("one two three")).encode())
        assert [b["max_tokens"] for b in server.bodies] == [64, min(128, 150 - 9 - said), min(150, 150 - 9 - said)]
