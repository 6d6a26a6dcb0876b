"""The ledger of the answers that replies were made from: 64 bytes each, in a nameless file, so that memory stays flat.

What belongs here: noting and listing. What does not: keeping the list with a snapshot (`humanllm_assets/lineage/answers.py`).
"""

from __future__ import annotations

import tempfile
import threading

from resources.llm.journal import Answer


class UsedAnswers:
    """The answers used so far, in order of use. Safe to share between threads."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        self._size = 0
        self._guard = threading.Lock()

    def note(self, answer: Answer) -> None:
        """Add an answer, as often as it is used."""
        entry = bytes.fromhex(answer.key) + answer.digest
        with self._guard:
            self._size += self._file.write(entry)

    def mark(self) -> int:
        """A mark to give to `since`."""
        return self._size

    def since(self, mark: int) -> bytes:
        """Key and digest (32 bytes each) of every answer noted since the mark."""
        with self._guard:
            self._file.seek(mark)
            return self._file.read()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
