"""`humanllm forget` and `humanllm gc`: what each shows, asks and does.

What belongs here: the order of what the commands do. What does not: finding and deleting (`lineage/removal/`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.inventory import take_inventory
from humanllm_assets.lineage.removal import gc, takedown
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.tombstones import Tombstone, empty_slots, gone_posts, read_tombstones
from humanllm_assets.sql import parquet
from resources.locks import hold_lock
from resources.profile import site_of
from resources.sources import SOURCES

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile

Echo = Callable[[str], None]


def list_forgotten(home: Home, echo: Echo) -> None:
    """Print who is forgotten, by hash."""
    for t in read_tombstones(home):
        echo(f"{t.forgotten_at[:10]}  {t.site:<8} {t.user_sha256[:12]}  {t.reason}")


def forget(
    profile: Profile,
    home: Home,
    user: str,
    reason: str,
    *,
    purge: bool,
    as_json: bool,
    confirm: Callable[[str], bool] | None,
    echo: Echo,
) -> int:
    """Show what holds a user, write the tombstone and, with `purge`, delete what is left; returns the exit code.

    Args:
        as_json: print data instead of lines. Nobody is asked then: without consent (`confirm` is None) nothing is changed.
        confirm: asks a person before anything is changed; None: consent was given.

    Raises:
        TakedownError: the text is no user id, published snapshots still hold the user, or a purge finds a
            damaged pointer or manifest.
        SnapshotError: the pointer or manifest of an eligible slice of the user's site is damaged, so that nobody
            knows which slots the user holds.
        Locked: a step runs, which may read what a purge deletes.
        JournalInUse: another process uses the journal, which therefore cannot be written anew.
    """
    takedown.check_user(profile, user)
    graph, store = build_graph(profile, home.prepare(profile)), SnapshotStore(home.root)
    inventory = take_inventory(graph, store)
    held, unreadable = takedown.find_holdings(inventory, user), takedown.find_unreadable(profile, store, user)
    damage = takedown.describe_damage(inventory)
    done: dict[str, object] = {"user": user, "holdings": [h.as_dict() for h in held], "unreadable_rows": unreadable}
    done["damage"] = damage
    if not as_json:
        for line in [*takedown.describe_holdings(graph, held, unreadable, user), *damage]:
            echo(line)
        if confirm and not confirm(f"{'Purge' if purge else 'Forget'} {user}?"):
            return 1
    if confirm is None or not as_json:
        done["tombstone"] = forget_user(profile, home, store, user, reason).model_dump()
        if purge:
            with hold_lock(home.steps_lock, "humanllm forget --purge"):
                done["receipt"] = str(takedown.purge(graph, home, store, user, None if as_json else echo))
    echo(json.dumps(done, indent=1) if as_json else takedown.describe_outcome(user, done))
    return 0


def forget_user(profile: Profile, home: Home, store: SnapshotStore, user: str, reason: str) -> Tombstone:
    """Write the user's tombstone, with the slots that the user holds now and that stay empty, and the posts whose answers go.

    Raises:
        TakedownError: the text is no user id.
    """
    slots = {s: held for s in profile.sources if (held := find_slots(profile, home, store, s, user))}
    posts = {s: found for s in profile.sources if (found := find_answered(profile, store, s, user))}
    return takedown.forget(profile, home, user, reason, slots, posts)


def find_slots(profile: Profile, home: Home, store: SnapshotStore, source: str, user: str) -> list[str]:
    """The slices of a source in which the user holds one of the slots that the caps allow; none without a cap on users."""
    caps, posts = profile.thresholds.caps_of(source), SOURCES[source].answers
    if caps.max_users_per_slice is None or site_of(source) != user.split("/")[0]:
        return []
    held = []
    for slice_name in profile.sources[source].slices:  # type: ignore[index]
        snapshot = store.published(f"eligible_{source}", slice_name)
        answered = store.published(f"filtered_{posts}", slice_name) if posts else None
        if snapshot is None or (posts and answered is None):
            continue
        with duckdb.connect() as con:
            con.execute(f"create view records as select * from {parquet([snapshot.path('records')])}")
            if answered:
                con.execute(f"create view posts as select * from {parquet([answered.path('records')])}")
            gone = gone_posts(home, source, slice_name)
            select_for_llm(con, caps, empty_slots(home, source, slice_name), "posts" if answered else None, gone)
            if con.execute("select count(*) from selected where user_id = ?", [user]).fetchall()[0][0]:
                held.append(slice_name)
    return held


def find_answered(profile: Profile, store: SnapshotStore, source: str, user: str) -> dict[str, list[str]]:
    """By slice of a source that answers another one: SHA-256 of the ids of the user's filtered records there. They matter only to
    caps, which draw from their answers."""
    caps, posts = profile.thresholds.caps_of(source), SOURCES[source].answers
    if posts is None or (caps.max_users_per_slice is None and caps.max_records_per_user is None):
        return {}
    found = {}
    for slice_name in profile.sources[source].slices:  # type: ignore[index]
        if snapshot := store.published(f"filtered_{posts}", slice_name):
            with duckdb.connect() as con:
                query = f"select sha256(record_id) from {parquet([snapshot.path('records')])} where user_id = ? order by 1"
                if hashes := [h for (h,) in con.execute(query, [user]).fetchall()]:
                    found[slice_name] = hashes
    return found


def collect_garbage(
    profile: Profile, home: Home, *, grace_minutes: float, rejected_days: float, remove: bool, echo: Echo
) -> None:
    """List what neither a published partition nor a checkpoint was made from, and remove it when told to.

    Raises:
        Locked: a step runs, which may read what is to be removed.
    """
    graph, now = build_graph(profile, home.prepare(profile)), time.time()
    with hold_lock(home.steps_lock, "humanllm gc --yes") if remove else nullcontext():
        inventory = take_inventory(graph, SnapshotStore(home.root))
        before, rejected_before = now - 60 * grace_minutes, now - gc.DAY_S * rejected_days
        found = gc.find_garbage(inventory, home, before=before, rejected_before=rejected_before)
        for line in [*gc.describe_damage(inventory), *gc.describe_removals(found)]:
            echo(line)
        if not found:
            echo("nothing to remove")
        elif remove:
            echo(f"{gc.format_size(gc.remove(found))} freed")
        else:
            echo(f"{gc.format_size(sum(r.bytes for r in found))} would be freed; to remove it: humanllm gc --yes")
