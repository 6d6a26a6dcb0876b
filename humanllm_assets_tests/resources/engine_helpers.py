"""What the engine's tests share: a minimal profile, a schema, and requests about made-up people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from resources.llm.engine import Engine
from resources.llm.requests import LLMReply, LLMRequest
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Profile, Role


class Verdict(BaseModel):
    reason: str = Field(min_length=10, max_length=80)
    score: int = Field(ge=1, le=10)


def make_profile(
    endpoints: list[str], *, concurrency: int = 8, patience_s: float = 300, timeout_s: float = 60, **model: Any
) -> Profile:
    return Profile.model_construct(
        models={"m": Model.model_validate({"name": "dummy", "revision": "1", "endpoints": endpoints, **model})},
        engine=EngineConfig(concurrency=concurrency, patience_s=patience_s, timeout_s=timeout_s),
    )


def make_engine(home: Path, endpoints: list[str], **settings: Any) -> Engine:
    return Engine(make_profile(endpoints, **settings), home)


def make_role(**changes: Any) -> Role:
    return Role(**{"model": "m", "max_tokens": 64, **changes})


def make_requests(count: int, schema: type[BaseModel] | None = Verdict, start: int = 0, **changes: Any) -> Iterator[LLMRequest]:
    for i in range(start, start + count):
        messages = (("system", "You judge."), ("user", f"Person {i} walks a dog in the park every single morning."))
        yield LLMRequest(key=f"item{i}", messages=messages, schema=schema, subject=f"user{i % 5}", **changes)


def ask(engine: Engine, requests: Iterator[LLMRequest], role: Role | None = None) -> dict[str, LLMReply]:
    replies = list(engine.ask(role or make_role(), requests, label="test", log=lambda _: None))
    assert len({r.key for r in replies}) == len(replies)
    return {r.key: r for r in replies}
