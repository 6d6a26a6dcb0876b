"""The LLM engine: requests in, validated replies out, through a journal that remembers every answer.

How a request travels: the caller's thread pulls it lazily, looks its question up in the journal, and hands what is not known
to a private event loop, which posts it to the endpoint with the least requests in flight, journals the answer, and judges it.
A cut-off or invalid answer is asked again with a doubled budget and the next seed; each attempt is a question of its own in
the journal, so a rerun asks nothing. Servers start at the first question that the journal cannot answer.

What belongs here: asking, retrying, routing, judging the form of an answer. What does not: prompts (`prompts.py`), starting
servers (`vllm_server.py`), what an answer means.

Identity and execution: the question's key (`journal.answer_key`) is made of the model's name and revision, the rendered
messages, the schema and the sampling. Endpoints, concurrency and everything else in the profile's `engine` section never
reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import io
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ValidationError

from resources.budget import Budget
from resources.errors import BUDGET_USED_UP, BudgetReached, EngineError
from resources.journal import Answer, Journal, answer_key
from resources.models import ModelError, model_folder
from resources.profile import Engine as EngineConfig
from resources.profile import Model, Profile, Role, resolve_path
from resources.prompting.prompts import json_schema
from resources.prompting.tokens import Counter, FolderCounter
from resources.vllm_server import LocalServers, ServerError, ServerHandle

if TYPE_CHECKING:
    import aiohttp

Log = Callable[[str], None]

PROGRESS_S = 10.0
PATIENCE_S = 60.0  # how long all given endpoints of a model may refuse connections before the call fails
PASSING_TRIES = 8  # times one request is sent again after 429, 5xx or a broken connection
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 20.0
PULLED_AT_ONCE = 200  # requests looked up in the journal together


@dataclass(frozen=True)
class LLMRequest:
    """One question. `key`: the item's id, unique inside one call. `schema`: None for free text. `subject`: the user it is
    about, stored with the answer for takedown. `logprobs`: how many alternatives of the first token to report."""

    key: str
    messages: tuple[tuple[str, str], ...]
    schema: type[BaseModel] | None
    subject: str = ""
    logprobs: int = 0


@dataclass(frozen=True)
class LLMReply:
    """The outcome of one request. `value` is None when it failed; then `reason` is `cut_off`, `invalid` or
    `refused:<status>`, and `raw` holds the last raw text. Tokens are summed over all attempts."""

    key: str
    value: BaseModel | str | None
    raw: str
    reason: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    from_journal: bool
    top: tuple[tuple[str, float], ...] = ()


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
        return asdict(self)


# ---- one question, its attempts and its judgement --------------------------------------------------------------------


@dataclass
class _Item:
    """A request on its way through its attempts."""

    request: LLMRequest
    attempt: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    from_journal: bool = True


@dataclass(frozen=True)
class _Refusal:
    status: int
    text: str


@dataclass(frozen=True)
class _Call:
    """What one `ask` has fixed for all of its requests."""

    model: Model
    role: Role
    label: str

    def sampling(self, request: LLMRequest, attempt: int) -> dict[str, Any]:
        """The sampling of an attempt: the budget doubles and the seed moves on, inside the model's context.

        The seed depends on the messages too. With one seed for all requests a small model gives nearly all of them the same
        label: 20 of 20 in a trial with SmolLM2-135M.
        """
        role = self.role
        return {
            "temperature": role.temperature,
            "top_p": role.top_p,
            "repetition_penalty": role.repetition_penalty,
            "max_tokens": min(role.max_tokens * 2**attempt, self.model.max_model_len),
            "seed": (_stable_seed(request.messages) + role.seed + attempt) % 2**31,
        }

    def schema(self, request: LLMRequest) -> dict[str, Any] | None:
        return _sent_schema(request.schema, self.role.max_field_chars) if request.schema else None

    def key(self, item: _Item) -> str:
        request = item.request
        return answer_key(
            self.model.identity,
            request.messages,
            self.schema(request),
            self.sampling(item.request, item.attempt),
            request.logprobs,
        )

    def body(self, item: _Item) -> bytes:
        """The request as OpenAI-compatible servers read it. Fields that only vLLM knows are sent only where they matter."""
        request, sampling = item.request, self.sampling(item.request, item.attempt)
        if sampling["repetition_penalty"] == 1.0:
            del sampling["repetition_penalty"]
        body: dict[str, Any] = {
            "model": self.model.name,
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            **sampling,
        }
        if request.schema:
            named = {"name": request.schema.__name__, "schema": self.schema(request), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        if self.model.chat_template_arguments:
            body["chat_template_kwargs"] = self.model.chat_template_arguments
        return orjson.dumps(body)

    def most_cost(self, item: _Item, config: EngineConfig) -> float:
        """The most that an attempt can cost by the profile's prices: a token holds at least one byte of the prompt, and the
        chat template adds a few to each message."""
        asked = sum(len(content.encode("utf-8", "replace")) + 32 for _, content in item.request.messages)
        return config.cost(asked, self.sampling(item.request, item.attempt)["max_tokens"])

    def judge(self, item: _Item, answer: Answer) -> LLMReply | None:
        """The reply, or None when the answer is bad and another attempt is left (the item then stands at that attempt)."""
        request = item.request
        item.input_tokens += answer.prompt_tokens
        item.output_tokens += answer.output_tokens
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
        if reason and item.attempt + 1 < self.role.attempts:
            item.attempt += 1
            return None
        return self.reply(item, value, answer.content, reason, answer.top)

    def reply(
        self, item: _Item, value: BaseModel | str | None, raw: str, reason: str | None, top: tuple[tuple[str, float], ...] = ()
    ) -> LLMReply:
        return LLMReply(
            item.request.key, value, raw, reason, item.attempt + 1, item.input_tokens, item.output_tokens, item.from_journal, top
        )


@functools.lru_cache(maxsize=256)
def _stable_seed(messages: tuple[tuple[str, str], ...]) -> int:
    return int.from_bytes(hashlib.sha256(orjson.dumps(messages)).digest()[:4], "big")


def _sent_schema(schema: type[BaseModel], max_field_chars: int | None) -> dict[str, Any]:
    return json_schema(schema, max_field_chars)


def _answer_from(data: dict[str, Any], key: str, call: _Call, request: LLMRequest) -> Answer:
    choice, usage = data["choices"][0], data.get("usage") or {}
    tokens = (choice.get("logprobs") or {}).get("content") or []
    top = tuple((t["token"], t["logprob"]) for t in tokens[0]["top_logprobs"]) if tokens else ()
    return Answer(
        key=key,
        model=call.model.name,
        role=call.label,
        subject=request.subject,
        item_key=request.key,
        prompt_tokens=usage.get("prompt_tokens", 0),
        output_tokens=usage.get("completion_tokens", 0),
        finish_reason=choice.get("finish_reason") or "stop",
        content=choice["message"].get("content") or "",
        top=tuple(sorted(top, key=lambda pair: -pair[1])),
    )


# ---- where to ask ----------------------------------------------------------------------------------------------------


@dataclass
class _Endpoint:
    url: str
    in_flight: int = 0
    down_since: float | None = None
    next_look: float = 0.0  # when down: not before this time

    def failed(self, now: float) -> None:
        self.down_since = self.down_since or now
        self.next_look = now + random.uniform(0.5, 1.5) * min(5.0, 0.5 + (now - self.down_since))


class _Throttle:
    """How many requests may be in flight: halved when servers answer 429 or 503, grown again by one per success at most."""

    def __init__(self, most: int):
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._last_cut = 0.0
        self._free = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self.in_flight < int(self.limit))
            self.in_flight += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._free:
            self.in_flight -= 1
            self._free.notify_all() if self.limit < self.most else self._free.notify()

    def overloaded(self) -> None:
        now = time.monotonic()
        if now - self._last_cut > 1.0:  # one cut per burst of refusals
            self._last_cut = now
            self.limit = max(1.0, self.limit / 2)

    def succeeded(self) -> None:
        self.limit = min(self.most, self.limit + 1 / self.limit)


@dataclass
class _Pool:
    """The endpoints of one model: given ones, or the one server started here."""

    model: Model
    endpoints: list[_Endpoint]
    throttle: _Throttle
    server: ServerHandle | None = None
    recovery: asyncio.Task[None] | None = None

    def pick(self, now: float) -> _Endpoint | None:
        """The endpoint with the least in flight; one that is down is looked at again from time to time."""
        usable = [e for e in self.endpoints if e.down_since is None or now >= e.next_look]
        return min(usable, key=lambda e: e.in_flight) if usable else None


@dataclass
class _Run:
    """One `ask` in progress, shared between the caller's thread and the loop."""

    call: _Call
    usage: UsageStats
    log_lines: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    done: queue.SimpleQueue[LLMReply | BaseException] = field(default_factory=queue.SimpleQueue)
    pool: _Pool | None = None
    tasks: set[Future[LLMReply]] = field(default_factory=set)


# ---- the engine ------------------------------------------------------------------------------------------------------


class Engine:
    """Answers for a profile's roles. Cheap to make: the journal opens at once, the event loop and servers at first need.

    Close it, or use it as a context manager. Safe to call from several threads.
    """

    def __init__(self, profile: Profile, home: Path, *, journal: Journal | None = None, budget: Budget | None = None):
        self.home = home
        self.config: EngineConfig = profile.engine
        self.journal = journal or Journal(home)
        self.budget = budget  # limits the calls that are sent; None = no limit
        self.usage = UsageStats()  # of the latest finished or running `ask`
        self.calls: list[tuple[str, UsageStats]] = []  # label and cost of every `ask`, in order
        self._used = tempfile.TemporaryFile()  # noqa: SIM115  key and digest of every answer used, 64 bytes each
        self._used_guard = threading.Lock()
        self._models: dict[str, Model] = dict(profile.models)
        self._counters: dict[str, Counter] = {}
        self._servers = LocalServers(home, profile.engine)
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pools: dict[str, _Pool] = {}  # by model key
        self._asking: dict[str, asyncio.Event] = {}  # questions under way, by their key; only the loop's thread touches it
        self._unsettled = 0  # calls that the budget holds reserved and no answer has settled; used in the loop alone

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections, give back local servers (they stop when idle) and close the journal."""
        loop, self._loop = self._loop, None
        if loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._end_work(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(30)
            loop.close()
        self._writer.shutdown()
        self._servers.close()
        self.journal.close()
        self._used.close()

    async def _end_work(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session:
            await self._session.close()

    def add_model(self, key: str, model: Model) -> None:
        """Make a model askable that the profile does not list, such as a merged checkpoint; its revision must be its digest."""
        if self._models.setdefault(key, model) != model:
            raise EngineError(f"the model `{key}` is already defined differently; use another key")

    def model(self, key: str) -> Model:
        if key not in self._models:
            raise EngineError(
                f"the model `{key}` is not defined; known: {', '.join(sorted(self._models))}; add it to the profile"
            )
        return self._models[key]

    # -- which answers were used --

    def used_so_far(self) -> int:
        """A mark to give to `used_since`."""
        with self._used_guard:
            return self._used.seek(0, io.SEEK_END)

    def used_since(self, mark: int) -> bytes:
        """Key and digest (32 bytes each) of every journal answer that replies were made from since the mark."""
        with self._used_guard:
            self._used.seek(mark)
            return self._used.read()

    def _note(self, answer: Answer) -> None:
        entry = bytes.fromhex(answer.key) + answer.digest
        with self._used_guard:
            self._used.seek(0, io.SEEK_END)
            self._used.write(entry)

    # -- asking --

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Log, total: int | None = None
    ) -> Iterator[LLMReply]:
        """Yield one reply per request, in the order of completion.

        Requests are pulled lazily, at most `concurrency` and a small buffer ahead of the replies, in the caller's thread. `label`
        is stored with the answers. `log` gets a progress line about every 10 seconds; `total` gives it an ETA.

        Raises:
            EngineError: no endpoint answers, or the server refuses every request (unknown model, bad key).
            BudgetReached: the next call would pass the budget's limit.
            ServerError, ModelError: the local server or the model's folder cannot be had.
            Whatever was answered before is in the journal.
        """
        run = _Run(_Call(self.model(role.model), role, label), UsageStats())
        self.usage = run.usage
        self.calls.append((label, run.usage))
        started = time.monotonic()
        try:
            yield from self._stream(run, iter(requests), log, total, started)
        finally:
            run.usage.seconds = time.monotonic() - started
            for task in list(run.tasks):
                task.cancel()
            if run.pool and run.pool.server:
                self._servers.release(run.pool.server.folder)
            _drain(run, log)

    def _stream(
        self, run: _Run, requests: Iterator[LLMRequest], log: Log, total: int | None, started: float
    ) -> Iterator[LLMReply]:
        window = self.config.concurrency + max(8, self.config.concurrency // 4)
        pending, done, exhausted, said = 0, 0, False, started
        while pending or not exhausted:
            room = window - pending
            # Refill in larger bites while there is enough under way: one journal query then serves many requests.
            if not exhausted and (room >= (window - self.config.concurrency) // 2 or not pending):
                chunk = list(islice(requests, min(room, PULLED_AT_ONCE)))
                exhausted = not chunk
                known, unknown = self._look_up(run, chunk)
                if unknown and run.pool is None:
                    before = time.monotonic()
                    run.pool = self._open_pool(run.call.role.model, log)
                    started += time.monotonic() - before  # rate and ETA leave out a server's start
                for item in unknown:
                    self._submit(run, item)
                pending += len(unknown)
                ready: Iterable[LLMReply | BaseException] = known
            else:
                try:
                    ready = [run.done.get(timeout=1.0)]
                    pending -= 1
                except queue.Empty:
                    ready = []
            for reply in ready:
                if isinstance(reply, BaseException):
                    raise reply
                done += 1
                run.usage.failures += reply.value is None
                yield reply
            _drain(run, log)
            if time.monotonic() - said >= PROGRESS_S:
                said = time.monotonic()
                log(_progress(run, done, total, said - started))
        if done:
            log(_progress(run, done, done, time.monotonic() - started))

    def _look_up(self, run: _Run, chunk: list[LLMRequest]) -> tuple[list[LLMReply], list[_Item]]:
        """Replies that the journal holds (following bad answers to their next attempts), and the items it has no answer for."""
        replies, unknown = [], []
        open_items = [_Item(request) for request in chunk]
        while open_items:
            keys = [run.call.key(item) for item in open_items]
            found = self.journal.get_many(keys)
            again = []
            for item, key in zip(open_items, keys, strict=True):
                if key not in found:
                    unknown.append(item)
                    continue
                run.usage.journal_hits += 1
                self._note(found[key])
                reply = run.call.judge(item, found[key])
                if reply:
                    replies.append(reply)
                else:
                    again.append(item)
            open_items = again
        return replies, unknown

    def _submit(self, run: _Run, item: _Item) -> None:
        def finished(task: Future[LLMReply]) -> None:
            run.tasks.discard(task)
            if not task.cancelled():
                run.done.put(task.exception() or task.result())

        task = asyncio.run_coroutine_threadsafe(self._answer(run, item), self._running_loop())
        run.tasks.add(task)
        task.add_done_callback(finished)

    async def _answer(self, run: _Run, item: _Item) -> LLMReply:
        """Ask until the item has a reply."""
        item.from_journal = False
        reply = None
        while reply is None:
            if item.attempt:
                run.usage.retries += 1
            got = await self._ask_once(run, item, run.call.key(item))
            if isinstance(got, _Refusal):
                # Not journalled: a refusal can be the server's settings, which are no part of the question's key.
                return run.call.reply(item, None, got.text, f"refused:{got.status}")
            self._note(got)
            reply = run.call.judge(item, got)
        return reply

    async def _ask_once(self, run: _Run, item: _Item, key: str) -> Answer | _Refusal:
        """The answer to a question from the journal, else from a server: once, however many ask it at the same time."""
        loop = asyncio.get_running_loop()
        while True:
            # Looked up again: another process, or an equal request, may have asked it meanwhile.
            if found := (await loop.run_in_executor(self._writer, self.journal.get_many, [key])).get(key):
                run.usage.journal_hits += 1
                return found
            if key not in self._asking:
                break
            await self._asking[key].wait()
        asking = self._asking[key] = asyncio.Event()
        try:
            got = await self._send(run, run.call, item, key)
            if isinstance(got, _Refusal):
                return got
            run.usage.calls += 1
            run.usage.input_tokens += got.prompt_tokens
            run.usage.output_tokens += got.output_tokens
            return await loop.run_in_executor(self._writer, self.journal.put, got)
        finally:
            del self._asking[key]
            asking.set()

    async def _send(self, run: _Run, call: _Call, item: _Item, key: str) -> Answer | _Refusal:
        """`_post` inside the budget.

        Raises:
            BudgetReached: the call would pass the limit, also after all calls under way were settled.
        """
        budget, loop = self.budget, asyncio.get_running_loop()
        if budget is None:
            return await self._post(run, call, item, key)
        most = call.most_cost(item, self.config)
        while not await loop.run_in_executor(self._writer, budget.reserve, most):
            if not self._unsettled:
                await loop.run_in_executor(self._writer, budget.refuse)
                raise BudgetReached(
                    f"{BUDGET_USED_UP} ({budget.spent()}); answered requests are kept: refresh again to go on from there"
                )
            await asyncio.sleep(0.02)  # what is under way is paid for: let it arrive, and it may cost less than was reserved
        self._unsettled += 1
        try:
            got = await self._post(run, call, item, key)
            answered = isinstance(got, Answer)
            cost = self.config.cost(got.prompt_tokens, got.output_tokens) if isinstance(got, Answer) else 0.0
            await loop.run_in_executor(self._writer, budget.settle, most, cost, answered)
        finally:
            self._unsettled -= 1
        return got

    async def _post(self, run: _Run, call: _Call, item: _Item, key: str) -> Answer | _Refusal:
        """Send one request until it is answered: other endpoints and pauses for what may pass, a refusal for what will not."""
        import aiohttp

        pool, session = run.pool, await self._open_session()
        if pool is None:
            raise RuntimeError("the pool is opened before the first request is submitted")
        body, tries = call.body(item), 0
        async with pool.throttle:
            while True:
                endpoint = pool.pick(time.monotonic())
                if endpoint is None:
                    await self._wait_for_endpoint(run, pool)
                    continue
                if endpoint.down_since is not None:
                    endpoint.failed(time.monotonic())  # this request is the one that looks; others wait for what it finds
                endpoint.in_flight += 1
                try:
                    async with session.post(f"{endpoint.url}/v1/chat/completions", data=body) as response:
                        raw, status = await response.read(), response.status
                except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                    endpoint.failed(time.monotonic())
                    run.usage.retries += 1
                    continue
                except (aiohttp.ClientError, TimeoutError) as e:
                    if isinstance(e, TimeoutError):
                        status, raw = 408, f"no answer within {self.config.timeout_s:.0f} s".encode()
                    else:
                        status, raw = 502, f"{type(e).__name__}: {e}".encode()
                else:
                    endpoint.down_since = None
                finally:
                    endpoint.in_flight -= 1
                if status == 200:
                    pool.throttle.succeeded()
                    try:
                        return _answer_from(orjson.loads(raw), key, call, item.request)
                    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as e:
                        raise EngineError(
                            f"{endpoint.url} is not an OpenAI-compatible chat server; correct `endpoints` in the profile"
                        ) from e
                text = raw[:2000].decode("utf-8", "replace")
                if status in (401, 403, 404):
                    raise EngineError(
                        f"{endpoint.url} refuses the model `{pool.model.name}` with {status} ({_message(text)}); "
                        f"correct the model's `name` or `endpoints` in the profile, or the server's served model name"
                    )
                if status in (429, 503):
                    pool.throttle.overloaded()
                tries += 1
                if not (status == 429 or status >= 500) or tries > PASSING_TRIES:
                    return _Refusal(status, text)
                run.usage.retries += 1
                await asyncio.sleep(random.uniform(0.5, 1.5) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)))

    async def _wait_for_endpoint(self, run: _Run, pool: _Pool) -> None:
        """Called when every endpoint is down: wait a little, for a local server until it is back.

        Raises:
            EngineError: the given endpoints have been down for too long, or the local server's supervisor gave up.
        """
        if pool.server:
            if pool.recovery is None or pool.recovery.done():
                pool.recovery = asyncio.create_task(self._recover(run, pool))
            await asyncio.shield(pool.recovery)
            return
        last_down = max(e.down_since or time.monotonic() for e in pool.endpoints)
        if time.monotonic() - last_down > PATIENCE_S:
            addresses = ", ".join(e.url for e in pool.endpoints)
            raise EngineError(
                f"no endpoint of the model `{pool.model.name}` accepts connections ({addresses}); "
                "start the servers or correct `endpoints` in the profile, then run the step again: answered requests are kept"
            )
        await asyncio.sleep(0.2)

    async def _recover(self, run: _Run, pool: _Pool) -> None:
        if pool.server is None:
            raise RuntimeError("only a local server is recovered")
        run.log_lines.put(
            f"the server of {pool.model.name} does not answer; waiting for its restart; log: {pool.server.log_path}"
        )
        try:
            pool.server = await asyncio.to_thread(self._servers.recover, pool.server, run.log_lines.put)
        except ServerError as e:
            raise EngineError(f"{e}; answered requests are kept") from e
        pool.endpoints = [_Endpoint(pool.server.base_url)]

    def _open_pool(self, key: str, log: Log) -> _Pool:
        """The model's endpoints; a local server is started or joined when none are given."""
        model, server = self.model(key), None
        if not model.endpoints:
            server = self._servers.acquire(model.name, model_folder(model, self.home), model.max_model_len, log)
        with self._guard:
            pool = self._pools.get(key)
            if pool is None:
                urls = [server.base_url] if server else [_bare(url) for url in model.endpoints]
                pool = self._pools[key] = _Pool(model, [_Endpoint(url) for url in urls], _Throttle(self.config.concurrency))
            elif server and pool.endpoints[0].url != server.base_url:
                pool.endpoints = [_Endpoint(server.base_url)]
            pool.server = server
        return pool

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="llm-engine", daemon=True)
                self._thread.start()
            return self._loop

    async def _open_session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            # Only the time to connect is short: a request may wait in a server's queue for as long as the profile allows.
            timeout = aiohttp.ClientTimeout(total=self.config.timeout_s, sock_connect=30)
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                connector=aiohttp.TCPConnector(limit=0, force_close=False),
                headers={"Content-Type": "application/json"},
            )
        return self._session

    # -- counting --

    def count_tokens(self, model_key: str, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without special tokens: from its folder, else from its server.

        Raises:
            ModelError: the model has a folder without tokenizer.
            EngineError: the model has endpoints alone, and none of them counts.
        """
        if model_key not in self._counters:
            model = self.model(model_key)
            if model.path or model.package:
                folder = resolve_path(model.path) if model.path and model.endpoints else model_folder(model, self.home)
                self._counters[model_key] = FolderCounter(folder)
            else:
                self._counters[model_key] = functools.partial(self._count_by_server, model)
        return self._counters[model_key](texts)

    def _count_by_server(self, model: Model, texts: Sequence[str]) -> list[int]:
        async def count_all() -> list[int]:
            session, limit = await self._open_session(), asyncio.Semaphore(16)

            async def one(text: str) -> int:
                body = orjson.dumps({"model": model.name, "prompt": text, "add_special_tokens": False})
                last = "no endpoint"
                for url in map(_bare, model.endpoints):
                    try:
                        async with limit, session.post(f"{url}/tokenize", data=body) as response:
                            if response.status == 200:
                                return orjson.loads(await response.read())["count"]
                            last = f"{url} answered {response.status}"
                    except (OSError, TimeoutError) as e:
                        last = f"{url}: {type(e).__name__}"
                raise EngineError(
                    f"tokens of `{model.name}` cannot be counted ({last}); give the model a `path` with its tokenizer.json"
                )

            return list(await asyncio.gather(*(one(text) for text in texts)))

        return self._wait(count_all())

    def _wait(self, work: Coroutine[Any, Any, list[int]]) -> list[int]:
        return asyncio.run_coroutine_threadsafe(work, self._running_loop()).result()


def _bare(url: str) -> str:
    """An endpoint's address without the `/v1` that people like to add."""
    return url.rstrip("/").removesuffix("/v1")


def _message(text: str) -> str:
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        return str(orjson.loads(text)["error"]["message"])
    return text[:200]


def _drain(run: _Run, log: Log) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            log(run.log_lines.get_nowait())


def _progress(run: _Run, done: int, total: int | None, seconds: float) -> str:
    usage, rate = run.usage, done / seconds if seconds else 0.0
    parts = [f"{run.call.label}: {done:,}" + (f"/{total:,}" if total is not None else "") + " replies"]
    parts.append(f"{rate:.1f}/s")
    if total is not None and rate and total > done:
        parts.append(f"ETA {time.strftime('%H:%M:%S', time.gmtime((total - done) / rate))}")
    parts.append(f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens")
    parts.append(f"{usage.journal_hits:,} from the journal, {usage.retries:,} retries, {usage.failures:,} failures")
    return ", ".join(parts)


__all__ = ["BudgetReached", "Engine", "EngineError", "LLMReply", "LLMRequest", "ModelError", "ServerError", "UsageStats"]
