"""Garbage collection: what no lineage reaches is removed.

Roots are what declared partitions publish, and everything of nodes that keep it for ever (`Node.keeps_forever`) that passed its
contract, published or not; with each of them stays everything that its manifests name upstream, to the raw files' fingerprints. A
folder stays when any of its manifests is reached. Where a pointer is damaged, nobody knows which snapshot it protected: all of
its partition are roots. Where a manifest is damaged, nobody knows what it was made from: no snapshot goes at all.

No step runs meanwhile (`Home.steps_lock`). Still, nothing younger than `before` goes, nor any snapshot of a partition whose pointer
moved since: people look at what is new. Removing is renaming to a name that no
reader looks for and, when no step has published it again in a moment, deleting; a crash between the two leaves a folder that
the next collection deletes.

What belongs here: deciding and removing. What does not: deleting a user (`takedown.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from humanllm_assets.lineage.audit.indexes import index_folder
from humanllm_assets.lineage.identity import find_prompts
from humanllm_assets.lineage.inventory import Inventory
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Damage, Key, Pointer, Snapshot, read_pointer
from resources.processes import Holder

if TYPE_CHECKING:
    from resources.home import Home

TRASH = ".trash-"
DAY_S = 86_400.0
SETTLE_S = 1.0  # a step that has found a snapshot to publish again does so within this time


@dataclass(frozen=True)
class Removal:
    """One thing to remove. `what`: superseded, rejected, undeclared, pointer, leftover, prompt, answers, index or page."""

    path: Path
    what: str
    asset: str
    bytes: int
    pointer: Path | None = None  # of the snapshot's partition; checked again before the folder goes


def find_garbage(inventory: Inventory, home: Home, *, before: float, rejected_before: float) -> list[Removal]:
    """What would be removed, by asset.

    Args:
        before: seconds since 1970. Younger folders and files stay, and all snapshots of a partition published since.
        rejected_before: snapshots that broke their contract stay for inspection until they are older than this.
    """
    reached = _reach_folders(inventory)
    removals = [
        Removal(p.file, "pointer", p.item.asset, _size(p.file)) for p in inventory.undeclared if p.file.stat().st_mtime < before
    ]
    superseded = [] if inventory.damaged else list(_find_superseded(inventory, reached, before, rejected_before))
    removals += superseded
    removals += _find_leftovers(inventory, reached, before)
    removals += _find_unreferenced(home, inventory, {r.path for r in superseded}, before)
    order = {name: i for i, name in enumerate(inventory.graph.nodes)}
    return sorted(removals, key=lambda r: (order.get(r.asset, len(order)), r.asset, r.what, str(r.path)))


def _reach_folders(inventory: Inventory) -> set[Path]:
    """The folders of every manifest that a root's lineage names (those of purged or damaged snapshots too)."""
    graph, store = inventory.graph, inventory.store
    kept_forever = {name for name, node in graph.nodes.items() if node.keeps_forever}  # also of manifests that do not say so
    uncertain = {(p.item.asset, p.item.folder) for p in inventory.uncertain}

    def is_root(s: Snapshot) -> bool:
        forever = s.manifest.keeps_forever or s.item.asset in kept_forever
        return (forever and s.manifest.passed) or (s.item.asset, s.item.folder) in uncertain

    todo = [*inventory.published, *(key for key, s in inventory.snapshots.items() if is_root(s))]
    reached: set[Key] = set()
    while todo:
        key = todo.pop()
        if key not in reached:
            reached.add(key)
            if key in inventory.snapshots:
                todo.extend(ref.key for ref in inventory.snapshots[key].manifest.upstream)
    named = {store.partition_folder(*key.item) / key.data_version for key in reached}
    return named.union(*(store.partition_folder(*p.item).glob("[!.]*") for p in inventory.uncertain))


def _find_superseded(inventory: Inventory, reached: set[Path], before: float, rejected_before: float) -> Iterator[Removal]:
    """Snapshots that no root reaches. A partition whose pointer moved since `before` keeps all of its own."""
    store = inventory.store
    pointers = {store.partition_folder(*p.item): p.file for p in (*inventory.publications, *inventory.undeclared)}
    declared = {store.partition_folder(*item) for item in inventory.graph.all_partitions()}
    by_folder: dict[Path, list[Snapshot]] = {}
    for s in inventory.snapshots.values():
        by_folder.setdefault(s.folder, []).append(s)
    for folder, snapshots in by_folder.items():
        pointer = pointers.get(folder.parent)
        rejected = not any(s.manifest.passed for s in snapshots)
        limit = min(before, rejected_before) if rejected else before
        recent = pointer is not None and pointer.stat().st_mtime >= before
        if folder in reached or recent or _newest(folder) >= limit:
            continue
        is_declared = folder.parent in declared
        what = "undeclared" if not is_declared else "rejected" if rejected else "superseded"
        yield Removal(folder, what, snapshots[0].item.asset, _size(folder), pointer if is_declared else None)


def _find_leftovers(inventory: Inventory, reached: set[Path], before: float) -> Iterator[Removal]:
    """Folders of steps that died, trash of a collection that died, and what is left of purged snapshots that nothing names."""
    root = inventory.store.root
    with_manifest = {s.folder for s in inventory.snapshots.values()}
    for folder in sorted(root.glob("snapshots/*/*/*")):
        if folder.name.startswith(TRASH):
            old = not _alive(folder)
        elif folder.name.startswith("."):
            old = _newest(folder) < before - DAY_S
        elif inventory.damaged:
            old = False
        else:
            old = folder not in with_manifest and folder not in reached and _newest(folder) < before
        if old:
            yield Removal(folder, "leftover", folder.parent.parent.name, _size(folder))


def _find_unreferenced(home: Home, inventory: Inventory, gone: set[Path], before: float) -> Iterator[Removal]:
    """Prompts, lists of answers, audit indexes and pages that only removed snapshots name."""
    staying = [s for s in inventory.snapshots.values() if s.folder not in gone]
    manifests = [s.manifest for s in staying]
    pages = {page for m in manifests for page in list_docs_pages(m.verdict)}
    named = {page for s in inventory.snapshots.values() if s.folder in gone for page in list_docs_pages(s.manifest.verdict)}
    for page in sorted(named - pages):
        path = home.data_docs / page
        if path.is_file():
            yield Removal(path, "page", "", _size(path))
    if inventory.damaged:
        return  # what the damaged manifests name is not known
    named_by_kind = {
        "prompt": (home.root / "prompts", {p.text_sha256 for m in manifests for p in find_prompts(m.identity)}),
        "answers": (home.root / "answers", {m.answers_sha256 for m in manifests}),
        "index": (
            index_folder(home.root),
            {f.sha256 for m in manifests for f in m.files.values()} | {f"{s.manifest_sha256}-totals" for s in staying},
        ),
    }
    for what, (folder, names) in named_by_kind.items():
        for path in sorted(folder.glob("[!.]*")):
            if path.stem not in names and path.stat().st_mtime < before:
                yield Removal(path, what, "", _size(path))


def list_docs_pages(verdict: Mapping[str, Any] | None) -> list[str]:
    """The Data Docs pages of a verdict, relative to the docs folder."""
    return list((verdict or {}).get("docs", {}).values())


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
    trash = r.path.with_name(f"{TRASH}{r.path.name.lstrip('.')}-{Holder.me()}")
    try:
        os.rename(r.path, trash)
    except FileNotFoundError:
        return None
    return trash


def _published(r: Removal) -> bool:
    """Whether a partition's pointer names the snapshot by now, or is damaged and may have."""
    pointer = read_pointer(r.pointer.parent, r.pointer) if r.pointer else None
    return isinstance(pointer, Damage) or (isinstance(pointer, Pointer) and pointer.data_version == r.path.name)


def _alive(trash: Path) -> bool:
    """Whether the collection that renamed a folder still runs."""
    holder = Holder.parse(trash.name.removeprefix(TRASH).partition("-")[2])
    return holder is not None and holder.lives


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


def describe_damage(inventory: Inventory) -> list[str]:
    """What is damaged, what is kept because of it, and the remedy; one line for each file."""
    out = [
        f"{p.damage.sentence}, so every snapshot of {p.item} is kept; run: humanllm materialize '{p.item}'"
        for p in inventory.uncertain
        if p.damage and p.damage not in inventory.damaged
    ]
    for d in inventory.damaged:
        asset, folder = Path(d.file).parts[1:3]
        item = Item.of_folder(asset, folder)
        out.append(
            f"{d.sentence}, so what it was made from is not known and no snapshot is removed; run: humanllm materialize '{item}', "
            f"or, if it is damaged still, delete the folder {Path(d.file).parent}"
        )
    return out


def describe_removals(removals: Sequence[Removal]) -> list[str]:
    """One line per asset and kind: how many, how large."""
    groups: dict[tuple[str, str], list[Removal]] = {}
    for r in removals:
        groups.setdefault((r.asset or "-", r.what), []).append(r)
    return [
        f"{asset:<26} {len(g):>5} {what:<11} {format_size(sum(r.bytes for r in g)):>9}" for (asset, what), g in groups.items()
    ]


def format_size(n: float) -> str:
    """Bytes in words: `3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
