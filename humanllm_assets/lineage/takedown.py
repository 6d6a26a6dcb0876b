"""Takedown: what holds a user, forgetting the user, and deleting what is left of the user (docs/takedown.md).

`holdings` looks at every snapshot on disk: rows with the user's id, the samples that a checkpoint consumed in training, and what
descends from them. `forget` writes a tombstone, which makes exactly the user's partitions stale; the graph then rebuilds without
the user, asking no model. `purge` deletes what is no longer published: snapshots, answers, work folders, pages.

What belongs here: finding and deleting. What does not: the rules that honour a tombstone (`tombstones.py`, `filtering/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets.lineage.nodes import Graph, display
from humanllm_assets.lineage.retained import ManifestKey, Retained, key_of, ref_key, retained
from humanllm_assets.lineage.snapshots import Snapshot, SnapshotStore
from humanllm_assets.lineage.tombstones import Tombstone, adding, empty_places, site_of, user_hash

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile

CHECKPOINT = "sft_checkpoint"  # its rows name samples, not users


class TakedownError(RuntimeError):
    """A takedown that cannot be done; one sentence with the remedy."""


@dataclass(frozen=True)
class Holding:
    """One snapshot that holds a user: rows of its tables by table name, or none when it only descends from such a snapshot."""

    snapshot: Snapshot
    published: bool
    rows: Mapping[str, int]

    @property
    def name(self) -> str:
        return display(self.snapshot.manifest.asset, self.snapshot.manifest.partition)


def check_user(profile: Profile, user: str) -> str:
    """The site of a user id.

    Raises:
        TakedownError: the text is no user id of the profile's sources.
    """
    site, _, name = user.partition("/")
    sites = sorted({site_of(s) for s in profile.sources})
    if site == "reddit_comments" and name:
        raise TakedownError(f"commenters are Reddit users; write reddit/{name}")
    if site not in sites or not name:
        raise TakedownError(f"`{user}` is no user id; write SOURCE/USER, where SOURCE is one of: {', '.join(sites)}")
    return site


# ---- what holds a user -----------------------------------------------------------------------------------------------


def holdings(graph: Graph, store: SnapshotStore, user: str) -> list[Holding]:
    """Every snapshot on disk that holds a user, parents first within the graph; published ones before retained ones.

    A snapshot holds the user when one of its tables has a row with the user's id, when it is a checkpoint that consumed a sample
    of the user, or when it was made from a snapshot that holds the user (a merged model, an answer to a question, a report). For
    checkpoints the consumed samples decide alone: a user of the test split was not trained on.
    """
    return _holdings(graph, retained(graph, store), user)


def _holdings(graph: Graph, found: Retained, user: str) -> list[Holding]:
    rows = _rows_of_user(found.snapshots.values(), user)
    holds: dict[ManifestKey, bool] = {}

    def held(key: ManifestKey) -> bool:
        if key not in holds:
            holds[key] = False  # a manifest never descends from itself
            snapshot = found.snapshots.get(key)
            if snapshot is not None:
                above = [ref_key(r) for r in snapshot.manifest.upstream]
                if snapshot.manifest.asset == CHECKPOINT:
                    if consumed := _consumed(snapshot, [found.snapshots[k] for k in above if k in found.snapshots], user):
                        rows[key] = {"consumed": consumed}
                    holds[key] = key in rows
                else:
                    holds[key] = key in rows or any([held(k) for k in above])
        return holds[key]

    order = {name: i for i, name in enumerate(graph.nodes)}
    published = found.published
    listed = [Holding(s, k in published, rows.get(k, {})) for k, s in found.snapshots.items() if held(k)]
    return sorted(listed, key=lambda h: (not h.published, order.get(h.snapshot.manifest.asset, len(order)), h.name))


def _rows_of_user(snapshots: Iterable[Snapshot], user: str) -> dict[ManifestKey, dict[str, int]]:
    """Rows with the user's id, by manifest and table; one query per table of an asset."""
    files: dict[tuple[str, str], dict[str, list[ManifestKey]]] = {}
    for s in snapshots:
        for table in s.manifest.tables:
            if s.path(table).is_file():
                files.setdefault((s.manifest.asset, table), {}).setdefault(str(s.path(table)), []).append(key_of(s))
    found: dict[ManifestKey, dict[str, int]] = {}
    with duckdb.connect() as con:
        for (_, table), keys in files.items():
            listed = f"read_parquet([{', '.join(_text(f) for f in keys)}], filename = true, union_by_name = true)"
            if "user_id" not in {r[0] for r in con.execute(f"describe select * from {listed}").fetchall()}:
                continue
            query = f"select filename, count(*) from {listed} where user_id = ? group by 1"
            for file, n in con.execute(query, [user]).fetchall():
                for key in keys[file]:
                    found.setdefault(key, {})[table] = n
    return found


def _consumed(checkpoint: Snapshot, upstream: Iterable[Snapshot], user: str) -> int:
    """Samples of the user that a training run consumed: rows of `consumed` whose sample or record is the user's."""
    ids = {"samples": "sample_id", "records": "record_id"}  # of task_datasets, and of filtered_* (raw continuation)
    theirs = [
        f"select {column} from read_parquet({_text(str(s.path(table)))}) where user_id = $1"
        for s in upstream
        for table, column in ids.items()
        if table in s.manifest.tables and s.path(table).is_file()
    ]
    if not theirs or not checkpoint.path("consumed").is_file():
        return 0
    with duckdb.connect() as con:
        query = f"select count(*) from read_parquet({_text(str(checkpoint.path('consumed')))}) where sample_id in ({' union all '.join(theirs)})"
        return con.execute(query, [user]).fetchall()[0][0]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# ---- forgetting ------------------------------------------------------------------------------------------------------


def forget(profile: Profile, home: Home, store: SnapshotStore, user: str, reason: str) -> Tombstone:
    """Write the user's tombstone, with the places that stay empty; a user who has one keeps it.

    Raises:
        TakedownError: the text is no user id.
        TombstoneError: the tombstones cannot be read.
    """
    site, hashed = check_user(profile, user), user_hash(user)
    with adding(home) as tombstones:
        for known in tombstones:
            if (known.site, known.user_sha256) == (site, hashed):
                return known
        slots = {s: held for s in profile.sources if site_of(s) == site and (held := _places(profile, home, store, s, user))}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        tombstone = Tombstone(site=site, user_sha256=hashed, reason=reason, forgotten_at=now, slots=slots)
        tombstones.append(tombstone)
    return tombstone


def _places(profile: Profile, home: Home, store: SnapshotStore, source: str, user: str) -> list[str]:
    """The slices of a source in which the user holds one of the places that the caps allow; none without a cap on users."""
    caps = profile.thresholds.caps
    if caps.max_users_per_slice is None:
        return []
    held = []
    for slice_name in profile.sources[source].slices:  # type: ignore[index]
        snapshot = store.published(f"eligible_{source}", slice_name)
        if snapshot is None:
            continue
        with duckdb.connect() as con:
            con.execute(f"create view records as select * from read_parquet({_text(str(snapshot.path('records')))})")
            select_for_llm(con, caps, empty_places(home, source, slice_name))
            if con.execute("select count(*) from selected where user_id = ?", [user]).fetchall()[0][0]:
                held.append(slice_name)
    return held
