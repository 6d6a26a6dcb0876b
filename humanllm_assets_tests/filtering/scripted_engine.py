"""An engine without a server for tests of the science: it answers each request by a function, in reverse order per window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from resources.llm.requests import LLMReply, LLMRequest
from resources.profile import Role

ROLE = Role(model="tiny")
Answer = Callable[[LLMRequest], Any]


class Fails(str):
    """An answer that stands for a failed request; its text is the reason."""


class ScriptedEngine:
    """`answer` gives a value that the request's schema validates, or `Fails`. A token is a word."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[LLMRequest] = []

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Callable[[str], None], total: int | None = None
    ) -> Iterator[LLMReply]:
        pending = iter(requests)
        while window := list(islice(pending, 3)):
            for request in reversed(window):  # replies come in any order
                self.requests.append(request)
                yield self._reply(request)

    def _reply(self, request: LLMRequest) -> LLMReply:
        value, reason = self._answer(request), None
        if isinstance(value, Fails):
            value, reason = None, str(value)
        elif request.schema:
            value = request.schema.model_validate(value)
        return LLMReply(
            key=request.key,
            value=value,
            raw="raw",
            reason=reason,
            attempts=1,
            input_tokens=1,
            output_tokens=1,
            from_journal=False,
        )

    def count_tokens(self, model_key: str, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Tables(dict[str, list[dict[str, Any]]]):
    """The `write` of a stage: rows by table."""

    def __call__(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.setdefault(table, []).extend(rows)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.get(table, [])


def user_text(request: LLMRequest) -> str:
    return dict(request.messages)["user"]
