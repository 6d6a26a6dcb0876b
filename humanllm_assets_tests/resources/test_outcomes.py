"""What becomes of a question for everything that a server can say: every row of the table, read from real responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from humanllm_assets_tests.resources.engine_helpers import Verdict, make_profile, make_requests, make_role
from resources.llm.open_request import Call, OpenRequest
from resources.llm.outcomes import BODIES, FINISHES, TABLE, Outcome, Row, find_row
from resources.llm.responses import Said, is_same_model, read_response, read_words, strip_thoughts
from resources.profile import PROJECT_ROOT
from resources.prompting.lengths import WordLimits

VALID = '{"reason": "He walks a dog every day.", "score": 8}'


def text(
    content: Any = VALID, finish: str | None = "stop", *, message: dict[str, Any] | None = None, **top: Any
) -> tuple[int, Any]:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": content}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return 200, {"id": "x", "model": "dummy", "choices": [choice], "usage": usage, **top}


def error(status: int, message: str = "no", **fields: Any) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "x", **fields}}


def in_200(message: str, code: Any) -> tuple[int, Any]:
    return 200, {"id": None, "choices": None, "usage": None, "error": {"message": message, "code": code}}


FREE, JSON = None, Verdict
THOUGHTS = {"content": None, "reasoning_content": "hm"}
# (row: status, body, finish), schema, responses that must lead to it
EXAMPLES: list[tuple[tuple[str, str, str], Any, list[tuple[int | None, Any]]]] = [
    (("200", "*", "fault"), FREE, [text("half a", "abort"), text("half a", "error"), text(None, "insufficient_system_resource")]),
    (("200", "refusal", "*"), FREE, [text(message={"content": None, "refusal": "I can't help with that."})]),
    (("200", "*", "filter"), FREE, [text("half a", "content_filter"), text(None, "SAFETY"), text("", "content_filter")]),
    (
        ("200", "text", "end"),
        FREE,
        [
            text("A"),
            text("A", "eos_token"),
            text("A", None),
            text("A", model=None),
            text("A", model="dummy-2026-01-31"),
            text([{"type": "text", "text": "A"}]),
            text(["A"]),
            text("A", usage=None),
            text("A", error=None),
            text("<think>hm</think>\n\nA"),
            text("hm</think>A"),
            text([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]),
        ],
    ),
    (("200", "text", "length"), FREE, [text("half a", "length"), text("half a", "MAX_TOKENS")]),
    (
        ("200", "of the schema", "end"),
        JSON,
        [text(), text(f"<think>\n\n</think>\n\n{VALID}"), text([{"text": VALID}]), text(VALID + "\n\n")],
    ),
    (
        ("200", "not of the schema", "end"),
        JSON,
        [text("Sure!"), text('{"score": 8}'), text("{}"), text(f"{VALID} Done."), text(f"```json\n{VALID}\n```")],
    ),
    (("200", "cut at a bound", "end"), JSON, [text(VALID.replace("He", "He" * 12))]),
    (("200", "of another length", "end"), JSON, [text(VALID.replace("every day", "up and up and up"))]),
    (("200", "of the schema", "length"), JSON, [text(VALID, "length")]),
    (("200", "cut at a bound", "length"), JSON, [text(VALID.replace("He", "He" * 12), "length")]),
    (("200", "of another length", "length"), JSON, [text(VALID.replace("every day", "up and up and up"), "length")]),
    (("200", "not of the schema", "length"), JSON, [text(VALID[:20], "length")]),
    (
        ("200", "thoughts", "*"),
        FREE,
        [text("<think>hm"), text("<think>hm", "length"), text(message=THOUGHTS), text("<think>hm</think>"), text("hm</think> ")],
    ),
    (("200", "thoughts", "*"), JSON, [text("<think>hm", "length"), text(message=THOUGHTS)]),
    (("200", "empty", "end"), FREE, [text(""), text(" \n"), text(None), text([])]),
    (("200", "empty", "end"), JSON, [text(""), text(None)]),
    (("200", "empty", "length"), FREE, [text("", "length")]),
    (("200", "*", "other"), FREE, [text("A", "paused"), text(message={"content": None, "tool_calls": [{"id": "1"}]})]),
    (("200", "no choice", "*"), FREE, [(200, {"choices": [], "model": "dummy"}), (200, {"choices": None})]),
    (("200", "other model", "*"), FREE, [text("A", model="dummy-mini"), text("A", model="llama")]),
    (
        ("200", "malformed", "*"),
        FREE,
        [
            (200, b"<html>Sign in</html>"),
            (200, b""),
            (200, b'{"choices": [{"mess'),
            (200, {"object": "list"}),
            (200, ["A"]),
            (200, {"choices": [{"text": "A"}]}),
            (200, {"choices": [None]}),
            (200, {"choices": [{"message": "A"}]}),
            text({"answer": "A"}),
            text(7),
            (204, b""),
        ],
    ),
    (
        ("*", "quota", "*"),
        FREE,
        [
            error(429, code="insufficient_quota"),
            error(400, "Your credit balance is too low"),
            in_200("no money", "insufficient_quota"),
        ],
    ),
    (("408", "*", "*"), FREE, [error(408)]),
    (("409", "*", "*"), FREE, [error(409)]),
    (("425", "*", "*"), FREE, [error(425)]),
    (
        ("429", "*", "*"),
        FREE,
        [error(429, "Rate limit reached", code="rate_limit_exceeded"), in_200("slow", 429), (429, b"slow")],
    ),
    (
        ("*", "filtered", "*"),
        FREE,
        [error(400, code="content_filter"), error(403, "Your input was flagged"), in_200("no", "content_filter")],
    ),
    (
        ("*", "too long", "*"),
        FREE,
        [
            error(400, "This model's maximum context length is 8192 tokens."),
            error(400, code="context_length_exceeded"),
            error(500, "the request exceeds the available context size"),
            error(413, "prompt is too long"),
            in_200("too many tokens", "context_length_exceeded"),
        ],
    ),
    (("401", "*", "*"), FREE, [error(401), (401, {"error": "Unauthorized"}), in_200("bad key", 401)]),
    (("402", "*", "*"), FREE, [error(402)]),
    (("403", "*", "*"), FREE, [error(403), (403, b"<html>no</html>")]),
    (("404", "*", "*"), FREE, [error(404), (404, {"detail": "Not Found"}), in_200("no such model", "model_not_found")]),
    (("405", "*", "*"), FREE, [error(405)]),
    (("407", "*", "*"), FREE, [error(407)]),
    (("410", "*", "*"), FREE, [error(410)]),
    (("3xx", "*", "*"), FREE, [(301, b""), (307, b"")]),
    (("500", "*", "*"), FREE, [error(500)]),
    (
        ("5xx", "*", "*"),
        FREE,
        [error(503), (502, b"<html>Bad Gateway</html>"), error(529), in_200("Provider", 502), in_200("?", None)],
    ),
    (("4xx", "*", "*"), FREE, [error(400, "chat template"), error(422), (413, b""), error(451), in_200("no", 400)]),
    (("none", "no connection", "*"), FREE, [(None, "no connection")]),
    (("none", "timeout", "*"), FREE, [(None, "timeout")]),
    (("none", "broken connection", "*"), FREE, [(None, "broken connection")]),
]


def row_of(status: int | None, body: Any, schema: Any) -> Row:
    """The table's row for a response, as the transport finds it."""
    if status is None:
        return find_row(None, body)
    said = read_response(status, body if isinstance(body, bytes) else json.dumps(body).encode(), "dummy")
    if said.body:
        return find_row(said.status, said.body)
    profile = make_profile(["http://127.0.0.1:9"])
    [request] = make_requests(1, schema, words=WordLimits(longest=8))
    open_request = OpenRequest(Call(profile.models["m"], make_role(max_field_chars=40), "test"), request)
    return open_request.judge(open_request.answer(said)).row


@pytest.mark.parametrize(("row", "schema", "responses"), EXAMPLES)
def test_every_response_has_its_row(row: tuple[str, str, str], schema: Any, responses: list[tuple[int | None, Any]]) -> None:
    for status, body in responses:
        assert row_of(status, body, schema)[:3] == row, body


def test_every_row_has_an_example_and_names_what_it_must() -> None:
    assert [r[:3] for r in TABLE] == list(dict.fromkeys(row for row, _, _ in EXAMPLES))
    used = {r.body for r in TABLE} - {"*"}
    assert used <= set(BODIES) and {r.finish for r in TABLE} <= {"*", "other", *FINISHES}
    for r in TABLE:
        doubtful = Outcome.DOUBTFUL in (r.outcome, r.at_last if r.outcome is Outcome.PASSING else r.outcome)
        assert bool(r.reason) == (r.outcome is Outcome.FAILED or doubtful), r
        assert bool(r.remedy) == (r.outcome not in (Outcome.ANSWERED, Outcome.FAILED)), r
        assert not r.kept or r.outcome in (Outcome.ANSWERED, Outcome.FAILED), r


def table_as_text() -> str:
    lines = [
        "| status | response | ends by | outcome | reason in `failures` | kept | if the step stops |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in TABLE:
        last = "the step stops" if r.at_last is Outcome.SET_UP else r.at_last.value
        outcome = r.outcome.value + (f"; at last: {last}" if r.outcome is Outcome.PASSING else "")
        reason = f"{r.reason}:<status>" if r.reason == "refused" else r.reason
        cells = [r.status, r.body, r.finish, outcome, reason, "yes" if r.kept else "", r.remedy]
        lines.append("| " + " | ".join(c.replace("*", "any") if n < 3 else c for n, c in enumerate(cells)) + " |")
    lines += ["", "| response | is |", "|---|---|", *(f"| {name} | {meaning} |" for name, meaning in BODIES.items())]
    lines += ["", "| ends by | finish reasons |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(n or 'none given' for n in names)} |" for kind, names in FINISHES.items()]
    return "\n".join([*lines, "| other | anything else |"])


def test_the_documented_table_is_the_one_that_decides() -> None:
    assert table_as_text() in (PROJECT_ROOT / "docs" / "answers.md").read_text(encoding="utf-8")


def test_thoughts_are_no_part_of_an_answer() -> None:
    assert strip_thoughts("<think>a</think> b </think> c", json_wanted=False) == "b </think> c"
    assert strip_thoughts("I like <think> tags", json_wanted=False) == "I like <think> tags"
    quoted = '{"text": "he wrote </think> here"}'
    assert strip_thoughts(quoted, json_wanted=True) == quoted
    assert read_response(*as_raw(text([{"type": "text", "text": "A"}, {"text": "B"}])), "dummy").text == "AB"


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-11-20", True),
        ("gpt-4o", "openai/gpt-4o", True),
        ("gpt-4", "gpt-4-0613", True),
        ("mistral-small-latest", "mistral-small-2503", True),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b", True),
        ("qwen3", "qwen3:latest", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o-2024-11-20", "gpt-4o-2024-08-06", False),
        ("meta/llama", "other/llama", False),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-4B", False),
    ],
)
def test_names_of_one_model(asked: str, answered: str, same: bool) -> None:
    assert is_same_model(asked, answered) is same


def as_raw(response: tuple[int, Any]) -> tuple[int, bytes]:
    return response[0], json.dumps(response[1]).encode()


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (0, 0)),
        ({}, (0, 0)),
        ({"prompt_tokens": None, "completion_tokens": 2}, (0, 2)),
        ({"prompt_tokens": 5.0, "completion_tokens": "2"}, (5, 0)),
        ([1], (0, 0)),
    ],
)
def test_missing_counts_are_zero_tokens(usage: Any, tokens: tuple[int, int]) -> None:
    said = read_response(*as_raw(text("A", usage=usage)), "dummy")
    assert (said.text, (said.input_tokens, said.output_tokens)) == ("A", tokens)


def one(token: str, logprob: Any) -> dict[str, Any]:
    return {"token": token, "logprob": logprob}


@pytest.mark.parametrize(
    ("logprobs", "top"),
    [
        ({"content": [{**one("A", -0.1), "top_logprobs": [one("B", -2.0), one("A", -0.1)]}]}, (("A", -0.1), ("B", -2.0))),
        ({"tokens": ["A"], "top_logprobs": [{"A": -0.1, "B": -3.0}]}, (("A", -0.1), ("B", -3.0))),
        ({"content": [one("A", -0.1)]}, ()),
        ({"content": [{**one("A", -0.1), "top_logprobs": None}]}, ()),
        ({"content": [{**one("A", -0.1), "top_logprobs": [one("A", None), one("B", -1.0)]}]}, ()),
        ({"content": [{**one("A", 0), "top_logprobs": [one("A", 0.0), one("B", float("-inf"))]}]}, ()),
        ({"content": None}, ()),
        ({"content": [None]}, ()),
        ([[one("A", -0.1)]], ()),
        ("none", ()),
    ],
)
def test_a_partial_form_of_log_probabilities_leaves_the_rank_unknown(logprobs: Any, top: Any) -> None:
    status, data = text("A")
    data["choices"][0]["logprobs"] = logprobs
    assert read_response(*as_raw((status, data)), "dummy")[2:5:2] == ("A", top)


def test_text_that_is_no_unicode_can_be_stored() -> None:
    raw = b'{"choices": [{"message": {"content": "half \\ud83d emoji"}, "finish_reason": "stop"}]}'
    said = read_response(200, raw, "dummy")
    assert said == Said(200, "", said.text, "stop") and said.text.encode("utf-8") and said.text.startswith("half ")


def test_the_servers_own_words_are_found_in_every_form_of_error() -> None:
    for body in (
        {"error": {"message": "no"}},
        {"error": "no"},
        {"detail": "no"},
        {"message": "no"},
        [{"error": {"message": "no"}}],
    ):
        assert read_words(json.dumps(body)) == "no"
    assert read_words("<html>\nBad   Gateway</html>") == "<html> Bad Gateway</html>" and len(read_words("x" * 999)) == 300
