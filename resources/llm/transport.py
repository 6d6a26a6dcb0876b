"""Where a request goes, and what is done until a server answers it: other endpoints, pauses, a local server's restart.

What belongs here: endpoints, how many requests are in flight, HTTP. What does not: starting servers (`local_servers.py`), what a
response is (`responses.py`) and means (`outcomes.py`), what is asked again because its answer is bad (`attempts.py`).
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resources.errors import EngineError
from resources.llm.connections import Access, chat_address, hide_secrets, open_session, read_access
from resources.llm.journal import Answer
from resources.llm.local_servers import LocalServers, ServerError, ServerHandle
from resources.llm.open_request import Call, OpenRequest
from resources.llm.outcomes import Outcome, Row, find_row
from resources.llm.requests import Log
from resources.llm.responses import Said, read_response, read_words
from resources.models import model_folder
from resources.profile import Engine as EngineConfig
from resources.profile import Model

if TYPE_CHECKING:
    import aiohttp

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 20.0  # between two tries of one request
LONGEST_REST_S = 10.0  # of an endpoint that fails, before one request tries it again
RESTS_AFTER = 3  # failures in a row after which an endpoint gets no more requests but one at a time
FIRST_CONTACT_S = 60.0  # an endpoint that never answered is not waited for longer: its address may be wrong
LEAST_TRIES = 3  # of one request, however little patience there is
TRIES_WITHOUT_TEXT = 6  # of a request that a server accepts and answers with no text: patience does not mend that
MOST_OF_SHARE = 1.25  # of its share by speed, an endpoint has at most so much in flight for the sake of its prefix cache
SLOWED_BY = (429, 503, 529)  # statuses by which servers say that they are asked too much
_SAID_EVERY_S = 10.0


class Refusal(NamedTuple):
    """A request without an answer. `text`: the server's; `doubt`: what to do if every request ends so, "" when it is the
    request's own fault."""

    reason: str
    text: str
    doubt: str


@dataclass
class Endpoint:
    """One server as this process knows it. `url` is never shown, `shown` is."""

    url: str
    shown: str
    under_way: dict[object, float] = field(default_factory=dict)
    """Requests without a response yet, and when each was sent: the oldest first."""
    seconds: float = 0.0
    """How long it took to answer of late; 0 = not known."""
    used: float = 0.0
    """When it last got a request."""
    contacted: bool = False
    """Whether it ever answered anything."""
    failures: int = 0
    """In a row."""
    failing_since: float | None = None
    resting_until: float = 0.0
    """It gets no request before that time."""
    refuses: bool = False
    """It took no connection the last time."""
    wrong: str = ""
    """What is set up wrongly about it: its own words and the remedy."""
    latest: str = ""
    """What it said when it last failed, and the remedy."""
    nonsense: int = 0
    """Responses in a row that were no answers, though it works."""
    shunned_until: float = 0.0
    """While others answer, it gets no request before that time."""
    _failed_at: float = 0.0

    @property
    def in_flight(self) -> int:
        """How many requests it has not answered yet."""
        return len(self.under_way)

    def lag(self, now: float) -> float:
        """How many seconds an answer takes by what is known; 0 where nothing is, or is too old to tell."""
        if not self.under_way:
            return self.seconds if now - self.used < LONGEST_REST_S else 0.0
        return max(self.seconds, (now - next(iter(self.under_way.values()))) / 3)  # the slowest of many is slower than they are

    def note_seconds(self, seconds: float) -> None:
        """It answered after so long."""
        self.seconds += (seconds - self.seconds) * (0.2 if self.seconds else 1.0)

    def forget_failures(self) -> None:
        """Look at it afresh."""
        self.failures, self.nonsense, self.failing_since, self.resting_until, self.wrong = 0, 0, None, 0.0, ""

    def rest(self, now: float) -> None:
        """No request for a while, the longer the more often it has failed."""
        least = FIRST_PAUSE_S * 2 ** min(self.failures, 16)
        self.resting_until = max(self.resting_until, now + random.uniform(0.5, 1.5) * min(LONGEST_REST_S, least))

    def note_failure(self, sent: float, now: float, *, at_once: bool = False) -> None:
        """A request failed that was sent at `sent`. Requests that were under way together count as one failure.

        at_once: it is out of order for certain, so it rests after this one.
        """
        self.failing_since = self.failing_since or now
        if sent >= self._failed_at:
            self._failed_at = now
            self.failures += 1
        if at_once:
            self.failures = max(self.failures, RESTS_AFTER)
        if self.failures >= RESTS_AFTER:
            self.rest(now)

    def note_success(self) -> None:
        """It answered a question."""
        if self.failures >= RESTS_AFTER:
            self.resting_until = 0.0
        self.failures, self.failing_since, self.refuses, self.wrong, self.contacted = 0, None, False, "", True


class Throttle:
    """How many requests may be in flight: halved when servers answer 429 or 503, grown again by one per success at most.

    As an async context manager it is one request's place among them.
    """

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
            if self.limit < self.most:
                self._free.notify_all()
            else:
                self._free.notify()

    def note_overload(self) -> None:
        """Note that a server answered 429 or 503."""
        now = time.monotonic()
        if now - self._last_cut > 1.0:  # one cut per burst of refusals
            self._last_cut = now
            self.limit = max(1.0, self.limit / 2)

    def note_success(self) -> None:
        """Note that a server answered."""
        self.limit = min(self.most, self.limit + 1 / self.limit)


@dataclass
class Pool:
    """The endpoints of one model: given ones, or the one server started here."""

    model: Model
    access: Access
    endpoints: list[Endpoint]
    throttle: Throttle
    server: ServerHandle | None = None
    recovery: asyncio.Task[None] | None = None
    latest_answer: float = 0.0
    said: float = 0.0  # when the log was last told that the pool waits

    def pick(
        self, now: float, without: Sequence[Endpoint] = (), last: Endpoint | None = None, subject: str = ""
    ) -> Endpoint | None:
        """Where a request goes: to the endpoint that answers soonest by its speed and what it has in flight, rather another one
        than `last`. Questions about one subject, which often begin alike, go to the same one, whose prefix cache knows the beginning,
        unless that has more than its share in flight.

        One that failed several times in a row is tried by one request at a time; so is one that answers nonsense while others do
        not, because it would draw the requests of the others by being quick.
        """
        usable = [e for e in self.endpoints if now >= e.resting_until and (e.failures < RESTS_AFTER or not e.in_flight)]
        usable = [e for e in usable if all(e is not w for w in without)]
        if any(e.nonsense < RESTS_AFTER for e in usable):
            usable = [e for e in usable if e.nonsense < RESTS_AFTER or (not e.in_flight and now >= e.shunned_until)]
        usable = [e for e in usable if e is not last] or usable
        if len(usable) < 2:
            return usable[0] if usable else None
        best = min((e.seconds for e in usable if e.seconds), default=1.0)
        lags = [e.lag(now) or best for e in usable]  # who is not known is as good as the best, until it shows
        if subject and last is None:
            home = max(range(len(usable)), key=lambda i: hashlib.blake2b(f"{subject} {usable[i].url}".encode()).digest())
            share = (1 + sum(e.in_flight for e in usable)) / lags[home] / sum(1 / lag for lag in lags)
            if usable[home].in_flight < MOST_OF_SHARE * share:
                return usable[home]
        return min(zip(usable, lags, strict=True), key=lambda pair: (pair[0].in_flight + 1) * pair[1])[0]

    def note_answer(self, endpoint: Endpoint, sane: bool) -> None:
        """An endpoint answered. sane: with an answer."""
        now = time.monotonic()
        endpoint.note_success()
        if sane:
            self.latest_answer, endpoint.nonsense = now, 0
            return
        endpoint.nonsense += 1
        least = FIRST_PAUSE_S * 2 ** min(endpoint.nonsense, 16)
        endpoint.shunned_until = now + random.uniform(0.5, 1.5) * min(LONGEST_REST_S, least)


class Transport:
    """The servers of all models that are asked. `open` and `release` from any thread, the rest in one event loop."""

    def __init__(self, home: Path, config: EngineConfig) -> None:
        self._home, self._config = home, config
        self._servers = LocalServers(home, config)
        self._pools: dict[str, Pool] = {}  # by model key
        self._guard = threading.Lock()
        self._session: aiohttp.ClientSession | None = None

    def open(self, model_key: str, model: Model, log: Log) -> Pool:
        """The model's endpoints; a local server is started or joined when none are given, until `release`.

        Raises:
            EngineError: the model's key is not in the environment.
            ServerError, ModelError: the local server or the model's folder cannot be had.
        """
        server, access = None, read_access(model)
        if not model.endpoints:
            server = self._servers.acquire(
                model.name, model_folder(model, self._home), model.max_model_len, log, list(model.server_args)
            )
        urls = [server.base_url] if server else list(model.endpoints)
        with self._guard:
            pool = self._pools.get(model_key)
            if pool is None:
                pool = Pool(model, access, [_endpoint(url) for url in urls], Throttle(self._config.concurrency))
                self._pools[model_key] = pool
            elif server and pool.endpoints[0].url != chat_address(server.base_url):
                pool.endpoints = [_endpoint(server.base_url)]
            pool.server = server
            for endpoint in pool.endpoints:
                endpoint.forget_failures()  # what stopped an earlier call may have been mended
        return pool

    def release(self, pool: Pool) -> None:
        """Undo one `open`: a local server that nobody needs stops when it has been idle for long enough."""
        if pool.server:
            self._servers.release(pool.server.folder)

    def close(self) -> None:
        """Give back the local servers."""
        self._servers.close()

    async def disconnect(self) -> None:
        """Close the connections, in the event loop that used them."""
        if self._session:
            await self._session.close()

    async def send(self, pool: Pool, open_request: OpenRequest) -> Answer | Refusal:
        """Send one request until it is answered: other endpoints and pauses for what may pass, a refusal for what will not.

        Raises:
            EngineError: the request is not answered for a reason that is not its own; the message has the server's words.
        """
        call, body, tries, first_failed = open_request.call, open_request.body(), 0, 0.0
        endpoint, refused_by, refusal = None, [], None
        while True:
            endpoint = pool.pick(time.monotonic(), refused_by, endpoint, open_request.request.subject)
            if endpoint is None:
                if refusal:
                    return refusal
                await self._wait_for_endpoint(pool, call)
                continue
            sent = time.monotonic()
            said, wait_s = await self._post(pool, endpoint, body)
            row, answer = find_row(said.status, said.body), None
            if not said.body:
                answer = open_request.answer(said)
                row = open_request.judge(answer).row
            if answer and row.outcome is not Outcome.PASSING:
                pool.note_answer(endpoint, sane=row.outcome is Outcome.ANSWERED)
                endpoint.note_seconds(time.monotonic() - sent)
                pool.throttle.note_success()
                return answer
            what = _describe(pool, said)
            if row.outcome is Outcome.SET_UP:
                _note_wrong(pool, endpoint, f"{what}; {row.remedy}")
                continue
            if row.outcome is not Outcome.PASSING:
                pool.note_answer(endpoint, sane=row.outcome is Outcome.FAILED)
                refusal = _refuse(pool, said, row)
                if not refusal.doubt:
                    return refusal
                refused_by.append(endpoint)  # another replica may be set up better
                continue
            call.usage.retries += 1
            now = time.monotonic()
            _note_passing(pool, endpoint, said, wait_s, sent, now, f"{what}; {row.remedy}")
            tries, first_failed = tries + 1, first_failed or now
            if endpoint.refuses:
                continue  # whoever finds all endpoints so waits in `_wait_for_endpoint`
            if self._is_over(pool, said, row, first_failed, tries):
                if row.at_last is Outcome.DOUBTFUL:
                    return _refuse(pool, said, row)
                raise _unanswered(pool, endpoint)
            await asyncio.sleep(random.uniform(0.5, 1.5) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 16)))

    def _is_over(self, pool: Pool, said: Said, row: Row, first_failed: float, tries: int) -> bool:
        """Whether a request that failed several times is tried no more."""
        if said.status == 200 and row.at_last is Outcome.DOUBTFUL:
            return tries >= TRIES_WITHOUT_TEXT
        # A server that is asked too much and answers others will come to this one.
        since = max(first_failed, pool.latest_answer) if said.status in SLOWED_BY else first_failed
        return tries >= LEAST_TRIES and time.monotonic() - since > self._config.patience_s

    async def _post(self, pool: Pool, endpoint: Endpoint, body: bytes) -> tuple[Said, float]:
        """One HTTP request: what came of it, and for how many seconds the server asks to be left alone."""
        import aiohttp

        if self._session is None:
            self._session = open_session(self._config.timeout_s)
        if endpoint.failures >= RESTS_AFTER:
            endpoint.rest(time.monotonic())  # this request is the one that looks; others wait for what it finds
        request = object()
        endpoint.under_way[request] = endpoint.used = time.monotonic()
        try:
            async with self._session.post(
                endpoint.url, data=body, headers=pool.access.headers, allow_redirects=False
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
            return Said(None, "no connection", type(e).__name__), 0.0
        except TimeoutError:
            return Said(None, "timeout", f"no answer within {self._config.timeout_s:g} s"), 0.0
        except (aiohttp.ClientError, OSError, ValueError) as e:  # aiohttp gives ValueError for an address that is none
            return Said(None, "broken connection", f"{type(e).__name__}: {e}"), 0.0
        finally:
            del endpoint.under_way[request]
        return read_response(response.status, raw, pool.model.name), read_wait(response.headers)

    async def _wait_for_endpoint(self, pool: Pool, call: Call) -> None:
        """Called when every endpoint rests: wait a little, for a local server until it is back.

        Raises:
            EngineError: the given endpoints have failed for too long or say that they will, or the local server's supervisor gave
                up.
        """
        if pool.server and pool.endpoints[0].refuses:
            if pool.recovery is None or pool.recovery.done():
                pool.recovery = asyncio.create_task(self._recover(pool, pool.server, call.log_lines.put))
            await asyncio.shield(pool.recovery)
            return
        now = time.monotonic()
        right = [e for e in pool.endpoints if not e.wrong] or pool.endpoints
        soonest = min(right, key=lambda e: e.resting_until)
        patience = self._config.patience_s
        if not any(e.contacted for e in right):
            patience = min(patience, FIRST_CONTACT_S)
        failing = [e.failing_since for e in right]
        last_failed = max((f for f in failing if f is not None), default=now) if None not in failing else now
        if now - last_failed > patience or soonest.resting_until - now > max(patience, LONGEST_REST_S * 1.5):
            if all(e.refuses for e in right):
                addresses = ", ".join(e.shown for e in pool.endpoints)
                raise EngineError(
                    f"no endpoint of the model `{pool.model.name}` accepts connections ({addresses}); start the servers or correct "
                    "`endpoints` in the profile, then run the step again: answered requests are kept"
                )
            raise _unanswered(pool, soonest)
        if now - pool.said > _SAID_EVERY_S:
            pool.said = now
            if soonest.latest:
                call.log_lines.put(f"waiting for {soonest.shown}: {soonest.latest}")
        await asyncio.sleep(min(max(soonest.resting_until - now, 0.02), 0.2))

    async def _recover(self, pool: Pool, server: ServerHandle, log: Log) -> None:
        log(f"the server of {pool.model.name} does not answer; waiting for its restart; log: {server.log_path}")
        try:
            pool.server = await asyncio.to_thread(self._servers.recover, server, log)
        except ServerError as e:
            raise EngineError(f"{e}; answered requests are kept") from e
        pool.endpoints = [_endpoint(pool.server.base_url)]


def _endpoint(url: str) -> Endpoint:
    return Endpoint(chat_address(url), hide_secrets(chat_address(url)))


def _describe(pool: Pool, said: Said) -> str:
    """What happened, with the server's words: `503 (overloaded)`, `timeout (no answer within 60 s)`."""
    if said.status == 200 and not said.body:
        return f"the text was ended by `{said.finish}`"
    words = pool.access.hide(read_words(said.text))
    return f"{said.body if said.status in (None, 200) else said.status} ({words})"


def _unanswered(pool: Pool, endpoint: Endpoint) -> EngineError:
    return EngineError(f"{endpoint.shown} does not answer `{pool.model.name}`: {endpoint.latest}; answered requests are kept")


def _refuse(pool: Pool, said: Said, row: Row) -> Refusal:
    reason = f"{row.reason}:{said.status}" if row.reason == "refused" else row.reason
    doubtful = Outcome.DOUBTFUL in (row.outcome, row.at_last)
    return Refusal(reason, pool.access.hide(said.text), row.remedy if doubtful else "")


def _note_wrong(pool: Pool, endpoint: Endpoint, why: str) -> None:
    """Take an endpoint out that cannot answer any question.

    Raises:
        EngineError: no other one is left.
    """
    now = time.monotonic()
    endpoint.contacted, endpoint.latest = True, why
    endpoint.wrong = f"{endpoint.shown} refuses the model `{pool.model.name}` with {why}"
    endpoint.note_failure(now, now, at_once=True)
    if all(e.wrong for e in pool.endpoints):
        raise EngineError("; ".join(e.wrong for e in pool.endpoints))


def _note_passing(pool: Pool, endpoint: Endpoint, said: Said, wait_s: float, sent: float, now: float, why: str) -> None:
    endpoint.latest = why
    endpoint.refuses = said.body == "no connection"
    endpoint.contacted = endpoint.contacted or said.status is not None
    endpoint.note_failure(sent, now, at_once=endpoint.refuses or said.body == "timeout")
    if said.status in SLOWED_BY:
        pool.throttle.note_overload()
    if wait_s:
        endpoint.resting_until = max(endpoint.resting_until, now + wait_s * random.uniform(1.0, 1.1))


def read_wait(headers: Mapping[str, str]) -> float:
    """For how many seconds a server asks to be left alone: `Retry-After` in seconds or as a date, or in milliseconds."""
    given = headers.get("Retry-After", "").strip()
    try:
        if milliseconds := headers.get("Retry-After-Ms"):
            return max(0.0, float(milliseconds) / 1000)
        if given.replace(".", "", 1).isdigit():
            return float(given)
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time()) if given else 0.0
    except ValueError:
        return 0.0
