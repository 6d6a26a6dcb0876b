"""The engine: an asker that gets what the journal lacks from servers.

How a request travels: the caller's thread pulls it lazily, looks its question up in the journal, and hands what is not known to a
private event loop, where `attempts.py` gets its reply. Servers start at the first question that the journal cannot answer.

What belongs here: the way between the caller's thread and the loop, progress. What does not: prompts (`prompting/prompts.py`), what
an answer means.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from resources.errors import EngineError
from resources.llm.asker import PULLED_AT_ONCE, Asker
from resources.llm.attempts import Attempts
from resources.llm.budget import Budget
from resources.llm.claims import Claims
from resources.llm.doubts import Doubts
from resources.llm.journal import Journal
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMReply, LLMRequest, Log, UsageStats
from resources.llm.transport import Pool, Transport
from resources.profile import Profile, Role

PROGRESS_S = 10.0


@dataclass
class _Run:
    """One `ask` in progress, shared between the caller's thread and the loop."""

    call: Call
    done: queue.SimpleQueue[list[LLMReply | BaseException]] = field(default_factory=queue.SimpleQueue)
    pool: Pool | None = None  # opened at the first question that the journal does not know
    tasks: set[asyncio.Task[LLMReply]] = field(default_factory=set)  # the loop's
    ended: list[LLMReply | BaseException] = field(default_factory=list)  # since `done` was told; the loop's

    def __post_init__(self) -> None:
        self.doubts = Doubts(self.call.usage)


class Engine(Asker):
    """Answers for a profile's roles. Cheap to make: the journal opens at once, the event loop and servers at first need.

    Safe to call from several threads. `budget` limits the calls that are sent; None = no limit. `usage` is that of the latest
    finished or running `ask`.
    """

    def __init__(self, profile: Profile, home: Path, *, budget: Budget | None = None) -> None:
        super().__init__(profile, home, Journal(home))
        self.usage = UsageStats()
        self._transport = Transport(home, profile.engine)
        self._attempts = Attempts(profile.engine, self._transport, self.journal, Claims(home), self._used, budget)
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Close connections, give back local servers (they stop when idle) and close the journal."""
        loop, self._loop = self._loop, None
        if loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._end_work(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(30)
            loop.close()
        self._attempts.close()
        self._transport.close()
        super().close()

    async def _end_work(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._transport.disconnect()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="llm-engine", daemon=True)
                self._thread.start()
            return self._loop

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Log, total: int | None = None
    ) -> Iterator[LLMReply]:
        """Yield one reply per request, in the order of completion.

        Requests are pulled lazily, at most `concurrency` and a small buffer ahead of the replies, in the caller's thread. `label`
        is stored with the answers. `log` gets a progress line about every 10 seconds; `total` gives it an ETA.

        Raises:
            EngineError: the questions are not answered for a reason that is not their own (`outcomes.py`): no endpoint answers, a
                bad key, an unknown model, a server that refuses every question.
            BudgetReached: the next call would pass the budget's limit.
            ServerError, ModelError: the local server or the model's folder cannot be had.
            Whatever was answered before is in the journal.
        """
        run = _Run(Call(self.model(role.model), role, label))
        self.usage = run.call.usage
        self.calls.append((label, run.call.usage))
        started = time.monotonic()
        try:
            yield from self._stream(run, iter(requests), log, total, started)
        finally:
            run.call.usage.seconds = time.monotonic() - started
            if run.tasks and self._loop:
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in run.tasks])
            if run.pool:
                self._transport.release(run.pool)
            _drain(run.call, log)

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
                known, unknown = self.look_up(run.call, chunk)
                if unknown and run.pool is None:
                    before = time.monotonic()
                    run.pool = self._transport.open(run.call.role.model, run.call.model, log)
                    started += time.monotonic() - before  # rate and ETA leave out a server's start
                if run.pool and unknown:
                    self._running_loop().call_soon_threadsafe(self._begin, run, run.pool, unknown)
                pending += len(unknown)
                ready: Sequence[LLMReply] = known
            elif pending and len(run.doubts) == pending:
                ready = self._settle_doubts(run)
                pending -= len(ready)
            else:
                ready = _next_replies(run)
                pending -= len(ready)
            for reply in ready:
                done += 1
                run.call.usage.failures += reply.value is None
                yield reply
            _drain(run.call, log)
            if time.monotonic() - said >= PROGRESS_S:
                said = time.monotonic()
                log(_progress(run.call, done, total, said - started))
        if done:
            log(_progress(run.call, done, done, time.monotonic() - started))

    def _settle_doubts(self, run: _Run) -> list[LLMReply]:
        if why := run.doubts.explain():
            raise EngineError(
                f"`{run.call.model.name}` does not answer {run.call.label}: {why}; nothing is published of it, and the next run asks "
                "again"
            )
        return run.doubts.release()

    def _begin(self, run: _Run, pool: Pool, requests: list[OpenRequest]) -> None:
        """In the loop: what ends at once, as a group of the journal does, is told at once, so that the caller's thread wakes once."""

        def tell() -> None:
            ended, run.ended = run.ended, []
            run.done.put(ended)

        def finish(task: asyncio.Task[LLMReply]) -> None:
            run.tasks.discard(task)
            if not task.cancelled():
                if not run.ended:
                    asyncio.get_running_loop().call_soon(tell)
                run.ended.append(task.exception() or task.result())

        for open_request in requests:
            task = asyncio.get_running_loop().create_task(self._attempts.until_valid(pool, open_request))
            run.tasks.add(task)
            task.add_done_callback(finish)


def _next_replies(run: _Run) -> list[LLMReply]:
    try:
        ended = run.done.get(timeout=1.0)
    except queue.Empty:
        return []
    ready = []
    for reply in ended:
        if isinstance(reply, BaseException):
            raise reply
        ready += run.doubts.pass_on(reply)
    return ready


def _drain(call: Call, log: Log) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            log(call.log_lines.get_nowait())


def _progress(call: Call, done: int, total: int | None, seconds: float) -> str:
    usage, rate = call.usage, done / seconds if seconds else 0.0
    parts = [f"{call.label}: {done:,}" + (f"/{total:,}" if total is not None else "") + " replies"]
    parts.append(f"{rate:.1f}/s")
    if total is not None and rate and total > done:
        parts.append(f"ETA {time.strftime('%H:%M:%S', time.gmtime((total - done) / rate))}")
    parts.append(f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens")
    parts.append(f"{usage.journal_hits:,} from the journal, {usage.retries:,} retries, {usage.failures:,} failures")
    return ", ".join(parts)
