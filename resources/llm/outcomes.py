"""What becomes of a question, for everything that a server can say: one table, `TABLE`, read from the top.

A question is *answered*; or it *failed* for its own content, which is recorded with the raw text and counted; or it was *not asked*:
what is set up wrongly, or passes, is nobody's answer, so the step stops or waits and publishes nothing. `docs/answers.md` shows the
table to people; a test keeps the two equal.

What belongs here: the table, and the words by which errors of one status are told apart. What does not: reading a response
(`responses.py`), waiting (`transport.py`).
"""

from __future__ import annotations

import functools
import re
from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    """What becomes of a question."""

    ANSWERED = "answered"
    FAILED = "failed"
    """For its own content: recorded and counted."""
    DOUBTFUL = "failed, or set-up"
    """Failed when other questions are answered. When none is, the set-up is to blame, and the step stops."""
    PASSING = "tried again"
    """Elsewhere and later; what follows when that does not help stands in `Row.at_last`."""
    SET_UP = "set-up"
    """This server cannot answer any question: it is taken out, and the step stops when no other is left."""


class Row(NamedTuple):
    """One line of the table; `*` stands for anything."""

    status: str
    """Of HTTP, or of the error inside a response with status 200; `4xx` = any other from 400 to 499; `none` = no response."""
    body: str
    """Form of the response, see `BODIES`."""
    finish: str
    """Why the text ends, see `FINISHES`."""
    outcome: Outcome
    reason: str = ""
    """What `failures` says; `refused` gets the status."""
    at_last: Outcome = Outcome.SET_UP
    """What a passing failure becomes when it does not pass."""
    kept: bool = False
    """Whether the journal keeps the response, so that it is never paid for again."""
    remedy: str = ""
    """What to do when the step stops."""


BODIES = {
    "text": "free text, without the thoughts before it",
    "of the schema": "JSON that the schema of the question allows",
    "not of the schema": "anything else where JSON was asked for",
    "cut at a bound": "JSON of the schema with a text that a decoder had to close at the role's `max_field_chars`",
    "of another length": "JSON of the schema with more or fewer words than asked for",
    "empty": "no text, or blanks alone",
    "thoughts": "thoughts alone, inside the text or beside it",
    "refusal": "the field `refusal` in place of a text",
    "no choice": "`choices` is empty or null",
    "malformed": "no response of a chat server: HTML, broken JSON, a text of another type",
    "other model": "the response names another model than was asked",
    "too long": "an error that speaks of the context's length",
    "filtered": "an error that speaks of a content policy",
    "quota": "an error that speaks of used-up quota or money",
    "error": "any other error",
    "no connection": "the server takes no connection",
    "timeout": "nothing came within `engine.timeout_s`",
    "broken connection": "the connection ended early",
}

FINISHES = {
    "end": ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed", "done", "finished", ""),
    "length": ("length", "max_tokens", "max_length", "model_length", "max_output_tokens"),
    "filter": ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal"),
    "fault": ("abort", "aborted", "error", "cancelled", "canceled", "insufficient_system_resource", "other_error"),
}
"""Finish reasons by what they mean, in lower case; everything else is `other`. Servers that give none mean an end."""

_THINKING = "switch thinking off with the model's `chat_template_arguments` (Qwen3: {enable_thinking: false}), or raise `max_tokens` of the role"
_SETTINGS = "correct the model's settings in the profile, or the server's (its chat template, `dialect`, `max_model_len`)"
_SERVER = "look at the server's log, then run the step again"
_LATER = "run the step again later, or raise `engine.patience_s`"
_MONEY = "top up the account, or ask another server"
_KEY = "name the environment variable that holds the server's key in the model's `api_key_env`, or correct the key there"
_NAME = "correct the model's `name` or `endpoints` in the profile, or the server's served model name"
_ADDRESS = "correct `endpoints` in the profile"

A, F, D, P, S = Outcome.ANSWERED, Outcome.FAILED, Outcome.DOUBTFUL, Outcome.PASSING, Outcome.SET_UP

TABLE: tuple[Row, ...] = (
    # What the server said about the text comes first: an aborted or filtered text is no answer, whatever it holds.
    Row("200", "*", "fault", P, at_last=S, remedy=_SERVER),
    Row("200", "refusal", "*", F, "refusal", kept=True),
    Row("200", "*", "filter", F, "filtered", kept=True),
    Row("200", "text", "end", A, kept=True),
    Row("200", "text", "length", A, kept=True),  # the role's `max_tokens` is how much is asked for
    Row("200", "of the schema", "end", A, kept=True),
    Row("200", "not of the schema", "end", F, "invalid", kept=True),
    Row("200", "cut at a bound", "end", F, "cut_off", kept=True),
    Row("200", "of another length", "end", F, "wrong_length", kept=True),
    Row("200", "of the schema", "length", F, "cut_off", kept=True),
    Row("200", "cut at a bound", "length", F, "cut_off", kept=True),
    Row("200", "of another length", "length", F, "cut_off", kept=True),
    Row("200", "not of the schema", "length", F, "cut_off", kept=True),
    Row("200", "thoughts", "*", D, "thoughts", remedy=_THINKING),
    Row("200", "empty", "end", D, "empty", remedy=_SETTINGS),
    Row("200", "empty", "length", D, "empty", remedy=_SETTINGS),
    Row("200", "*", "other", D, "ended_otherwise", remedy=_SETTINGS),
    Row("200", "no choice", "*", P, "no_choice", at_last=D, remedy=_SERVER),
    Row("200", "other model", "*", S, remedy=_NAME),
    Row("200", "malformed", "*", P, "malformed", at_last=D, remedy=_ADDRESS),
    Row("*", "quota", "*", S, remedy=_MONEY),
    Row("408", "*", "*", P, at_last=S, remedy=_LATER),
    Row("409", "*", "*", P, at_last=S, remedy=_LATER),
    Row("425", "*", "*", P, at_last=S, remedy=_LATER),
    Row("429", "*", "*", P, at_last=S, remedy=_LATER),
    Row("*", "filtered", "*", F, "refused"),
    Row("*", "too long", "*", D, "too_long", remedy="lower `max_input_tokens` of the role, or raise the server's context length"),
    Row("401", "*", "*", S, remedy=_KEY),
    Row("402", "*", "*", S, remedy=_MONEY),
    Row("403", "*", "*", S, remedy=_KEY),
    Row("404", "*", "*", S, remedy=_NAME),
    Row("405", "*", "*", S, remedy=_ADDRESS),
    Row("407", "*", "*", S, remedy=_ADDRESS),
    Row("410", "*", "*", S, remedy=_NAME),
    Row("3xx", "*", "*", S, remedy=_ADDRESS),
    Row("500", "*", "*", P, "refused", at_last=D, remedy=_SERVER),  # one question can be what the server breaks on
    Row("5xx", "*", "*", P, at_last=S, remedy=_LATER),
    Row("4xx", "*", "*", D, "refused", remedy=_SETTINGS),
    Row("none", "no connection", "*", P, at_last=S, remedy="start the servers or " + _ADDRESS),
    Row("none", "timeout", "*", P, at_last=S, remedy="look at the servers, or raise `engine.timeout_s`"),
    Row("none", "broken connection", "*", P, at_last=S, remedy=_SERVER),
)

_QUOTA = re.compile(
    r"insufficient_quota|billing_|insufficient[ _]balance|credit balance|account_deactivated|access_terminated", re.I
)
_TOO_LONG = re.compile(
    r"context_length|context length|context window|context size|maximum model length|max_model_len|too many tokens|string_above_max"
    r"|prompt is too long|input is too long|longer than the maximum|exceeds? the (maximum|model)",
    re.I,
)
_FILTERED = re.compile(r"content_filter|content[ _]policy|content management policy|moderation|flagged|safety_violation", re.I)


@functools.lru_cache(maxsize=1024)
def find_row(status: int | None, body: str, finish: str = "") -> Row:
    """The first row that fits. status: None when there was no response; body: of `BODIES`; finish: as the server gave it."""
    named = "none" if status is None else str(status)
    group = "none" if status is None else f"{status // 100}xx"
    kind = finish_kind(finish)
    for row in TABLE:
        if row.status in ("*", named, group) and row.body in ("*", body) and row.finish in ("*", kind):
            return row
    return find_row(200, "malformed")  # a status that no server should send, such as 204


def finish_kind(finish: str) -> str:
    """`end`, `length`, `filter`, `fault` or `other`."""
    return next((kind for kind, names in FINISHES.items() if finish.lower() in names), "other")


def error_body(words: str) -> str:
    """The form of an error by its words: `quota`, `filtered`, `too long` or `error`. words: type, code and message together."""
    forms = (("quota", _QUOTA), ("filtered", _FILTERED), ("too long", _TOO_LONG))
    return next((form for form, pattern in forms if pattern.search(words)), "error")
