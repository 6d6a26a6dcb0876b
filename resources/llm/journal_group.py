"""Look-ups and answers on their way to the journal, gathered: one query and one commit serve all that come within milliseconds.

An answer is in the journal when `keep` returns; until then its request counts as in flight. So a crash loses no more than is in flight,
the group that is being committed included.

What belongs here: gathering. What does not: the file (`journal.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from resources.llm.journal import Answer, Journal

GATHER_S = 0.004  # a model's answer takes a hundred times as long at least
_T = TypeVar("_T")


class JournalGroup:
    """The journal for one event loop, which never waits for the disk. Only `close` is called from outside of it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._busy = asyncio.Lock()
        self._group: list[str | Answer] = []  # what is gathered now, and
        self._results: asyncio.Task[list[Answer | None]] | None = None  # what will come of it, in the same order

    async def find(self, key: str) -> Answer | None:
        """The stored answer to a question."""
        return await self._join(key)

    async def keep(self, answer: Answer) -> Answer:
        """Store an answer and return the one that is kept: when another process was first, its answer."""
        return await self._join(answer) or answer

    async def in_writer(self, work: Callable[..., _T], *args: Any) -> _T:
        """Something else that waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *args)

    async def _join(self, what: str | Answer) -> Answer | None:
        if self._results is None:
            self._results = asyncio.create_task(self._serve())
        place, results = len(self._group), self._results
        self._group.append(what)
        return (await asyncio.shield(results))[place]

    async def _serve(self) -> list[Answer | None]:
        await asyncio.sleep(GATHER_S)
        async with self._busy:  # gathering goes on while the group before is written
            group, self._group, self._results = self._group, [], None
            # Shielded: what has been paid for is written, whoever stops waiting for it.
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, self._do, group))

    def _do(self, group: Sequence[str | Answer]) -> list[Answer | None]:
        kept = iter(self._journal.put_many([what for what in group if isinstance(what, Answer)]))
        found = self._journal.get_many([what for what in group if isinstance(what, str)])
        return [next(kept) if isinstance(what, Answer) else found.get(what) for what in group]

    def close(self) -> None:
        """Write what was gathered and not begun, when the loop has ended, and wait for it."""
        self._writer.submit(self._do, self._group).result()
        self._writer.shutdown()
