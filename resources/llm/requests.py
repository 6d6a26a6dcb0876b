"""What is asked and replied, and what it cost.

What belongs here: the plain values between a stage and an engine. What does not: how a reply is got (`engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from pydantic import BaseModel

from resources.prompting.lengths import WordLimits

Log = Callable[[str], None]


@dataclass(frozen=True)
class LLMRequest:
    """One question. `key`: the item's id, unique inside one call. `messages`: (role, content) pairs. `schema`: None for free
    text. `subject`: the user it is about, stored with the answer for takedown. `logprobs`: how many alternatives of the first
    token to report. `prompt`: the template's name, for people. `words`: how many the answer may have."""

    key: str
    messages: tuple[tuple[str, str], ...]
    schema: type[BaseModel] | None
    subject: str = ""
    logprobs: int = 0
    prompt: str = ""
    words: WordLimits | None = None


@dataclass(frozen=True)
class LLMReply:
    """The outcome of one request. `value` is None when it failed; then `reason` is one of the table's (`outcomes.py`), such as
    `cut_off`, `wrong_length`, `invalid` or `refused:<status>`, and `raw` holds the last raw text. Tokens are summed over all attempts. `top`: the
    first token's (token, log-probability) pairs, best first. `doubt`: what to do if every request failed like this one, because
    then the set-up is to blame; empty when it failed for its own content."""

    key: str
    value: BaseModel | str | None
    raw: str
    reason: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    from_journal: bool
    top: tuple[tuple[str, float], ...] = ()
    doubt: str = ""


@dataclass
class UsageStats:
    """What one `ask` cost. `calls`: answers got from servers; `journal_hits`: answers found; `retries`: requests sent again
    after a connection error, 429 or 5xx, and attempts beyond the first; `failures`: requests without a valid answer. Tokens
    and `seconds` count what the servers did, not what the journal gave."""

    calls: int = 0
    journal_hits: int = 0
    retries: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, int | float]:
        """The fields by name, as manifests keep them."""
        return asdict(self)
