"""Which journal answers a step used: a list beside the snapshots that its manifest names by hash.

    answers/<sha256>   64 bytes per answer, sorted: its key in the journal, and the digest of the stored answer

The journal is one file for all steps and grows for ever, so no hash of it can be bound. This list is: it is named by its own
content, the manifest holds that name, and the hash chain the manifest. An answer that is edited afterwards, its own
`row_sha256` included, differs from the list. Content-addressed, so equal lists are one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from resources.files import write_atomically

ENTRY_BYTES = 64


def answers_file(home: Path, sha256: str) -> Path:
    """Where a list of answers lies, by its content hash."""
    return home / "answers" / sha256


def keep_answers(home: Path, entries: bytes) -> str:
    """Store a list of answers and return its SHA-256, or "" when no answer was used.

    Args:
        entries: key and digest of each answer, 32 bytes each, in any order and as often as it was used.
    """
    if not entries:
        return ""
    listed = sorted({entries[i : i + ENTRY_BYTES] for i in range(0, len(entries), ENTRY_BYTES)})
    content = b"".join(listed)
    sha256 = hashlib.sha256(content).hexdigest()
    if not answers_file(home, sha256).exists():
        write_atomically(answers_file(home, sha256), content)
    return sha256


def read_answers(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Key (as the journal writes it) and digest of every answer of a list."""
    for i in range(0, len(content), ENTRY_BYTES):
        yield content[i : i + 32].hex(), content[i + 32 : i + ENTRY_BYTES]
