"""What a step sees of the models: which there are, what the journal answers, and which answers were used.

What belongs here: what needs no server. What does not: answers that the journal lacks (`engine.py` gets them from servers,
`rehearsal.py` counts them).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from resources.errors import EngineError
from resources.llm.counting import ServerCounter, make_counter
from resources.llm.journal import Journal
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMReply, LLMRequest, Log, UsageStats
from resources.llm.used_answers import UsedAnswers
from resources.profile import Model, Profile, Role
from resources.prompting.control_tokens import break_control_tokens
from resources.prompting.tokens import FolderCounter

PULLED_AT_ONCE = 200  # requests looked up in the journal together


class Looked(NamedTuple):
    """What the journal made of requests: replies, and requests that have reached an attempt without an answer."""

    replies: list[LLMReply]
    open: list[OpenRequest]


class Asker(ABC):
    """The models of a profile and the answers known about them. Close it, or use it as a context manager.

    `calls`: label and cost of every `ask`, in order.
    """

    def __init__(self, profile: Profile, home: Path, journal: Journal) -> None:
        self.home = home
        self.config = profile.engine
        self.journal = journal
        self.calls: list[tuple[str, UsageStats]] = []
        self._used = UsedAnswers()
        self._models: dict[str, Model] = dict(profile.models)
        self._counters: dict[str, FolderCounter | ServerCounter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal and the connections by which tokens were counted."""
        for counter in self._counters.values():
            if isinstance(counter, ServerCounter):
                counter.close()
        self.journal.close()
        self._used.close()

    @abstractmethod
    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Log, total: int | None = None
    ) -> Iterator[LLMReply]:
        """Yield one reply per request, in any order.

        Requests are pulled lazily, in the caller's thread.

        Args:
            label: of the call; it is stored with the answers.
            total: number of requests where it is known, for an estimate of the time left.
        """

    def model(self, key: str) -> Model:
        """The model of a key.

        Raises:
            EngineError: there is none.
        """
        if key not in self._models:
            raise EngineError(
                f"the model `{key}` is not defined; known: {', '.join(sorted(self._models))}; add it to the profile"
            )
        return self._models[key]

    def add_model(self, key: str, model: Model) -> None:
        """Make a model askable that the profile does not list, such as a merged checkpoint; its revision must be its digest.

        Raises:
            EngineError: the key has another model.
        """
        if self._models.setdefault(key, model) != model:
            raise EngineError(f"the model `{key}` is already defined differently; use another key")

    def count_tokens(self, model_key: str, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without special tokens: from its folder, else from its server.

        Raises:
            ModelError: the model has a folder without tokenizer.
            EngineError: the model has endpoints alone, and none of them counts.
        """
        if model_key not in self._counters:
            self._counters[model_key] = make_counter(self.model(model_key), self.home, self.config)
        return self._counters[model_key](texts)

    def used_so_far(self) -> int:
        """A mark to give to `used_since`."""
        return self._used.mark()

    def used_since(self, mark: int) -> bytes:
        """Key and digest (32 bytes each) of every journal answer that replies were made from since the mark."""
        return self._used.since(mark)

    def look_up(self, call: Call, requests: Iterable[LLMRequest]) -> Looked:
        """What the journal knows of requests; bad answers are followed to their next attempts."""
        looked = Looked([], [])
        todo = [OpenRequest(call, _break_tokens(request)) for request in requests]
        while todo:
            keys = [r.key() for r in todo]
            found = self.journal.get_many(keys)
            again = []
            for open_request, key in zip(todo, keys, strict=True):
                if key not in found:
                    looked.open.append(open_request)
                    continue
                call.usage.journal_hits += 1
                self._used.note(found[key])
                reply = open_request.take(found[key])
                if reply:
                    looked.replies.append(reply)
                else:
                    again.append(open_request)
            todo = again
        return looked


def _break_tokens(request: LLMRequest) -> LLMRequest:
    """The request, in which no text ends its turn or opens another one."""
    messages = tuple((role, break_control_tokens(content)) for role, content in request.messages)
    return request if messages == request.messages else replace(request, messages=messages)
