"""Takedown: what holds a user, forgetting the user, and deleting what is left of the user (docs/takedown.md).

`find_holdings` looks at every snapshot on disk, by the walk that `humanllm audit user` answers from (`audit/trace.py`): rows about
the user and of others that show the user's text, the samples that a checkpoint consumed in training, and what descends from them. `forget` writes a tombstone, which makes exactly the user's partitions stale; the graph then rebuilds
without the user, asking no model. `purge` deletes what is no longer published: snapshots, answers, work folders, pages.

What belongs here: finding and deleting. What does not: the rules that honour a tombstone (`tombstones.py`, `filtering/`).
"""

from __future__ import annotations

import contextlib
import html
import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from humanllm_assets.lineage.audit.chain import order
from humanllm_assets.lineage.audit.indexes import index_folder
from humanllm_assets.lineage.audit.trace import Hit, follow
from humanllm_assets.lineage.inventory import Inventory, take_inventory
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import PURGED, Key, Snapshot
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.removal.gc import list_docs_pages
from humanllm_assets.lineage.removal.scrub import Mentions, scrub_folder
from humanllm_assets.lineage.removal.search import Haystack, read_tables, search_files, split_passages
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.tombstones import Tombstone, edit_tombstones, read_tombstones, user_hash
from humanllm_assets.sql import parquet
from humanllm_assets.tables import TEXTS
from resources.errors import Explained
from resources.files import sha256_file, write_atomically
from resources.llm.journal import Journal
from resources.profile import site_of

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile


SHOWN = 5  # files named in one message
# Columns whose texts are about the row's user alone; the others hold templates and texts of others too.
_OWN_TEXTS = TEXTS - {"conversations", "options", "fields", "raw", "context_title", "context_text"}


class TakedownError(Explained):
    """A takedown that cannot be done; one sentence with the remedy."""


@dataclass(frozen=True)
class Holding:
    """One snapshot that holds a user: rows of its tables by table name, or none when it only descends from such a snapshot."""

    snapshot: Snapshot
    published: bool
    rows: Mapping[str, int]

    @property
    def item(self) -> Item:
        return self.snapshot.item

    @property
    def name(self) -> str:
        return str(self.item)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json` and the receipt: no text of the user."""
        return {**self.snapshot.key._asdict(), "published": self.published, "rows": dict(self.rows)}


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


def find_hits(inventory: Inventory, user: str) -> list[Hit]:
    """Every row on disk that belongs to a user, by reading all tables; a reply that only names the user's record is none.

    Raises:
        duckdb.Error: a table cannot be read.
    """
    found = follow(order(inventory.snapshots.values()), user, user)
    return [hit for same_row in found for hit in same_row if hit.via == "own"]


def find_holdings(inventory: Inventory, user: str, hits: Iterable[Hit] | None = None) -> list[Holding]:
    """Every snapshot on disk that holds a user, parents first within the graph; published ones before retained ones.

    A snapshot holds the user when one of its tables has a row that belongs to the user, or when it was made from a snapshot that
    holds the user (a merged model, an answer to a question, a report). For checkpoints the consumed samples decide alone: a user of
    the test split was not trained on. Rows about others that belong to the user, because they show the user's text, are counted as
    `<table> of others`.

    Args:
        hits: of `find_hits`, when they are there already.
    """
    snapshots = inventory.snapshots
    rows: dict[Key, dict[str, int]] = {}
    for hit in find_hits(inventory, user) if hits is None else hits:
        name = hit.table if hit.row.get("user_id", user) in (user, None) else f"{hit.table} of others"
        counts = rows.setdefault(hit.key, {})
        counts[name] = counts.get(name, 0) + 1
    holds: dict[Key, bool] = {}

    def is_holding(key: Key) -> bool:
        if key not in holds:
            holds[key] = False  # a manifest never descends from itself
            if snapshot := snapshots.get(key):
                upstream = [] if snapshot.manifest.trained else [ref.key for ref in snapshot.manifest.upstream]
                holds[key] = key in rows or any(map(is_holding, upstream))
        return holds[key]

    order = {name: i for i, name in enumerate(inventory.graph.nodes)}
    published = inventory.published
    listed = [Holding(s, k in published, rows.get(k, {})) for k, s in snapshots.items() if is_holding(k)]
    return sorted(listed, key=lambda h: (not h.published, order.get(h.item.asset, len(order)), h.name))


def find_unreadable(profile: Profile, store: SnapshotStore, user: str) -> dict[str, int]:
    """Unreadable rows of the site's published slices whose raw text mentions the user's name, by file: no rule can read whose
    they are, so a takedown leaves them."""
    site, _, name = user.partition("/")
    slices = [Item(f"eligible_{s}", p) for s, source in profile.sources.items() if site_of(s) == site for p in source.slices]
    files = [s.path("quarantine") for item in slices if (s := store.published(*item)) is not None]
    if not files:
        return {}
    with duckdb.connect() as con:
        query = f"select file, count(*) from {parquet(files)} where contains(raw, ?) group by 1 order by 1"
        return dict(con.execute(query, [name]).fetchall())


# ---- forgetting ------------------------------------------------------------------------------------------------------


def forget(
    profile: Profile,
    home: Home,
    user: str,
    reason: str,
    slots: Mapping[str, list[str]],
    posts: Mapping[str, Mapping[str, list[str]]],
) -> Tombstone:
    """Write the user's tombstone; a user who has one keeps it.

    Args:
        slots: by source the slices in which the user holds one of the slots that the caps allow, and which stays empty.
        posts: by source and slice the SHA-256 of the ids of the user's filtered records, whose answers there keep their places.

    Raises:
        TakedownError: the text is no user id.
        TombstoneError: the tombstones cannot be read.
    """
    site, hashed = check_user(profile, user), user_hash(user)
    with edit_tombstones(home) as tombstones:
        for known in tombstones:
            if (known.site, known.user_sha256) == (site, hashed):
                return known
        now = datetime.now(UTC).isoformat(timespec="seconds")
        tombstone = Tombstone(site=site, user_sha256=hashed, reason=reason, forgotten_at=now, slots=slots, posts=posts)
        tombstones.append(tombstone)
    return tombstone


# ---- deleting --------------------------------------------------------------------------------------------------------


def explain_wait(graph: Graph, held: Iterable[Holding], user: str) -> str | None:
    """Why a purge has to wait, with what to type; None when no published snapshot holds the user."""
    published = [h for h in held if h.published]
    if not published:
        return None
    names = [h.name for h in published]
    models = [h.name for h in published if graph[h.item.asset].keeps_forever]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
    targets = "".join(f" '{n}'" for n in names) if len(names) <= 4 else ""
    other = f"; or take the recipe out of the profile, which unpublishes {', '.join(models)}" if models else ""
    return f"{shown} still hold {user} and are published; rebuild first: humanllm refresh{targets}{other}"


def describe_damage(inventory: Inventory) -> list[str]:
    """Damaged pointers and manifests, which may hide that something holds the user or is published; one line for each."""
    pointers = [p.damage for p in (*inventory.publications, *inventory.undeclared) if p.damage]
    return [f"{d.sentence}: whether it tells of the user is not known" for d in dict.fromkeys([*pointers, *inventory.damaged])]


def _refuse_damage(inventory: Inventory, user: str) -> None:
    """A purge deletes for good, so it needs to know what is published and what every snapshot holds."""
    if inventory.damaged:
        d = inventory.damaged[0]
        raise TakedownError(f"{d.sentence}, and may hold {user}; delete the folder {Path(d.file).parent}, then purge again")
    for p in inventory.uncertain:
        if p.damage:
            raise TakedownError(f"{p.damage.sentence}; run: humanllm materialize '{p.item}', then purge again")
    for p in inventory.undeclared:
        if p.damage:
            file = inventory.store.show_path(p.file)
            raise TakedownError(f"{p.damage.sentence}; the profile no longer has {p.item}: delete {file}, then purge again")


def purge(graph: Graph, home: Home, store: SnapshotStore, user: str, say: Callable[[str], None] | None = None) -> Path:
    """Delete what is left of a forgotten user in the data home; returns the receipt's file. No step may be running.

    Deleted: snapshots that hold the user and are not published, models among them; answers about the user; training folders whose
    data hold the user; pages that name the user; indexes of audits; leftovers of steps that died. In Dagster's records of past
    runs the ids of the user and of the user's records are replaced, and the values shown beside them. A deleted snapshot's folder
    keeps `purged.json`, so that an audit of what was made from it says so. A purge that was interrupted is finished by the next
    one.

    No index is trusted, and before the snapshots go, from which the user's records and words are known, every byte that stays is
    searched for them (`search.py`).

    Args:
        say: receives a progress line every two seconds.

    Raises:
        TakedownError: the user has no tombstone, a published snapshot holds the user, a pointer, manifest or table is damaged, or
            something that tells of the user is left that cannot be deleted.
        JournalInUse, JournalDamaged: see `Journal.purge`.
    """
    hashed = user_hash(user)
    if not any(t.user_sha256 == hashed for t in read_tombstones(home)):
        raise TakedownError(f"{user} is not forgotten yet, so the next run would bring it back; run: humanllm forget {user}")
    found = take_inventory(graph, store)
    _refuse_damage(found, user)
    hits = find_hits(found, user)
    held = find_holdings(found, user, hits)
    if reason := explain_wait(graph, held, user):
        raise TakedownError(reason)
    staying = {found.snapshots[k].folder for k in found.published}
    gone = {h.snapshot.folder: h for h in held if h.snapshot.folder not in staying}
    published = [s for k in found.published if (s := found.snapshots[k])]
    now = datetime.now(UTC)
    path = home.receipts / f"{now:%Y%m%dT%H%M%SZ}-{hashed[:12]}.json"
    receipt: dict[str, Any] = {"takedown": hashed, "purged_at": now.isoformat(timespec="seconds"), "complete": False}
    receipt["snapshots"] = [_describe_snapshot(store, s) for s in found.snapshots.values() if s.folder in gone]
    write_atomically(path, _json(receipt))  # an interrupted purge has a receipt too
    try:
        ids = _record_ids(gone, user)
        passages = _read_passages(gone, user)
        journal = Journal(home.root)
    except (duckdb.Error, sqlite3.DatabaseError) as e:
        raise TakedownError(
            f"a table or the journal cannot be read ({str(e).splitlines()[0]}); run: humanllm audit --verify"
        ) from e
    with contextlib.closing(journal):
        passages -= _find_shared(home, published, journal, user, passages)
        haystack = Haystack([user, *ids], passages)
        receipt["answers"] = journal.purge(user, haystack.find_text)
    mentions = Mentions([user, *ids], haystack.find_text)
    pages = {home.data_docs / page for h in gone.values() for page in list_docs_pages(h.snapshot.manifest.verdict)}
    receipt["pages"] = _delete_pages(home, {p for p in pages if p.is_file()}, mentions)
    receipt["training"] = _delete_training(home, user, {str(h.row["sample_id"]) for h in hits if "sample_id" in h.row})
    for leftover in [*store.root.glob("snapshots/*/*/.*"), *home.scratch.glob("*"), *index_folder(home.root).glob("*")]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    receipt["run_records"] = scrub_folder(home.dagster, mentions)
    _refuse_leftovers(home, user, haystack, gone, {s.folder for s in published}, say)
    # the snapshots last: where the user's records have to be looked for is known from them alone
    for p in found.undeclared:
        if p.snapshot and p.snapshot.folder in gone:
            p.file.unlink()
    for folder in gone:
        mine = [d for d in receipt["snapshots"] if store.root / d["folder"] == folder]
        stub = {"takedown": hashed, "purged_at": receipt["purged_at"], "receipt": path.name, "snapshots": mine}
        write_atomically(folder / PURGED, _json(stub))
    for folder in {p.parent for p in store.root.glob(f"snapshots/*/*/*/{PURGED}")}:
        if folder in gone or not any(folder.glob("manifest*.json")):
            _empty(folder)
    write_atomically(path, _json(receipt | {"complete": True}))
    return path


def _read_passages(folders: Iterable[Path], user: str) -> set[str]:
    """Passages of all texts in the rows about the user in the tables of these snapshots: the user's words, and models' about them."""
    found: set[str] = set()
    with duckdb.connect() as con:
        for file in (f for folder in folders for f in folder.glob("*.parquet")):
            table = parquet([file])
            columns = {r[0] for r in con.execute(f"describe select * from {table}").fetchall() if r[1] == "VARCHAR"}
            if "user_id" in columns:
                for column in sorted(columns & _OWN_TEXTS):
                    query = f'select "{column}" from {table} where user_id = ? and "{column}" is not null'
                    for (text,) in con.execute(query, [user]).fetchall():
                        found.update(split_passages(text))
    return found


def _find_shared(home: Home, published: Iterable[Snapshot], journal: Journal, user: str, passages: set[str]) -> set[str]:
    """Passages that others have too: in what is published, which no row of the user is in, in their answers, in prompts."""
    haystack, own = Haystack((), passages), Haystack([user])
    shared: set[str] = set()
    with duckdb.connect() as con:
        tables = read_tables(con, (s.path(t) for s in published for t in s.manifest.tables))
        answers = (text.encode("utf-8", "surrogatepass") for text in journal.read_texts(user) if not own.find_text(text))
        prompts = (p.read_bytes() for p in sorted(home.prompts.glob("*.md")))
        for part in itertools.chain(prompts, tables, answers):
            shared |= {f.name for f in haystack.find(part)}
    return shared


def _refuse_leftovers(
    home: Home, user: str, haystack: Haystack, gone: Iterable[Path], published: set[Path], say: Callable[[str], None] | None
) -> None:
    """Search every file that stays; what only logs or remembers goes, and anything else stops the purge.

    The id of an answered post may stay in a published table, with the comment that answers it (docs/takedown.md).

    Raises:
        TakedownError: something is left, or a file cannot be searched.
    """
    left = []
    for path, found, problem in search_files(home.root, haystack, set(gone), say):
        names = {f.name for f in found}
        if path.parent in published and path.suffix == ".parquet" and not problem and user not in names:
            continue
        if not problem and path.is_relative_to(home.root / "snapshots") and not any(path.parent.glob("manifest*.json")):
            path.unlink()  # of a folder that is no snapshot
        elif not problem and path.is_relative_to(home.training):
            shutil.rmtree(home.training / path.relative_to(home.training).parts[0], ignore_errors=True)
        elif not problem and any(
            path.is_relative_to(home.root / name) for name in ("servers", "dagster/storage", "models/.digests")
        ):
            path.unlink()
        else:
            left.append(f"{path.relative_to(home.root)}{f': {problem}' if problem else ''}")
    if left:
        shown = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if left[SHOWN:] else "")
        raise TakedownError(
            f"the purge is not complete, because something of {user} may be left in {shown}; delete it, then purge again"
        )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _describe_snapshot(store: SnapshotStore, s: Snapshot) -> dict[str, Any]:
    """A snapshot by its hashes alone."""
    return {
        **s.ref().model_dump(),
        "folder": store.show_path(s.folder),
        "files": {file: stored.sha256 for file, stored in s.manifest.files.items()},
    }


def _empty(folder: Path) -> None:
    """Delete all of a purged folder but its `purged.json`; manifests first, so that no reader takes the rest for a snapshot."""
    for path in sorted(folder.iterdir(), key=lambda p: not p.name.startswith("manifest")):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != PURGED:
            path.unlink()


def _record_ids(folders: Iterable[Path], user: str) -> list[str]:
    """Ids of the user's records in the tables of these snapshots."""
    found: set[str] = set()
    with duckdb.connect() as con:
        for file in (f for folder in folders for f in folder.glob("*.parquet")):
            table = parquet([file])
            if {"user_id", "record_id"} <= {r[0] for r in con.execute(f"describe select * from {table}").fetchall()}:
                query = f"select distinct record_id from {table} where user_id = ? and record_id is not null"
                found.update(r[0] for r in con.execute(query, [user]).fetchall())
    return sorted(found)


def _delete_pages(home: Home, pages: set[Path], mentions: Mentions) -> list[str]:
    """Delete these pages and all others that name the user; returns their content hashes."""
    pages |= {p for p in home.data_docs.rglob("*.html") if mentions.found(html.unescape(p.read_text(encoding="utf-8")))}
    hashes = sorted(sha256_file(p) for p in pages)
    for page in pages:
        page.unlink()
    return hashes


def _delete_training(home: Home, user: str, samples: Collection[str]) -> list[str]:
    """Delete the work folders of training runs whose data hold the user, in samples of the user or these; returns their recipes."""
    deleted = []
    for data in sorted(home.training.glob("*/samples.parquet")):
        with duckdb.connect() as con:
            columns = {r[0] for r in con.execute(f"describe select * from {parquet([data])}").fetchall()}
            shown = con.execute(f"select * from {parquet([data])} where user_id = ? limit 1", [user]).fetchall()
            if "sample_id" in columns:
                query = f"select * from {parquet([data])} where sample_id in (select unnest(?)) limit 1"
                shown += con.execute(query, [sorted(samples)]).fetchall()
            if shown:
                shutil.rmtree(data.parent)
                deleted.append(data.parent.name)
    return deleted


# ---- in words --------------------------------------------------------------------------------------------------------


def describe_holdings(graph: Graph, held: Iterable[Holding], unreadable: Mapping[str, int], user: str) -> list[str]:
    """What holds a user, one line per asset; models by name; then files with unreadable rows that mention the name."""
    left = [f"{n} unreadable rows of {file} mention the name and stay: mend the file" for file, n in unreadable.items()]
    by_asset: dict[str, list[Holding]] = {}
    for h in held:
        by_asset.setdefault(h.item.asset, []).append(h)
    if not by_asset:
        return [f"No snapshot holds {user}; a tombstone keeps the user out of later files.", *left]
    out = [f"{'asset':<26} {'published':>9} {'retained':>8} {'rows published':>14}"]
    for asset, found in by_asset.items():
        published = [h for h in found if h.published]
        rows = sum(sum(h.rows.values()) for h in published)
        derived = "" if any(h.rows for h in found) else "  by lineage"
        out.append(f"{asset:<26} {len(published):>9} {len(found) - len(published):>8} {rows:>14,}{derived}")
        if found[0].snapshot.manifest.keeps_forever or (asset in graph.nodes and graph[asset].keeps_forever):
            out += [f"  {h.name} {h.snapshot.data_version[:12]}{' (published)' if h.published else ''}" for h in found]
    return out + left


def describe_outcome(user: str, done: Mapping[str, Any]) -> str:
    """What was done, and what to type next."""
    if "receipt" not in done:
        return (
            f"{user} is forgotten (tombstone {done['tombstone']['user_sha256'][:12]}).\nWhat held the user is stale; next:\n"
            f"  humanllm refresh\n  humanllm forget {user} --purge"
        )
    receipt = json.loads(Path(done["receipt"]).read_bytes())
    snapshots, answers, pages = (len(receipt[k]) for k in ("snapshots", "answers", "pages"))
    return (
        f"deleted {snapshots} snapshots, {answers} answers, {pages} pages, {len(receipt['training'])} training folders;\n"
        f"changed {receipt['run_records']} records of past runs; receipt:\n{done['receipt']}"
    )
