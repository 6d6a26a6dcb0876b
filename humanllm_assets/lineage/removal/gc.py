"""Garbage collection: what no lineage reaches is removed.

Roots are what declared partitions publish, and every checkpoint and merged model that passed its contract, published or not;
with each of them stays everything that its manifests name upstream, to the raw files' fingerprints. A folder stays when any of
its manifests is reached.

How it keeps out of the way of running steps: nothing younger than `before` goes, nor any snapshot of a partition whose pointer
moved since: a step that began after `before` can have pinned or sealed nothing else. Removing is renaming to a name that no
reader looks for and, when no step has published it again in a moment, deleting; a crash between the two leaves a folder that
the next collection deletes.

What belongs here: deciding and removing. What does not: deleting a user (`takedown.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from humanllm_assets.lineage.audit.indexes import folder as index_folder
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.retained import ManifestKey, Retained, ref_key, retained
from humanllm_assets.lineage.snapshots import Snapshot, SnapshotStore

if TYPE_CHECKING:
    from resources.home import Home

KEPT_ALWAYS = ("sft_checkpoint", "merged_model")  # costly, and what an audit asks about
TRASH = ".trash-"
DAY_S = 86_400.0
SETTLE_S = 1.0  # a step that has found a snapshot to publish again does so within this time


@dataclass(frozen=True)
class Removal:
    """One thing to remove. `what`: superseded, rejected, undeclared, pointer, leftover, prompt or page."""

    path: Path
    what: str
    asset: str
    bytes: int
    pointer: Path | None = None  # of the snapshot's partition; checked again before the folder goes


def garbage(graph: Graph, home: Home, store: SnapshotStore, *, before: float, rejected_before: float) -> list[Removal]:
    """What would be removed, by asset.

    Args:
        before: seconds since 1970. Younger folders and files stay, and all snapshots of a partition published since.
        rejected_before: snapshots that broke their contract stay for inspection until they are older than this.
    """
    found = retained(graph, store)
    folders = _reached(found, store)
    removals = [Removal(p.path, "pointer", p.asset, _size(p.path)) for p in found.pointers if not p.declared]
    removals = [r for r in removals if r.path.stat().st_mtime < before]
    gone: set[Path] = set()
    by_folder: dict[Path, list[Snapshot]] = {}
    for s in found.snapshots.values():
        by_folder.setdefault(s.folder, []).append(s)
    moved = {p.folder.parent: p for p in found.pointers}
    declared = {store.partition_folder(a, p) for a, p in graph.all_partitions()}
    for folder, snapshots in by_folder.items():
        pointer = moved.get(folder.parent)
        rejected = not any(s.manifest.passed for s in snapshots)
        limit = min(before, rejected_before) if rejected else before
        recent = pointer is not None and pointer.path.stat().st_mtime >= before
        if folder in folders or recent or _newest(folder) >= limit:
            continue
        what = "undeclared" if folder.parent not in declared else "rejected" if rejected else "superseded"
        asset = snapshots[0].manifest.asset
        removals.append(Removal(folder, what, asset, _size(folder), pointer.path if pointer and pointer.declared else None))
        gone.add(folder)
    removals += _leftovers(store, found, folders, before)
    removals += _unreferenced(home, found, gone, before)
    order = {name: i for i, name in enumerate(graph.nodes)}
    return sorted(removals, key=lambda r: (order.get(r.asset, len(order)), r.asset, r.what, str(r.path)))


def _reached(found: Retained, store: SnapshotStore) -> set[Path]:
    """The folders of every manifest that a root's lineage names (those of purged or damaged snapshots too)."""
    roots = found.published | {k for k, s in found.snapshots.items() if s.manifest.asset in KEPT_ALWAYS and s.manifest.passed}
    todo, reached = list(roots), set[ManifestKey]()
    while todo:
        key = todo.pop()
        if key not in reached:
            reached.add(key)
            if key in found.snapshots:
                todo.extend(ref_key(r) for r in found.snapshots[key].manifest.upstream)
    folders = {store.partition_folder(asset, partition) / version for asset, partition, version, _ in reached}
    return folders | {p.folder for p in found.pointers if p.declared} | {path.parent for path in found.damaged}


def _leftovers(store: SnapshotStore, found: Retained, reached: set[Path], before: float) -> Iterator[Removal]:
    """Folders of steps that died, trash of a collection that died, and what is left of purged snapshots that nothing names."""
    with_manifest = {s.folder for s in found.snapshots.values()}
    for folder in sorted(store.root.glob("snapshots/*/*/*")):
        hidden = folder.name.startswith(".")
        if hidden:
            trash = folder.name.startswith(TRASH)
            old = not _alive(folder) if trash else _newest(folder) < before - DAY_S
        else:
            old = folder not in with_manifest and folder not in reached and _newest(folder) < before
        if old:
            yield Removal(folder, "leftover", folder.parent.parent.name, _size(folder))


def _unreferenced(home: Home, found: Retained, gone: set[Path], before: float) -> Iterator[Removal]:
    """Prompts, lists of answers, audit indexes and pages that only removed snapshots name."""
    staying = [s.manifest for s in found.snapshots.values() if s.folder not in gone]
    prompts = {sha for m in staying for sha in _prompt_hashes(m.identity)}
    for path in sorted((home.root / "prompts").glob("*.md")):
        if path.stem not in prompts and path.stat().st_mtime < before:
            yield Removal(path, "prompt", "", _size(path))
    lists = {m.answers_sha256 for m in staying}
    for path in sorted((home.root / "answers").glob("[!.]*")):
        if path.name not in lists and path.stat().st_mtime < before:
            yield Removal(path, "answers", "", _size(path))
    known = {f.sha256 for m in staying for f in m.files.values()}
    known |= {f"{s.manifest_sha256}-totals" for s in found.snapshots.values() if s.folder not in gone}
    for path in sorted(index_folder(home.root).glob("[!.]*")):
        if path.stem not in known and path.stat().st_mtime < before:
            yield Removal(path, "index", "", _size(path))
    pages = {page for m in staying for page in docs_pages(m.verdict)}
    named = {page for s in found.snapshots.values() if s.folder in gone for page in docs_pages(s.manifest.verdict)}
    for page in sorted(named - pages):
        path = home.data_docs / page
        if path.is_file():
            yield Removal(path, "page", "", _size(path))


def docs_pages(verdict: Mapping[str, Any] | None) -> list[str]:
    """The Data Docs pages of a verdict, relative to the docs folder."""
    return list((verdict or {}).get("docs", {}).values())


def _prompt_hashes(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key == "text_sha256":
                yield child
            else:
                yield from _prompt_hashes(child)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for child in value:
            yield from _prompt_hashes(child)


def remove(removals: Sequence[Removal]) -> int:
    """Remove them; returns the bytes freed. A snapshot that was published meanwhile stays."""
    files = [r for r in removals if not r.path.is_dir()]  # pointers of undeclared partitions before their snapshots
    for r in files:
        r.path.unlink(missing_ok=True)
    freed = sum(r.bytes for r in files)
    hidden = [(r, trash) for r in removals if r.path.is_dir() and (trash := _hide(r))]
    if hidden:
        time.sleep(SETTLE_S)
    for r, trash in hidden:
        if _published(r):
            os.rename(trash, r.path)
        else:
            shutil.rmtree(trash)
            freed += r.bytes
    return freed


def _hide(r: Removal) -> Path | None:
    """The folder under its new name; None when it is published by now, or gone."""
    if r.path.name.startswith(TRASH):
        return r.path
    if _published(r):
        return None
    trash = r.path.with_name(f"{TRASH}{r.path.name.lstrip('.')}-{os.getpid()}")
    try:
        os.rename(r.path, trash)
    except FileNotFoundError:
        return None
    return trash


def _published(r: Removal) -> bool:
    try:
        return r.pointer is not None and json.loads(r.pointer.read_bytes())["data_version"] == r.path.name
    except FileNotFoundError:
        return False


def _alive(trash: Path) -> bool:
    """Whether the collection that renamed a folder still runs."""
    return os.path.exists(f"/proc/{trash.name.rsplit('-', 1)[1]}")


def _newest(folder: Path) -> float:
    """When anything in a folder changed last; reading changes nothing."""
    return max((stat.st_mtime for stat in _stats(folder)), default=0.0)


def _size(path: Path) -> int:
    return sum(stat.st_size for stat in _stats(path) if not S_ISDIR(stat.st_mode))


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of a file, or of a folder and all in it; what a running step removes meanwhile is passed over."""
    for p in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            yield p.stat()


# ---- in words --------------------------------------------------------------------------------------------------------


def lines(removals: Sequence[Removal]) -> list[str]:
    """One line per asset and kind: how many, how large."""
    groups: dict[tuple[str, str], list[Removal]] = {}
    for r in removals:
        groups.setdefault((r.asset or "-", r.what), []).append(r)
    return [f"{asset:<26} {len(g):>5} {what:<11} {size(sum(r.bytes for r in g)):>9}" for (asset, what), g in groups.items()]


def size(n: float) -> str:
    """Bytes in words: `3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
