"""One request on its way to a reply: the question that its attempt asks, the question's key, and the form of the answer.

A cut-off or invalid answer is asked again with a doubled budget and the next seed; each attempt is a question of its own in the
journal, so a rerun asks nothing.

Identity and execution: the question's key (`journal.answer_key`) is made of the model's name and revision, the rendered
messages, the schema and the sampling. Endpoints, concurrency and everything else in the profile's `engine` section never
reach it.

What belongs here: what is pure. What does not: prompts (`prompting/prompts.py`), sending, what an answer means.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from resources.llm.journal import Answer, answer_key
from resources.llm.requests import LLMReply, LLMRequest, UsageStats
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Role
from resources.prompting.prompts import json_schema


@dataclass(frozen=True)
class Call:
    """One `ask`: what is fixed for all of its requests, what they cost so far, and lines for its log from other threads."""

    model: Model
    role: Role
    label: str
    usage: UsageStats = field(default_factory=UsageStats)
    log_lines: SimpleQueue[str] = field(default_factory=SimpleQueue)


@dataclass
class OpenRequest:
    """A request without a reply yet. `attempt` counts from 0; tokens are summed over the attempts that were answered."""

    call: Call
    request: LLMRequest
    attempt: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    from_journal: bool = True
    _key: str = ""  # of the attempt, once computed

    def sampling(self) -> dict[str, Any]:
        """The sampling of the attempt: the budget doubles and the seed moves on, inside the model's context.

        The seed depends on the messages too. With one seed for all requests a small model gives nearly all of them the same
        label: 20 of 20 in a trial with SmolLM2-135M.
        """
        role = self.call.role
        return {
            "temperature": role.temperature,
            "top_p": role.top_p,
            "repetition_penalty": role.repetition_penalty,
            "max_tokens": min(role.max_tokens * 2**self.attempt, self.call.model.max_model_len),
            "seed": (_stable_seed(self.request.messages) + role.seed + self.attempt) % 2**31,
        }

    def sent_schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must follow, None for free text."""
        return json_schema(self.request.schema, self.call.role.max_field_chars) if self.request.schema else None

    def key(self) -> str:
        """The key of the attempt's question in the journal."""
        if not self._key:
            request, model = self.request, self.call.model.identity
            self._key = answer_key(model, request.messages, self.sent_schema(), self.sampling(), request.logprobs)
        return self._key

    def body(self) -> bytes:
        """The attempt as OpenAI-compatible servers read it. Fields that only vLLM knows are sent only where they matter."""
        request, model, sampling = self.request, self.call.model, self.sampling()
        if sampling["repetition_penalty"] == 1.0:
            del sampling["repetition_penalty"]
        body: dict[str, Any] = {
            "model": model.name,
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            **sampling,
        }
        if request.schema:
            named = {"name": request.schema.__name__, "schema": self.sent_schema(), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        if self.call.model.chat_template_arguments:
            body["chat_template_kwargs"] = self.call.model.chat_template_arguments
        return orjson.dumps(body)

    def most_cost(self, config: EngineConfig) -> float:
        """The most that the attempt can cost by the profile's prices: a token holds at least one byte of the prompt, and the
        chat template adds a few to each message."""
        asked = sum(len(content.encode("utf-8", "replace")) + 32 for _, content in self.request.messages)
        return config.cost(asked, self.sampling()["max_tokens"])

    def read_answer(self, raw: bytes) -> Answer:
        """The answer to the attempt in a chat server's response.

        Raises:
            orjson.JSONDecodeError, KeyError, IndexError, TypeError: the response is not one of a chat server.
        """
        data = orjson.loads(raw)
        choice, usage = data["choices"][0], data.get("usage") or {}
        tokens = (choice.get("logprobs") or {}).get("content") or []
        top = tuple((t["token"], t["logprob"]) for t in tokens[0]["top_logprobs"]) if tokens else ()
        return Answer(
            key=self.key(),
            model=self.call.model.name,
            role=self.call.label,
            subject=self.request.subject,
            item_key=self.request.key,
            prompt_tokens=usage.get("prompt_tokens", 0),
            output_tokens=usage.get("completion_tokens", 0),
            finish_reason=choice.get("finish_reason") or "stop",
            content=choice["message"].get("content") or "",
            top=tuple(sorted(top, key=lambda pair: -pair[1])),
        )

    def judge(self, answer: Answer) -> LLMReply | None:
        """The reply, or None when the answer is bad and another attempt is left; the request then stands at that attempt."""
        request = self.request
        self.input_tokens += answer.prompt_tokens
        self.output_tokens += answer.output_tokens
        value: BaseModel | str | None = None
        reason = None
        if request.schema is None:
            value = answer.content
        elif answer.finish_reason == "length":
            reason = "cut_off"
        else:
            try:
                value = request.schema.model_validate_json(answer.content)
            except ValidationError:
                reason = "invalid"
        if reason and self.attempt + 1 < self.call.role.attempts:
            self.attempt, self._key = self.attempt + 1, ""
            return None
        return self._reply(value, answer.content, reason, answer.top)

    def fail(self, reason: str, raw: str = "") -> LLMReply:
        """The reply of a request that got no answer."""
        return self._reply(None, raw, reason)

    def _reply(
        self, value: BaseModel | str | None, raw: str, reason: str | None, top: tuple[tuple[str, float], ...] = ()
    ) -> LLMReply:
        return LLMReply(
            self.request.key, value, raw, reason, self.attempt + 1, self.input_tokens, self.output_tokens, self.from_journal, top
        )


@functools.lru_cache(maxsize=256)
def _stable_seed(messages: tuple[tuple[str, str], ...]) -> int:
    return int.from_bytes(hashlib.sha256(orjson.dumps(messages)).digest()[:4], "big")
