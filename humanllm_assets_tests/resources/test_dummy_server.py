"""Laws of the made-up server: deterministic, schema-valid, honest about usage."""

from __future__ import annotations

import json
import urllib.request
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, Field

from resources.llm.dummy_server import DummyServer, answer_to
from resources.prompting.prompts import json_schema


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(gt=17, lt=20)


class Everything(BaseModel):
    text: str = Field(min_length=60, max_length=70)
    mood: Mood
    maybe: str | None
    yes: bool
    share: float = Field(ge=0, le=1)
    people: list[Person] = Field(min_length=2, max_length=3)


def body(seed: int = 0, schema: type[BaseModel] | None = Everything, text: str = "The cat sat on the mat.") -> dict[str, Any]:
    made: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "seed": seed, "temperature": 0.7}
    if schema:
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": json_schema(schema)}}
    return made


def test_answers_are_valid_deterministic_and_differ_by_seed() -> None:
    contents = [answer_to(body(seed))[0] for seed in range(50)]
    assert contents == [answer_to(body(seed))[0] for seed in range(50)] and len(set(contents)) > 45
    for content in contents:
        Everything.model_validate_json(content)


def test_options_are_answered_by_a_letter_and_other_texts_by_prose() -> None:
    asked = "Which?\nA. one\nB. two\nAnswer with the letter alone."
    assert {answer_to(body(seed, None, asked))[0] for seed in range(20)} == {"A", "B"}
    assert len(answer_to(body(0, None))[0]) > 30


def test_protocol_and_stats() -> None:
    with DummyServer(model="cat") as server:
        sent = urllib.request.Request(f"{server.base_url}/v1/chat/completions", json.dumps(body()).encode())
        reply = json.load(urllib.request.urlopen(sent))
        assert reply["choices"][0]["finish_reason"] == "stop" and reply["usage"]["prompt_tokens"] == 6
        assert json.load(urllib.request.urlopen(f"{server.base_url}/v1/models"))["data"][0]["id"] == "cat"
        assert json.load(urllib.request.urlopen(f"{server.base_url}/stats"))["requests"] == 1
        assert urllib.request.urlopen(f"{server.base_url}/health").status == 200


def test_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown faults"):
        DummyServer(faults={"fire": 1.0})
