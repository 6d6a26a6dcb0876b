"""One request on its way to a reply: the question that its attempt asks, the question's key, and the form of the answer.

A cut-off or invalid answer is asked again with a doubled budget and the next seed, and one of the wrong length with that said to
the model too; each attempt is a question of its own in the journal, so a rerun asks nothing.

Identity and execution: the question's key (`journal.answer_key`) is made of the model's name and revision, the rendered
messages, the schema and the sampling. Endpoints, concurrency and everything else in the profile's `engine` section never
reach it.

What belongs here: what is pure. What does not: prompts (`prompting/prompts.py`), sending, what an answer means.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from resources.canonical import canonical_json
from resources.errors import EngineError
from resources.llm.journal import Answer, answer_key
from resources.llm.outcomes import Outcome, Row, find_row
from resources.llm.requests import LLMReply, LLMRequest, UsageStats
from resources.llm.responses import Said, strip_thoughts
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Role
from resources.prompting.lengths import find_cut, name_fault
from resources.prompting.prompts import json_schema

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_ODD_BREAK = re.compile(r"[\x0b\x0c\x85\u2028\u2029]")
_TO_CLEAN = re.compile(f"{_CONTROL.pattern}|{_ODD_BREAK.pattern}")


class Judged(NamedTuple):
    """What an answer is: the table's row, the value where it is one, and what was wrong with its length, for the next attempt."""

    row: Row
    value: BaseModel | str | None
    fault: str = ""


class Form(NamedTuple):
    """A schema in two spellings: canonical, in keys of questions, and in the field that tells it to the server."""

    canonical: bytes
    response_format: orjson.Fragment


@dataclass(frozen=True)
class Call:
    """One `ask`: what is fixed for all of its requests, what they cost so far, and lines for its log from other threads.

    Raises:
        EngineError: the model's servers cannot be told what the role says.
    """

    model: Model
    role: Role
    label: str
    usage: UsageStats = field(default_factory=UsageStats)
    log_lines: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _forms: dict[type[BaseModel], Form] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model.dialect == "openai" and self.role.repetition_penalty != 1.0:
            raise EngineError(
                f"the model `{self.model.name}` is asked in the dialect `openai`, which has no `repetition_penalty`, and {self.label} "
                f"needs {self.role.repetition_penalty}: its answers would not be what the profile says; set it to 1.0, or ask "
                "another model"
            )

    @functools.cached_property
    def model_identity(self) -> bytes:
        """The model as keys of questions name it."""
        return canonical_json(self.model.identity)

    def form(self, schema: type[BaseModel]) -> Form:
        """The schema that answers must follow; made once, because it costs more than all else that is done to ask a question."""
        if schema not in self._forms:
            wanted = json_schema(schema, self.role.max_field_chars)
            told = _for_openai(wanted) if self.model.dialect == "openai" else wanted
            named = {"name": schema.__name__, "schema": told, "strict": True}
            sent = orjson.dumps({"type": "json_schema", "json_schema": named})
            self._forms[schema] = Form(canonical_json(wanted), orjson.Fragment(sent))
        return self._forms[schema]


@dataclass
class OpenRequest:
    """A request without a reply yet. `attempt` counts from 0; tokens are summed over the attempts that were answered."""

    call: Call
    request: LLMRequest
    attempt: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    from_journal: bool = True
    prompt_tokens: int = 0  # of the latest attempt, as the server counted them
    fault: str = ""  # what was wrong with the length of the latest attempt's answer
    _key: str = ""  # of the attempt, once computed
    _judged: tuple[Answer, Judged] | None = None  # the latest answer and what it is

    def sampling(self) -> dict[str, Any]:
        """The sampling of the attempt: the budget doubles and the seed moves on, inside the model's context.

        The seed depends on the messages too. With one seed for all requests a small model gives nearly all of them the same
        label: 20 of 20 in a trial with SmolLM2-135M.
        """
        role = self.call.role
        penalty = {"frequency_penalty": role.frequency_penalty} if role.frequency_penalty else {}
        return {
            "temperature": role.temperature,
            "top_p": role.top_p,
            "repetition_penalty": role.repetition_penalty,
            **penalty,
            "max_tokens": min(role.max_tokens * 2**self.attempt, self.call.model.max_model_len),
            "seed": (_stable_seed(self.request.messages) + role.seed + self.attempt) % 2**31,
        }

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """The messages of the attempt: the request's, with the fault of the answer before, if it had one."""
        if not self.fault:
            return self.request.messages
        *first, (role, content) = self.request.messages
        return (*first, (role, name_fault(content, self.fault)))

    def _room(self, budget: int) -> int:
        """The attempt's budget as far as the model's context has room for it, where an earlier attempt told the prompt's length."""
        said = len(name_fault("", self.fault).encode()) if self.fault else 0  # a token holds at least one byte
        room = self.call.model.max_model_len - self.prompt_tokens - said
        return min(budget, room) if self.prompt_tokens and room > 0 else budget

    def key(self) -> str:
        """The key of the attempt's question in the journal."""
        if not self._key:
            request, call = self.request, self.call
            schema = call.form(request.schema).canonical if request.schema else b"null"
            self._key = answer_key(call.model_identity, self.messages, schema, self.sampling(), request.logprobs)
        return self._key

    def body(self) -> bytes:
        """The attempt as OpenAI-compatible servers read it. Fields that only vLLM knows are sent only where they matter."""
        request, model, sampling = self.request, self.call.model, self.sampling()
        if sampling["repetition_penalty"] == 1.0:
            del sampling["repetition_penalty"]
        sampling["max_tokens"] = self._room(sampling["max_tokens"])
        body: dict[str, Any] = {
            "model": model.name,
            "messages": [{"role": role, "content": content} for role, content in self.messages],
            **sampling,
        }
        if request.schema:
            body["response_format"] = self.call.form(request.schema).response_format
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        if self.call.model.chat_template_arguments:
            body["chat_template_kwargs"] = self.call.model.chat_template_arguments
        return orjson.dumps(body)

    def most_cost(self, config: EngineConfig) -> float:
        """The most that the attempt can cost by the profile's prices: a token holds at least one byte of the prompt, and the
        chat template adds a few to each message."""
        asked = sum(len(content.encode("utf-8", "replace")) + 32 for _, content in self.messages)
        return config.cost(asked, self.sampling()["max_tokens"], self.call.model)

    def answer(self, said: Said) -> Answer:
        """The answer to the attempt that a response holds."""
        return Answer(
            key=self.key(),
            model=self.call.model.name,
            role=self.call.label,
            subject=self.request.subject,
            item_key=self.request.key,
            prompt_tokens=said.input_tokens,
            output_tokens=said.output_tokens,
            finish_reason=said.finish or "stop",
            content=said.text,
            top=said.top,
        )

    def judge(self, answer: Answer) -> Judged:
        """What an answer is, from a server or from the journal."""
        if self._judged is None or self._judged[0] is not answer:
            self._judged = (answer, self._judge(answer))
        return self._judged[1]

    def _judge(self, answer: Answer) -> Judged:
        schema, finish = self.request.schema, answer.finish_reason
        text = strip_thoughts(answer.content, json_wanted=schema is not None)
        if finish == "refusal":
            return Judged(find_row(200, "refusal", finish), None)
        if not text.strip():
            return Judged(find_row(200, "thoughts" if answer.content.strip() else "empty", finish), None)
        if schema is None:
            row = find_row(200, "text", finish)
            return Judged(row, clean_controls(text) if row.outcome is Outcome.ANSWERED else None)
        try:
            value = schema.model_validate_json(text)
        except ValidationError:
            return Judged(find_row(200, "not of the schema", finish), None)
        if fault := find_cut(value, self.call.role.max_field_chars):
            return Judged(find_row(200, "cut at a bound", finish), None, fault)
        if self.request.words and (fault := self.request.words.find_fault(value)):
            return Judged(find_row(200, "of another length", finish), None, fault)
        row = find_row(200, "of the schema", finish)
        return Judged(row, clean_controls(value) if row.outcome is Outcome.ANSWERED else None)

    def take(self, answer: Answer) -> LLMReply | None:
        """The reply, or None when the answer is bad and another attempt is left; the request then stands at that attempt."""
        self.input_tokens += answer.prompt_tokens
        self.output_tokens += answer.output_tokens
        self.prompt_tokens = answer.prompt_tokens
        row, value, fault = self.judge(answer)
        if value is not None:
            plain = strip_thoughts(answer.content, json_wanted=self.request.schema is not None) == answer.content
            return self._reply(value, answer.content, None, answer.top if plain else ())  # else the first token is a thought
        if self.attempt + 1 < self.call.role.attempts:
            self.attempt, self.fault, self._key = self.attempt + 1, fault, ""
            return None
        return self._reply(None, answer.content, row.reason, doubt=row.remedy if row.outcome is Outcome.DOUBTFUL else "")

    def fail(self, reason: str, raw: str = "", doubt: str = "") -> LLMReply:
        """The reply of a request that got no answer."""
        return self._reply(None, raw, reason, doubt=doubt)

    def _reply(
        self,
        value: BaseModel | str | None,
        raw: str,
        reason: str | None,
        top: tuple[tuple[str, float], ...] = (),
        doubt: str = "",
    ) -> LLMReply:
        return LLMReply(
            key=self.request.key,
            value=value,
            raw=raw,
            reason=reason,
            attempts=self.attempt + 1,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            from_journal=self.from_journal,
            top=top,
            doubt=doubt,
        )


def _for_openai(node: Any) -> Any:
    """A schema as plain OpenAI servers take it: no bounds on strings, which are checked here, and every object closed."""
    if isinstance(node, list):
        return [_for_openai(child) for child in node]
    if not isinstance(node, dict):
        return node
    out = {name: _for_openai(child) for name, child in node.items()}
    if out.get("type") == "string":
        out = {name: child for name, child in out.items() if name not in ("minLength", "maxLength")}
    if out.get("type") == "object" and isinstance(out.get("properties"), dict):
        out |= {"additionalProperties": False, "required": list(out["properties"])}
    return out


def clean_controls(value: Any) -> Any:
    """A text, or a model with texts, without control characters: no table, page or terminal can hold them safely."""
    if isinstance(value, str):
        return _CONTROL.sub("", _ODD_BREAK.sub(" ", value)) if _TO_CLEAN.search(value) else value
    if isinstance(value, BaseModel):
        cleaned = {name: new for name, child in value if (new := clean_controls(child)) != child}
        return value.model_copy(update=cleaned) if cleaned else value
    if isinstance(value, list):
        return [clean_controls(child) for child in value]
    return value


@functools.lru_cache(maxsize=256)
def _stable_seed(messages: tuple[tuple[str, str], ...]) -> int:
    return int.from_bytes(hashlib.sha256(orjson.dumps(messages)).digest()[:4], "big")
