"""Which questions are being asked right now, by any process of a home, so that none is paid twice.

A claim is a lock on one byte of `<home>/journal/asking.lock`, far beyond its end, at a place that follows from the question's key.
The kernel keeps it, in some microseconds, and frees it when its holder ends by whatever means. (Two keys at one place would wait
for each other: one chance in 2^60.) These are Linux's locks of an open file (F_OFD_SETLK), which two engines of one process do not
share.

What belongs here: claims. What does not: answers (`journal.py`), equal questions of one engine (`attempts.py`).
"""

from __future__ import annotations

import fcntl
import struct
from contextlib import ExitStack
from pathlib import Path

from resources.locks import hold_lock, read_holders


class Claims:
    """The claims of one engine."""

    def __init__(self, home: Path) -> None:
        self._path = home / "journal" / "asking.lock"
        self._open = ExitStack()
        self._file = self._open.enter_context(hold_lock(self._path, "asks models", shared=True))

    def take(self, key: str) -> bool:
        """Claim a question; False when another engine asks it."""
        try:
            self._set(key, fcntl.F_WRLCK)
        except BlockingIOError:
            return False
        return True

    def give_back(self, key: str) -> None:
        """Others may ask the question."""
        self._set(key, fcntl.F_UNLCK)

    def _set(self, key: str, kind: int) -> None:
        place = int(key[:15], 16)
        flock = struct.pack("hhqqi0q", kind, 0, place, 1, 0)  # type, whence (start of the file), start, length, process
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, flock)

    def list_others(self) -> list[str]:
        """Who else asks questions now."""
        return read_holders(self._path, but_mine=True)

    def close(self) -> None:
        """Give everything back."""
        self._open.close()
