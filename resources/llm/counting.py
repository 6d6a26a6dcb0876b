"""Counting texts by a model's own tokens: from its folder, else by its server's POST /tokenize."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from resources.errors import EngineError
from resources.llm.connections import open_session, server_address
from resources.models import model_folder
from resources.profile import Model, resolve_path
from resources.prompting.tokens import FolderCounter

if TYPE_CHECKING:
    import aiohttp

_AT_ONCE = 16  # texts that a server counts at the same time


def make_counter(model: Model, home: Path, timeout_s: float) -> FolderCounter | ServerCounter:
    """The counter of a model, without special tokens.

    Raises:
        ModelError: the model has a folder without tokenizer, or one that cannot be used.
    """
    if not model.path and not model.package:
        return ServerCounter(model, timeout_s)
    return FolderCounter(resolve_path(model.path) if model.path and model.endpoints else model_folder(model, home))


class ServerCounter:
    """Counts by the endpoints of a model, in the caller's thread and over connections that stay open. Safe to share; close it."""

    def __init__(self, model: Model, timeout_s: float) -> None:
        self._model, self._timeout_s = model, timeout_s
        self._guard = threading.Lock()
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text.

        Raises:
            EngineError: no endpoint counts.
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
        session = self._session = self._session or open_session(self._timeout_s)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def count(text: str) -> int:
            async with limit:
                return await self._count(session, text)

        return list(await asyncio.gather(*(count(text) for text in texts)))

    async def _count(self, session: aiohttp.ClientSession, text: str) -> int:
        body = orjson.dumps({"model": self._model.name, "prompt": text, "add_special_tokens": False})
        last = "no endpoint"
        for url in map(server_address, self._model.endpoints):
            try:
                async with session.post(f"{url}/tokenize", data=body) as response:
                    if response.status == 200:
                        return orjson.loads(await response.read())["count"]
                    last = f"{url} answered {response.status}"
            except (OSError, TimeoutError) as e:
                last = f"{url}: {type(e).__name__}"
        raise EngineError(
            f"tokens of `{self._model.name}` cannot be counted ({last}); give the model a `path` with its tokenizer.json"
        )
