"""Who is to be forgotten: `<home>/tombstones.json`, read whenever an identity is computed.

A tombstone names a user by the SHA-256 of the user id alone. `forget` (`takedown.py`) writes it; these partitions
honour it, and everything after them follows through the graph:

- every `eligible_*` slice of the user's site: the hashes are part of their identity, so all of them run their SQL again, which
  asks no model. A slice that did not hold the user comes out equal, and what follows it stays fresh.
- the `filtered_*` slices in which the user had a slot, one of `caps.max_users_per_slice`: the slot stays empty. Otherwise the next
  user would move up, and a takedown would ask a model about somebody else.
- the slices whose records answered the user's filtered ones: these answers are dropped, and their places in the caps stay empty too.

A partition that no tombstone concerns has no key of them in its identity.

What belongs here: the file and what partitions ask of it. What does not: deleting anything (`takedown.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from humanllm_assets.lineage.manifests import Frozen
from resources.errors import Explained
from resources.files import write_atomically
from resources.profile import site_of

if TYPE_CHECKING:
    from resources.home import Home


class TombstoneError(Explained):
    """The tombstones cannot be read: nothing may be computed, because it might bring a forgotten user back."""


class Tombstone(Frozen):
    """One forgotten user. `slots`: by source the slices in which the user's slot stays empty. `posts`: by source and slice the
    SHA-256 of the ids of the user's filtered records that were answered there."""

    site: str
    user_sha256: str
    reason: str
    forgotten_at: str  # UTC, ISO 8601
    slots: Mapping[str, list[str]]
    posts: Mapping[str, Mapping[str, list[str]]] = {}


def user_hash(user_id: str) -> str:
    """SHA-256 of a user id such as `reddit/alice`; DuckDB's `sha256(user_id)` gives the same."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def read_tombstones(home: Home) -> list[Tombstone]:
    """All tombstones, oldest first.

    Raises:
        TombstoneError: the file is damaged.
    """
    try:
        content = home.tombstones.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [Tombstone.model_validate(t) for t in json.loads(content)["tombstones"]]
    except (ValueError, KeyError, TypeError, ValidationError) as e:
        raise TombstoneError(
            f"{home.tombstones} is damaged ({str(e).splitlines()[0]}); bring back a copy of it, because without it forgotten users "
            "would return"
        ) from e


@contextmanager
def edit_tombstones(home: Home) -> Iterator[list[Tombstone]]:
    """The tombstones as a list to append to, written when the context ends; one process at a time."""
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / ".tombstones.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read_tombstones(home)
        before = len(found)
        yield found
        if len(found) != before:
            content = json.dumps({"tombstones": [t.model_dump() for t in found]}, indent=1, ensure_ascii=False)
            write_atomically(home.tombstones, content.encode())


def forgotten_users(home: Home, source: str) -> list[str]:
    """Hashes of the forgotten users of a source's site; comments share Reddit's users."""
    return sorted({t.user_sha256 for t in read_tombstones(home) if t.site == site_of(source)})


def empty_slots(home: Home, source: str, slice_name: str) -> list[str]:
    """Hashes of the forgotten users whose slots in a slice stay empty."""
    return sorted({t.user_sha256 for t in read_tombstones(home) if slice_name in t.slots.get(source, ())})


def gone_posts(home: Home, source: str, slice_name: str) -> list[str]:
    """Hashes of the ids of forgotten users' records whose answers in a slice leave their places empty."""
    return sorted({post for t in read_tombstones(home) for post in t.posts.get(source, {}).get(slice_name, ())})


def forgotten_identity(home: Home, source: str) -> dict[str, Any]:
    """What tombstones add to the identity of a partition that reads the source's files; nothing when there are none."""
    found = forgotten_users(home, source)
    return {"forgotten": found} if found else {}


def slots_identity(home: Home, source: str, slice_name: str) -> dict[str, Any]:
    """What tombstones add to the identity of a filtered slice; nothing when no place in it is kept empty."""
    found = {"empty_slots": empty_slots(home, source, slice_name), "gone_posts": gone_posts(home, source, slice_name)}
    return {name: hashes for name, hashes in found.items() if hashes}
