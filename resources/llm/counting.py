"""Counting texts by a model's own tokens: from its folder, else by its server's POST /tokenize."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from resources.errors import EngineError
from resources.llm.connections import hide_secrets, open_session, read_access, tokenize_address
from resources.llm.outcomes import Outcome, find_row
from resources.models import model_folder
from resources.profile import Engine as EngineConfig
from resources.profile import Model, resolve_path
from resources.prompting.tokens import FolderCounter

if TYPE_CHECKING:
    import aiohttp

_AT_ONCE = 16  # texts that a server counts at the same time


def make_counter(model: Model, home: Path, config: EngineConfig) -> FolderCounter | ServerCounter:
    """The counter of a model, without special tokens.

    Raises:
        ModelError: the model has a folder without tokenizer, or one that cannot be used.
    """
    if not model.path and not model.package:
        return ServerCounter(model, config)
    return FolderCounter(resolve_path(model.path) if model.path and model.endpoints else model_folder(model, home))


class ServerCounter:
    """Counts by the endpoints of a model, in the caller's thread and over connections that stay open. Safe to share; close it."""

    def __init__(self, model: Model, config: EngineConfig) -> None:
        self._model, self._config, self._access = model, config, read_access(model)
        self._guard = threading.Lock()
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text.

        Raises:
            EngineError: no endpoint counts, or counts in a way that is known here.
        """
        with self._guard:
            return self._runner.run(self._count_all(texts))

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            if self._session:
                self._runner.run(self._session.close())
            self._runner.close()

    async def _count_all(self, texts: Sequence[str]) -> list[int]:
        session = self._session = self._session or open_session(self._config.timeout_s)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def count(text: str) -> int:
            async with limit:
                return await self._count(session, text)

        return list(await asyncio.gather(*(count(text) for text in texts)))

    async def _count(self, session: aiohttp.ClientSession, text: str) -> int:
        import aiohttp

        # `content` and `add_special` are how llama.cpp calls them; vLLM and SGLang leave out what they do not know.
        body = orjson.dumps(
            {"model": self._model.name, "prompt": text, "content": text, "add_special_tokens": False, "add_special": False}
        )
        started, pause, last = time.monotonic(), 0.25, "its servers have no /tokenize"
        urls = self._model.endpoints if self._model.dialect == "vllm" else ()
        while urls:
            passing = False
            for url in map(tokenize_address, urls):
                try:
                    async with session.post(url, data=body, headers=self._access.headers) as response:
                        count = read_count(await response.read(), text) if response.status == 200 else None
                        if count is not None:
                            return count
                        row = find_row(response.status, "malformed" if response.status == 200 else "error")
                        last = f"{hide_secrets(url)} answered {response.status}"
                        last += " in a form that is not known here" if response.status == 200 else ""
                        passing = passing or (row.outcome is Outcome.PASSING and response.status != 200)
                except (aiohttp.ClientError, OSError, TimeoutError) as e:
                    last = f"{hide_secrets(url)}: {type(e).__name__}"
            if not passing or time.monotonic() - started > self._config.patience_s:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, 20.0)
        raise EngineError(
            f"tokens of `{self._model.name}` cannot be counted ({last}); give the model a `path` with its tokenizer.json"
        )


def read_count(raw: bytes, text: str) -> int | None:
    """How many tokens a response counts: `count`, else the length of `tokens` or of the list that it is. None for any other form,
    and where a text has none: the server read another field than the one that was sent."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if isinstance(data, dict):
        data = data["count"] if isinstance(data.get("count"), int) else data.get("tokens")
    count = len(data) if isinstance(data, list) else data
    return count if isinstance(count, int) and not isinstance(count, bool) and (count > 0 or not text.strip()) else None
