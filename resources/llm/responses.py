"""What a chat server's response holds, whatever form its fields have.

What belongs here: reading. What does not: what follows from it (`outcomes.py`), sending (`transport.py`).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import orjson

from resources.llm.outcomes import error_body

Json = Any
Top = tuple[tuple[str, float], ...]
SHOWN = 2000  # characters of a response that is no answer, at most
_STATUS_OF = {  # for errors that come with status 200 and name no status
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "model_not_found": 404,
    "NotFoundError": 404,
}
_NO_STATUS = 502  # an error in a response with status 200 that says nothing of itself: a router lost the server behind it
_THOUGHTS = re.compile(r"\A\s*<(think|thinking|thought|reasoning)>(?:.*?</\1>|.*\Z)", re.S)
_LATE_END = re.compile(r"\A.*?</(?:think|thinking)>", re.S)  # the chat template opened the thoughts in the prompt
_VERSION = re.compile(r"[-@:](\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{4,8}|latest)$")


class Said(NamedTuple):
    """One response. Of a text all fields count; of anything else `status`, `body` and `text`, the server's own words."""

    status: int | None
    """Of HTTP, or of the error that stands in a response with status 200; None = there was no response."""
    body: str
    """Form of what is no text (`outcomes.BODIES`); "" for a text."""
    text: str
    finish: str = ""
    """As the server gave it."""
    top: Top = ()
    """The first token's (token, log-probability) pairs, best first; empty where they are not known for certain."""
    input_tokens: int = 0
    output_tokens: int = 0


def read_response(status: int, raw: bytes, model_name: str) -> Said:
    """What a response says to a question that `model_name` was asked."""
    data = _parse(raw)
    shown = raw[:SHOWN].decode("utf-8", "replace")
    error = data.get("error") if isinstance(data, dict) else None
    if status != 200 or (error and not data.get("choices")):
        return _read_error(status, data, shown)
    if not isinstance(data, dict) or "choices" not in data:
        return Said(status, "malformed", shown)
    answered_by = data.get("model")
    if isinstance(answered_by, str) and answered_by and not is_same_model(model_name, answered_by):
        return Said(status, "other model", f"the answer is by the model `{answered_by}`")
    if not data["choices"]:
        return Said(status, "no choice", shown)
    try:
        return _read_choice(data["choices"][0], data.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError):
        return Said(status, "malformed", shown)


def is_same_model(asked: str, answered: str) -> bool:
    """Whether a response names the model that was asked: the same name, with or without its owner, or a dated version of a name
    that has no date."""
    asked, answered = asked.lower(), answered.lower()
    if "/" not in asked or "/" not in answered:
        asked, answered = asked.rpartition("/")[2], answered.rpartition("/")[2]
    if asked.endswith("-latest"):
        asked = asked.removesuffix("-latest")
    return answered in (asked, f"{asked}:latest") or (not _VERSION.search(asked) and _VERSION.sub("", answered) == asked)


def strip_thoughts(text: str, *, json_wanted: bool) -> str:
    """A text without the thoughts before it; thoughts without an end are all of it.

    json_wanted: an end of thoughts without a beginning then counts only where the text does not begin as JSON does.
    """
    if "<" not in text:
        return text
    stripped = _THOUGHTS.sub("", text, count=1)
    if stripped == text and not (json_wanted and text.lstrip().startswith(("{", "["))):
        stripped = _LATE_END.sub("", text, count=1)
    return text if stripped == text else stripped.strip()


def read_words(raw_text: str) -> str:
    """The server's own words in the text of an error, in at most 300 characters of one line."""
    message = _error_fields(_parse(raw_text.encode("utf-8", "replace")))["message"]
    return " ".join((message or raw_text).split())[:300]


def _parse(raw: bytes) -> Json:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        # NaN, Infinity and halves of surrogate pairs, which are no JSON, come from servers all the same.
        return json.loads(raw.decode("utf-8", "replace"))
    except ValueError:
        return None


def _read_error(status: int, data: Json, shown: str) -> Said:
    fields = _error_fields(data)
    if status == 200:
        code = fields["code"]
        named = int(code) if code.isdigit() and 300 <= int(code) < 600 else None
        status = named or _STATUS_OF.get(code) or _STATUS_OF.get(fields["type"]) or _NO_STATUS
    return Said(status, error_body(" ".join(fields.values()) or shown), shown)


def _error_fields(data: Json) -> dict[str, str]:
    """Code, type and message of an error: OpenAI's object, or a text in its place, or the fields that other servers use."""
    if isinstance(data, list) and data:  # Gemini
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("msg") or ""
        return {"code": str(error.get("code") or ""), "type": str(error.get("type") or ""), "message": _as_text(message)}
    return {"code": "", "type": "", "message": error if isinstance(error, str) else ""}


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _read_choice(choice: Json, usage: Json) -> Said:
    message = choice["message"]
    text, finish = _join_parts(message.get("content")), str(choice.get("finish_reason") or "")
    thoughts = _join_parts(message.get("reasoning_content") or message.get("reasoning"))
    refusal = message.get("refusal")
    usage = usage if isinstance(usage, dict) else {}
    top = _read_top(choice.get("logprobs"))
    if not text.strip() and isinstance(refusal, str) and refusal:
        text, finish = refusal, "refusal"
    elif not text.strip() and (message.get("tool_calls") or message.get("function_call")):
        text, finish = "", "tool_calls"
    elif not text.strip() and thoughts.strip():
        text = f"<think>{thoughts}</think>"  # as models write thoughts into the text: the raw text of a failure shows them
    tokens = [_as_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    return Said(200, "", text, finish, top, *tokens)


def _join_parts(content: Json) -> str:
    """A text, or the texts in a list of parts without those of thoughts.

    Raises:
        TypeError: neither.
    """
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [p if isinstance(p, str) else p.get("text") for p in content]
        content = "".join(p for p in parts if isinstance(p, str))
    if not isinstance(content, str):
        raise TypeError(type(content).__name__)
    return _mend(content)


def _mend(text: str) -> str:
    """A text that can be stored: halves of surrogate pairs are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_count(value: Json) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else 0


def _read_top(logprobs: Json) -> Top:
    """The first token's alternatives. Nothing where a part is missing or is no number: a rank among the rest would be invented."""
    if not isinstance(logprobs, dict):
        return ()
    first = logprobs.get("content") or logprobs.get("top_logprobs")
    first = first[0] if isinstance(first, list) and first else None
    if not isinstance(first, dict):
        return ()
    if "top_logprobs" in first or "token" in first:
        listed = first.get("top_logprobs")
        pairs = [(t.get("token"), t.get("logprob")) for t in listed or [] if isinstance(t, dict)]
    else:  # the form of the older completions API: one object of tokens and numbers
        pairs = list(first.items())
    known = [(_mend(t), float(p)) for t, p in pairs if isinstance(t, str) and isinstance(p, int | float) and math.isfinite(p)]
    return tuple(sorted(known, key=lambda pair: -pair[1])) if len(known) == len(pairs) else ()
