"""Lock files of a home. The kernel frees a lock when its holder ends by whatever means, so a crash never leaves one behind.

Beside a lock file lies one note per holder, `<lock>.<holder>-<number>`, with what it is held for: notes are for people, so that who
waits can say for whom. A note whose process is gone means nothing.

What belongs here: locks of any purpose. What does not: who takes them (`Home` knows which there are).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.errors import Explained
from resources.processes import Holder


class Locked(Explained):
    """Somebody else holds the lock; the message says who."""


@contextmanager
def hold_lock(
    path: Path, purpose: str, *, shared: bool = False, on_wait: Callable[[str], None] | None = None, keep: bool = False
) -> Iterator[int]:
    """Hold a lock file, whose open descriptor is given.

    Args:
        purpose: what for, in the words that others read.
        shared: beside others who hold it shared, but nobody who does not.
        on_wait: wait for the lock, and tell this once who holds it; None: never wait.
        keep: a program that takes this process's place (`os.exec...`) goes on holding it.

    Raises:
        Locked: others hold it, and `on_wait` is None; `purpose` begins the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError as e:
            holders = "; ".join(read_holders(path)) or "another process"
            if on_wait is None:
                raise Locked(
                    f"{purpose} cannot start beside {holders}; wait for its end or stop it, then run the command again"
                ) from e
            on_wait(f"waiting for: {holders}")
            fcntl.flock(lock, how)
        os.set_inheritable(lock.fileno(), keep)
        note = path.with_name(f"{path.name}.{Holder.me()}-{lock.fileno()}")
        note.write_text(purpose, encoding="utf-8")
        try:
            yield lock.fileno()
        finally:
            note.unlink(missing_ok=True)


def read_holders(path: Path, *, but_mine: bool = False) -> list[str]:
    """Who holds a lock file, as `<purpose> (process <id>)`. Notes of processes that are gone are removed."""
    found = []
    for note in sorted(path.parent.glob(f"{path.name}.*")):
        holder = Holder.parse(note.name.removeprefix(f"{path.name}."))
        try:
            purpose = note.read_text(encoding="utf-8")
        except FileNotFoundError:  # given back in this moment
            continue
        if but_mine and holder == Holder.me():
            continue
        if holder and holder.lives:
            found.append(f"{purpose} (process {holder.pid})")
        else:
            note.unlink(missing_ok=True)
    return found
