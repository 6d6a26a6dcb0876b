"""An asker without servers: it answers what the journal knows and counts what it does not.

A step that runs with a `Rehearsal` in the engine's place shows what it would ask, by the engine's own keys, attempts and judging:
both look requests up in the same way. A question without an answer gets a failed reply with the reason `NOT_ASKED`. Nothing is sent, started or written.

What belongs here: looking up. What does not: what the numbers mean for a plan (`humanllm_assets/planning/forecast.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from resources.errors import Explained
from resources.home import Home
from resources.llm.asker import PULLED_AT_ONCE, Asker
from resources.llm.journal import Journal
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMReply, LLMRequest, Log
from resources.models import folder_name
from resources.profile import Profile, Role

NOT_ASKED = "not asked yet"
BYTES_PER_TOKEN = 4  # where no tokenizer is at hand


@dataclass
class Asked:
    """What one `ask` would ask. `known`: answers that the journal holds; `missing`: calls that would be sent for certain (a failed
    one may then be asked again); `keys`: all requests by their key; `open`: those among them without an answer."""

    label: str
    model: str = ""  # its key in the profile
    known: int = 0
    missing: int = 0
    keys: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)


class Rehearsal(Asker):
    """An asker for rehearsals, see the module. Several steps may share one: what an earlier step would ask counts as known to later ones.

    `asked`: one entry per `ask`, in order. `guesses`: how often tokens had to be guessed; texts may then be cut at another place, and the
    questions differ from those of a real run.
    """

    def __init__(self, profile: Profile, home: Home) -> None:
        super().__init__(profile, home.root, Journal(home.root, read_only=True))
        self.asked: list[Asked] = []
        self.guesses = 0
        self._uncountable: set[str] = set()  # models
        self._would_be_known: set[str] = set()  # keys of the journal

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Log, total: int | None = None
    ) -> Iterator[LLMReply]:
        """One reply per request, from the journal or `NOT_ASKED`."""
        call, asked, pending = Call(self.model(role.model), role, label), Asked(label, role.model), iter(requests)
        self.asked.append(asked)
        while chunk := list(islice(pending, PULLED_AT_ONCE)):
            asked.keys.update(request.key for request in chunk)
            known, unknown = self.look_up(call, chunk)
            yield from known
            for open_request in unknown:
                self._count(asked, open_request)
                yield open_request.fail(NOT_ASKED)
        asked.known += call.usage.journal_hits

    def _count(self, asked: Asked, open_request: OpenRequest) -> None:
        if open_request.key() in self._would_be_known:
            asked.known += 1
        else:
            self._would_be_known.add(open_request.key())
            asked.missing += 1
        asked.open.add(open_request.request.key)

    def count_tokens(self, model_key: str, texts: Sequence[str]) -> list[int]:
        """As the engine counts; by the texts' length where the model is not prepared or its server does not answer."""
        model = self.model(model_key)
        prepared = model.path or model.endpoints or (self.home / "models" / folder_name(model.name)).is_dir()
        if prepared and model_key not in self._uncountable:
            try:
                return super().count_tokens(model_key, texts)
            except Explained:
                self._uncountable.add(model_key)
        self.guesses += 1
        return [len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1 for text in texts]
