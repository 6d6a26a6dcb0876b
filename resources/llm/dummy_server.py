"""A small OpenAI-compatible server with made-up answers, for tests and dry runs: real HTTP, no model.

Every answer is a pure function of the request (messages, schema, sampling, seed): schema-valid JSON whose strings are built
from the words of the user message, a single letter for a question with lettered options, or an echo. Faults can be injected;
which request they hit is decided by its hash, so a run can be repeated.

What belongs here: the protocol as vLLM speaks it (`/v1/chat/completions`, `/v1/models`, `/tokenize`, `/health`), and `/stats`
for tests. What does not: anything that judges an answer.

    python -m resources.llm.dummy_server --port 8000
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web

# Permanent faults hit the same body every time (another seed or budget may be spared); the others only its first arrival.
PERMANENT_FAULTS = ("cut_off", "invalid_json", "http_400")
PASSING_FAULTS = ("http_429", "http_500", "http_503", "drop_connection")
KEPT = 10_000  # of the latest requests, so that memory stays flat
_OPTION = re.compile(r"^\s*\(?([A-Z])[).:]\s", re.M)
_ASKS_FOR_LABEL = re.compile(r"\b(letter|label|option|choice|answer)\b", re.I)
_ASKS_FOR_WORDS = re.compile(r"\b(\d+) to (\d+) words\b")
_WORD = re.compile(r"[^\W_][\w'’-]*")


class _Draw:
    """A deterministic stream of numbers from one seed text."""

    def __init__(self, seed: bytes):
        self._seed, self._count = seed, 0

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        self._count += 1
        value = int.from_bytes(hashlib.blake2b(self._seed + self._count.to_bytes(4, "big"), digest_size=8).digest(), "big")
        return low + value % (high - low + 1)

    def share(self) -> float:
        """A number from 0 up to, but not including, 1."""
        return self.number(0, 999_999) / 1_000_000


def _words(draw: _Draw, words: list[str], low: int, high: int) -> str:
    """Consecutive words of the message from a drawn place, between `low` and `high` characters long."""
    target = draw.number(low, high)
    start = draw.number(0, len(words) - 1)
    text = ""
    for i in range(target + 1):
        longer = f"{text} {words[(start + i) % len(words)]}" if text else words[start].capitalize()
        if len(longer) > target:
            break
        text = longer
    if len(text) < low:
        text = (text + " " + "so on " * low)[:low].rstrip()
        text += "." * (low - len(text))
    return text[:high]


def make_value(schema: Mapping[str, Any], root: Mapping[str, Any], draw: _Draw, words: list[str]) -> Any:
    """A value that the JSON schema allows (the subset that pydantic models produce)."""
    if "$ref" in schema:
        return make_value(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, draw, words)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][draw.number(0, len(schema["enum"]) - 1)]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            choices = [s for s in schema[key] if s.get("type") != "null"] or schema[key]
            return make_value(choices[draw.number(0, len(choices) - 1)], root, draw, words)
    kind = schema.get("type", "object")
    if kind == "string":
        low = schema.get("minLength", 0)
        high = schema.get("maxLength", max(3 * low, 160) + 1) - 1  # a text as long as the bound counts as cut off there
        return _words(draw, words, max(low, min(high, 40)), min(high, max(2 * low, 160)))
    if kind in ("integer", "number"):
        low = math.ceil(schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
        high = math.floor(schema.get("maximum", schema.get("exclusiveMaximum", low + 11) - 1))
        return draw.number(low, high)
    if kind == "boolean":
        return bool(draw.number(0, 1))
    if kind == "null":
        return None
    if kind == "array":
        low = schema.get("minItems", 1)
        count = draw.number(low, schema.get("maxItems", max(low, 3)))
        return [make_value(schema.get("items", {"type": "string"}), root, draw, words) for _ in range(count)]
    return {name: make_value(child, root, draw, words) for name, child in schema.get("properties", {}).items()}


class Scripted(NamedTuple):
    """What a test lets the server say in place of its own answer."""

    status: int
    body: Any
    """Sent as JSON; bytes as they are."""
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0


Script = Callable[[dict[str, Any], int, Mapping[str, str]], Scripted | None]
"""From a request's body, its number (from 1) and its headers; None = the server's own answer."""


class DummyServer:
    """The server, as a context manager that runs it in a thread; `base_url` is known inside the context.

    `faults`: share of requests per fault name (`cut_off`, `invalid_json`, `http_400`, `http_429`, `http_500`, `http_503`,
    `drop_connection`). `script`: what it says instead of an answer. `latency_s`: how long every answer takes, `slots` at a time, as an engine
    works on so many sequences; the others wait. `requests`: how many came; `bodies`, `keys`: the latest `KEPT` of them, in order.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        model: str = "dummy",
        faults: Mapping[str, float] | None = None,
        script: Script | None = None,
        latency_s: float = 0.0,
        slots: int = 10_000,
        max_model_len: int = 8192,
    ):
        unknown = set(faults or {}) - {*PERMANENT_FAULTS, *PASSING_FAULTS}
        if unknown:
            raise ValueError(f"unknown faults {sorted(unknown)}; known: {', '.join(PERMANENT_FAULTS + PASSING_FAULTS)}")
        self.port, self.model, self.faults = port, model, dict(faults or {})
        self.script, self.latency_s, self.max_model_len = script, latency_s, max_model_len
        self.requests = 0
        self.bodies: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.keys: deque[str] = deque(maxlen=KEPT)
        self.in_flight = self.most_in_flight = 0
        self._slots = asyncio.Semaphore(slots)
        self._arrivals: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def start(self) -> None:
        """Listen; port 0 becomes a free one."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    def __enter__(self) -> DummyServer:
        self._thread = threading.Thread(target=self._loop.run_forever, name="dummy-server", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.shut_down()

    def shut_down(self) -> None:
        """Stop answering, as a server that dies does; leaving the context calls it."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join(10)
        self._loop.close()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _stats(self, _: web.Request) -> web.Response:
        return _json({"requests": self.requests, "keys": list(self.keys), "most_in_flight": self.most_in_flight})

    async def _models(self, _: web.Request) -> web.Response:
        return _json({"object": "list", "data": [{"id": self.model, "object": "model", "max_model_len": self.max_model_len}]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        text = orjson.loads(await request.read())["prompt"]
        words = _WORD.findall(text) or text.split()  # signs alone are tokens too
        return _json({"count": len(words), "max_model_len": self.max_model_len, "tokens": list(range(len(words)))})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = orjson.loads(raw)
        key = hashlib.sha256(raw).hexdigest()
        self.requests += 1
        self.bodies.append(body)
        self.keys.append(key)
        if self.faults:
            self._arrivals[key] = self._arrivals.get(key, 0) + 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency_s:
                async with self._slots:
                    await asyncio.sleep(self.latency_s)
            if self.script and (said := self.script(body, self.requests, request.headers)):
                await asyncio.sleep(said.delay_s)
                raw = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                return web.Response(body=raw, status=said.status, headers=said.headers, content_type="application/json")
            return self._answer(request, body, key)
        finally:
            self.in_flight -= 1

    def _fault(self, key: str) -> str | None:
        draw = _Draw(f"fault:{key}".encode())
        for name, share in self.faults.items():
            if draw.share() < share and (name in PERMANENT_FAULTS or self._arrivals[key] == 1):
                return name
        return None

    def _answer(self, request: web.Request, body: dict[str, Any], key: str) -> web.Response:
        fault = self._fault(key)
        if fault == "drop_connection":
            if request.transport:
                request.transport.abort()
            return web.Response(status=500)  # never arrives: the connection is gone
        if fault and fault.startswith("http_"):
            return _json({"error": {"message": f"injected {fault}", "code": int(fault[5:])}}, status=int(fault[5:]))
        content, top = answer_to(body)
        finish = "stop"
        if fault == "cut_off":
            content, finish = content[: len(content) // 2], "length"
        elif fault == "invalid_json":
            content = content[: max(1, len(content) // 2)] + " …"
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        if body.get("logprobs"):
            count = body.get("top_logprobs", 0)
            first = {
                "token": content[:1],
                "logprob": top[0][1],
                "top_logprobs": [{"token": t, "logprob": p} for t, p in top[:count]],
            }
            choice["logprobs"] = {"content": [first]}
        asked = sum(len(_WORD.findall(m["content"])) for m in body["messages"])
        said = max(1, len(_WORD.findall(content)))
        usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
        return _json(
            {
                "id": f"dummy-{key[:16]}",
                "object": "chat.completion",
                "model": body.get("model", self.model),
                "choices": [choice],
                "usage": usage,
            }
        )


def answer_to(body: Mapping[str, Any]) -> tuple[str, list[tuple[str, float]]]:
    """The made-up reply to a chat request and its first token's (token, log-probability) pairs, best first."""
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    asked = {"messages": body["messages"], "schema": schema, "seed": body.get("seed"), "temperature": body.get("temperature")}
    draw = _Draw(hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest())
    text = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "")
    words = _WORD.findall(text) or ["nothing"]
    asks = _ASKS_FOR_WORDS.findall(text)
    if asks and schema is not None and [*schema.get("properties", {})] == ["text"]:
        start, count = draw.number(0, len(words) - 1), draw.number(*map(int, asks[-1]))
        said = " ".join(words[(start + i) % len(words)] for i in range(count))
        content = orjson.dumps({"text": said[: schema["properties"]["text"].get("maxLength", len(said) + 1) - 1]}).decode()
        return content, [(content[:1], 0.0)]
    if schema is not None:
        content = orjson.dumps(make_value(schema, schema, draw, words)).decode()
        return content, [(content[:1], 0.0)]
    labels = list(dict.fromkeys(_OPTION.findall(text)))
    if len(labels) > 1 and _ASKS_FOR_LABEL.search(text.strip().rsplit("\n", 1)[-1]):
        weights = {label: 0.01 + draw.share() for label in labels}
        whole = sum(weights.values())
        top = sorted(((label, math.log(w / whole)) for label, w in weights.items()), key=lambda pair: -pair[1])
        return top[0][0], top
    content = _words(draw, words, 80, 400) + "."
    return content, [(content.split()[0], -0.1)]


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def main() -> None:
    """The command of the module: serve until interrupted."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server with made-up answers.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default="dummy")
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--slots", type=int, default=10_000, help="answers at a time")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME=SHARE", help="for example http_500=0.05; may be repeated"
    )
    arguments = parser.parse_args()
    faults = {name: float(share) for name, share in (f.split("=", 1) for f in arguments.fault)}
    server = DummyServer(
        arguments.port, model=arguments.model, faults=faults, latency_s=arguments.latency_s, slots=arguments.slots
    )

    async def serve() -> None:
        await server.start()
        print(f"listening on {server.base_url}", flush=True)
        await asyncio.Event().wait()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
