"""Where a request goes, and what is done until a server answers it: other endpoints, pauses, a local server's restart.

What belongs here: endpoints, how many requests are in flight, HTTP. What does not: starting servers (`local_servers.py`), what is
asked again because its answer is bad (`attempts.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from resources.errors import EngineError
from resources.llm.connections import open_session, server_address
from resources.llm.journal import Answer
from resources.llm.local_servers import LocalServers, ServerError, ServerHandle
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import Log
from resources.models import model_folder
from resources.profile import Engine as EngineConfig
from resources.profile import Model

if TYPE_CHECKING:
    import aiohttp

PATIENCE_S = 60.0  # how long all given endpoints of a model may refuse connections before the call fails
PASSING_TRIES = 8  # times one request is sent again after 429, 5xx or a broken connection
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 20.0


class Refusal(NamedTuple):
    """A request that no server will answer: HTTP status and the response's text."""

    status: int
    text: str


@dataclass
class Endpoint:
    """One server. `down_since`: when it first refused a connection, None while it takes them."""

    url: str
    in_flight: int = 0
    down_since: float | None = None
    next_look: float = 0.0  # when down: not before this time

    def note_failure(self, now: float) -> None:
        """Note that it refused a connection; it is tried again later, and ever less often."""
        self.down_since = self.down_since or now
        self.next_look = now + random.uniform(0.5, 1.5) * min(5.0, 0.5 + (now - self.down_since))


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
    endpoints: list[Endpoint]
    throttle: Throttle
    server: ServerHandle | None = None
    recovery: asyncio.Task[None] | None = None

    def pick(self, now: float) -> Endpoint | None:
        """The endpoint with the least in flight; one that is down is looked at again from time to time."""
        usable = [e for e in self.endpoints if e.down_since is None or now >= e.next_look]
        return min(usable, key=lambda e: e.in_flight) if usable else None


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
            ServerError, ModelError: the local server or the model's folder cannot be had.
        """
        server = None
        if not model.endpoints:
            server = self._servers.acquire(model.name, model_folder(model, self._home), model.max_model_len, log)
        with self._guard:
            pool = self._pools.get(model_key)
            if pool is None:
                urls = [server.base_url] if server else [server_address(url) for url in model.endpoints]
                pool = Pool(model, [Endpoint(url) for url in urls], Throttle(self._config.concurrency))
                self._pools[model_key] = pool
            elif server and pool.endpoints[0].url != server.base_url:
                pool.endpoints = [Endpoint(server.base_url)]
            pool.server = server
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
            EngineError: no endpoint can be reached, or none of them can answer any request (unknown model, bad key).
        """
        usage, body, tries = open_request.call.usage, open_request.body(), 0
        while True:
            endpoint = pool.pick(time.monotonic())
            if endpoint is None:
                await self._wait_for_endpoint(pool, open_request.call)
                continue
            response = await self._post(endpoint, body)
            if response is None:
                usage.retries += 1
                continue
            if response.status == 200:
                pool.throttle.note_success()
                try:
                    return open_request.read_answer(response.raw)
                except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as e:
                    raise EngineError(
                        f"{endpoint.url} is not an OpenAI-compatible chat server; correct `endpoints` in the profile"
                    ) from e
            status, text = response.status, response.raw[:2000].decode("utf-8", "replace")
            if status in (401, 403, 404):
                raise EngineError(
                    f"{endpoint.url} refuses the model `{pool.model.name}` with {status} ({_message(text)}); "
                    f"correct the model's `name` or `endpoints` in the profile, or the server's served model name"
                )
            if status in (429, 503):
                pool.throttle.note_overload()
            tries += 1
            if not (status == 429 or status >= 500) or tries > PASSING_TRIES:
                return Refusal(status, text)
            usage.retries += 1
            await asyncio.sleep(random.uniform(0.5, 1.5) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)))

    async def _post(self, endpoint: Endpoint, body: bytes) -> _Response | None:
        """One HTTP request; None when the endpoint takes no connection. Broken connections count as 502, timeouts as 408."""
        import aiohttp

        if self._session is None:
            self._session = open_session(self._config.timeout_s)
        if endpoint.down_since is not None:
            endpoint.note_failure(time.monotonic())  # this request is the one that looks; others wait for what it finds
        endpoint.in_flight += 1
        try:
            async with self._session.post(f"{endpoint.url}/v1/chat/completions", data=body) as response:
                raw = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            endpoint.note_failure(time.monotonic())
            return None
        except TimeoutError:
            return _Response(408, f"no answer within {self._config.timeout_s:.0f} s".encode())
        except aiohttp.ClientError as e:
            return _Response(502, f"{type(e).__name__}: {e}".encode())
        finally:
            endpoint.in_flight -= 1
        endpoint.down_since = None
        return _Response(response.status, raw)

    async def _wait_for_endpoint(self, pool: Pool, call: Call) -> None:
        """Called when every endpoint is down: wait a little, for a local server until it is back.

        Raises:
            EngineError: the given endpoints have been down for too long, or the local server's supervisor gave up.
        """
        if pool.server:
            if pool.recovery is None or pool.recovery.done():
                pool.recovery = asyncio.create_task(self._recover(pool, pool.server, call.log_lines.put))
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

    async def _recover(self, pool: Pool, server: ServerHandle, log: Log) -> None:
        log(f"the server of {pool.model.name} does not answer; waiting for its restart; log: {server.log_path}")
        try:
            pool.server = await asyncio.to_thread(self._servers.recover, server, log)
        except ServerError as e:
            raise EngineError(f"{e}; answered requests are kept") from e
        pool.endpoints = [Endpoint(pool.server.base_url)]


class _Response(NamedTuple):
    status: int
    raw: bytes


def _message(text: str) -> str:
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        return str(orjson.loads(text)["error"]["message"])
    return text[:200]
