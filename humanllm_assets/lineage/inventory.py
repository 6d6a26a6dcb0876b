"""Reading pointers and manifests: the one way to what is published and what is retained, declared by the graph or not.

A torn file is an answer here (`Damage`), not an exception. What belongs here: reading. What does not: following references
(`audit/chain.py`), deciding what goes (`removal/`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from humanllm_assets.lineage.snapshots import PURGED, UNPARTITIONED, Frozen, Manifest, Ref, Snapshot, SnapshotStore

CHECKPOINT = "sft_checkpoint"


class Damage(NamedTuple):
    """One file that is not what the chain says. `file` is relative to the data home where it lies there."""

    file: str
    problem: str
    altered: bool = True  # False: a note that breaks nothing, such as a source file that is gone

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class Pointer(Frozen):
    """What `published/<asset>/<partition>.json` holds."""

    data_version: str
    manifest: str
    manifest_sha256: str


class Key(NamedTuple):
    """One manifest of one snapshot."""

    asset: str
    partition: str
    data_version: str
    manifest: str


def key_of(s: Snapshot) -> Key:
    return Key(s.manifest.asset, s.manifest.partition, s.data_version, s.manifest_file)


def key_of_ref(ref: Ref) -> Key:
    return Key(ref.asset, ref.partition, ref.data_version, ref.manifest)


def pointer_file(store: SnapshotStore, asset: str, partition: str) -> Path:
    return store.root / "published" / asset / f"{partition or UNPARTITIONED}.json"


def shown(store: SnapshotStore, path: Path) -> str:
    """A path as messages write it: relative to the data home where it lies there."""
    return str(path.relative_to(store.root)) if path.is_relative_to(store.root) else str(path)


def read_snapshot(store: SnapshotStore, folder: Path, name: str) -> Snapshot | Damage:
    """The snapshot of a manifest file, or what is wrong with that file."""
    path = folder / name
    try:
        content = path.read_bytes()
        return Snapshot(folder, name, Manifest.model_validate_json(content), hashlib.sha256(content).hexdigest())
    except FileNotFoundError:
        if (stub := folder / PURGED).is_file():
            return Damage(
                shown(store, stub), "the snapshot was purged after a takedown; this file says when, and names the receipt"
            )
        return Damage(shown(store, path), "missing" if folder.is_dir() else "missing, with its whole snapshot")
    except ValueError as e:  # of JSON and of pydantic
        return Damage(shown(store, path), f"altered: no manifest any more ({str(e).splitlines()[0]})")


def read_pointer(store: SnapshotStore, asset: str, partition: str) -> Pointer | Damage | None:
    """The published pointer of a partition, what is wrong with it, or None when nothing was published."""
    path = pointer_file(store, asset, partition)
    try:
        content = path.read_bytes()
        pointer = Pointer.model_validate_json(content)
    except FileNotFoundError:
        return None
    except ValidationError as e:
        return Damage(shown(store, path), f"altered: no pointer any more ({str(e).splitlines()[0]})")
    if content != json.dumps(pointer.model_dump(), indent=1).encode():
        return Damage(shown(store, path), "altered: not as it was written")
    return pointer


def published(store: SnapshotStore) -> Iterator[tuple[Snapshot | Damage, Path]]:
    """Every published snapshot with its pointer's path, or what is wrong with it."""
    for path in sorted((store.root / "published").glob("*/*.json")):
        asset, partition = path.parent.name, path.stem if path.stem != UNPARTITIONED else ""
        pointer = read_pointer(store, asset, partition)
        if isinstance(pointer, Damage):
            yield pointer, path
        elif pointer:
            found = read_snapshot(store, store.partition_folder(asset, partition) / pointer.data_version, pointer.manifest)
            if isinstance(found, Snapshot) and found.manifest_sha256 != pointer.manifest_sha256:
                yield Damage(shown(store, found.folder / pointer.manifest), "altered after it was published"), path
            yield found, path


def retained(store: SnapshotStore) -> Iterator[Snapshot | Damage]:
    """Every retained snapshot that passed its contract, one per manifest."""
    for path in sorted((store.root / "snapshots").glob("*/*/[!.]*/manifest*.json")):
        found = read_snapshot(store, path.parent, path.name)
        if isinstance(found, Damage) or found.manifest.passed:
            yield found
