"""Rows in, LLM replies out: what F5, F6, P1-P4, E1, B1, Q1-Q4 and V1-V5 share.

What belongs here: reading tables row by row, cutting long texts, keeping each reply together with its row, and the counts by
which a stage proves that nothing was lost. What does not: prompts, schemas, rules of one stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from humanllm_assets.lineage.nodes import Step
from resources.llm.requests import LLMReply, LLMRequest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from resources.llm.asker import Asker
    from resources.profile import Role
    from resources.prompting.lengths import WordLimits
    from resources.prompting.prompts import Prompt

Row = dict[str, Any]
Write = Callable[[str, list[Row]], None]  # (table, rows): appends rows to an output table of the asset
Log = Callable[[str], None]


class Sink:
    """Collects rows per table and hands them to `write` in batches; leaving the context writes what is left."""

    def __init__(self, write: Write, size: int = 500) -> None:
        self._write, self._size = write, size
        self._rows: dict[str, list[Row]] = {}

    def add(self, table: str, row: Row) -> None:
        """Add a row to a table; written once a batch is full."""
        rows = self._rows.setdefault(table, [])
        rows.append(row)
        if len(rows) >= self._size:
            self._write(table, self._rows.pop(table))

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for table, rows in self._rows.items():
                self._write(table, rows)
        self._rows = {}


@dataclass
class Tally:
    """What became of the rows and requests of one call, while it runs; a step's result is `lineage.manifests.Counts`."""

    rows_in: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    asked: int = 0
    """LLM requests."""
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """LLM requests without a valid reply, by prompt."""
    cut_texts: int = 0
    """Requests whose user text was cut to the role's input limit."""
    cleaned: Counter[str] = field(default_factory=Counter)
    """F5: what the deterministic cleaning still found, by kind."""

    def add_requests(self, other: Tally) -> None:
        """Add the LLM requests of calls that were counted apart, because they ran at the same time."""
        self.asked += other.asked
        self.answered += other.answered
        self.failed += other.failed

    def check(self) -> Tally:
        """The tally itself, when nothing was lost.

        Raises:
            RuntimeError: rows in differ from rows kept plus dropped, or requests from replies plus failures.
        """
        if self.rows_in != self.kept + self.dropped.total():
            raise RuntimeError(f"{self.rows_in} rows came in, but {self.kept} were kept and {self.dropped.total()} dropped")
        if self.asked != self.answered + self.failed.total():
            raise RuntimeError(f"{self.asked} requests were made, but {self.answered} answered and {self.failed.total()} failed")
        return self


@dataclass(frozen=True)
class Verbatim:
    """In place of a prompt: the value `text` as the one user message. `name` stands for the prompt in `failures`."""

    name: str
    schema = None

    def render(self, text: str) -> tuple[tuple[str, str], ...]:
        """The message, as (role, content)."""
        return (("user", text),)


@dataclass(frozen=True)
class Question:
    """One LLM request together with the row that it is about."""

    key: str  # id of the item asked for
    subject: str  # user id
    prompt: Prompt | Verbatim
    values: dict[str, Any]  # of the template
    row: Any
    logprobs: int = 0  # alternatives of the first token to report; a free text then comes as `Ranked`
    words: WordLimits | None = None  # how many the answer may have
    schema: type[BaseModel] | None = None  # of the answer, where it is narrower than the prompt's own

    @property
    def request(self) -> LLMRequest:
        """What the engine is asked."""
        messages = self.prompt.render(**self.values)
        schema = self.schema or self.prompt.schema
        return LLMRequest(self.key, messages, schema, self.subject, self.logprobs, self.prompt.name, self.words)


@dataclass(frozen=True)
class Failed:
    """A request that got no valid reply."""

    reason: str


class Ranked(NamedTuple):
    """A free text, and its first token's alternatives with their log-probabilities, best first."""

    text: str
    top: tuple[tuple[str, float], ...] = ()


def replies(
    engine: Asker,
    role: Role,
    questions: Iterable[Question],
    counts: Tally,
    sink: Sink,
    *,
    label: str,
    log: Log,
    total: int | None = None,
) -> Iterator[tuple[Question, Any]]:
    """Ask lazily; yield each question with its value, in the order of the replies.

    The value is the validated answer; for a prompt without schema the text, or `Ranked` where the question asked for
    log-probabilities; or `Failed`, never an answer. A free text that reached the token limit counts as it stands. A failed request
    also becomes a row of the table `failures`. Memory holds only the rows in flight.
    """

    waiting: dict[str, Question] = {}

    def requests() -> Iterator[LLMRequest]:
        for question in questions:
            waiting[question.key] = question
            counts.asked += 1
            yield question.request

    for reply in engine.ask(role, requests(), label=label, log=log, total=total):
        question = waiting.pop(reply.key)
        value = _value_of(question, reply)
        if isinstance(value, Failed):
            name = question.prompt.name
            counts.failed[name] += 1
            sink.add("failures", {"item_id": question.key, "prompt": name, "reason": value.reason, "raw": reply.raw})
        else:
            counts.answered += 1
        yield question, value


def _value_of(question: Question, reply: LLMReply) -> Any:
    value = reply.value
    if value is None and question.prompt.schema is None and reply.reason == "cut_off":
        value = reply.raw
    if value is None:
        return Failed(reply.reason or "invalid")
    if isinstance(value, str) and not value.strip():
        return Failed("empty")
    return Ranked(str(value), reply.top) if question.logprobs else value


def llm_measures(step: Step, counts: Tally) -> None:
    """The measures that every LLM asset's contract reads."""
    step.measures |= {
        "llm_asked": counts.asked,
        "llm_failed": counts.failed.total(),
        "llm_failure_rate": counts.failed.total() / counts.asked if counts.asked else 0.0,
        "cut_texts": counts.cut_texts,
    }
