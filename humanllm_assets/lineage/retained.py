"""Every snapshot on disk, declared or not, and who descends from whom.

What belongs here: walking manifests and pointers. What does not: deciding what goes (`gc.py`, `takedown.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from humanllm_assets.lineage.nodes import NO_PARTITION, Graph
from humanllm_assets.lineage.snapshots import UNPARTITIONED, Manifest, Ref, Snapshot, SnapshotStore
from resources.files import sha256_file

ManifestKey = tuple[str, str, str, str]  # asset, partition, data version, manifest file


def key_of(snapshot: Snapshot) -> ManifestKey:
    m = snapshot.manifest
    return m.asset, m.partition, m.data_version, snapshot.manifest_file


def ref_key(ref: Ref) -> ManifestKey:
    return ref.asset, ref.partition, ref.data_version, ref.manifest


@dataclass(frozen=True)
class Pointer:
    """What is published of one partition."""

    path: Path
    asset: str
    partition: str
    folder: Path
    manifest: str
    declared: bool  # the graph still has this partition


@dataclass(frozen=True)
class Retained:
    """All manifests that can be read, parents of their partition's folder included; and those that cannot."""

    snapshots: Mapping[ManifestKey, Snapshot]
    damaged: tuple[Path, ...]
    pointers: tuple[Pointer, ...]

    @property
    def published(self) -> set[ManifestKey]:
        """Manifests that declared partitions point to."""
        current = {(p.folder, p.manifest) for p in self.pointers if p.declared}
        return {k for k, s in self.snapshots.items() if (s.folder, s.manifest_file) in current}

    def folders(self, keys: Iterable[ManifestKey]) -> set[Path]:
        return {self.snapshots[k].folder for k in keys if k in self.snapshots}


def retained(graph: Graph, store: SnapshotStore) -> Retained:
    """Read every manifest and pointer below the store."""
    found: dict[ManifestKey, Snapshot] = {}
    damaged = []
    for path in sorted(store.root.glob("snapshots/*/*/[!.]*/manifest*.json")):
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except ValueError:
            damaged.append(path)
            continue
        snapshot = Snapshot(path.parent, path.name, manifest, sha256_file(path))
        found[key_of(snapshot)] = snapshot
    return Retained(found, tuple(damaged), tuple(_pointers(graph, store)))


def _pointers(graph: Graph, store: SnapshotStore) -> Iterable[Pointer]:
    declared = {(a, p or UNPARTITIONED): p for a, p in graph.all_partitions()}
    for path in sorted(store.root.glob("published/*/*.json")):
        asset, name = path.parent.name, path.stem
        content = json.loads(path.read_bytes())
        partition = declared.get((asset, name), NO_PARTITION if name == UNPARTITIONED else name)
        folder = store.partition_folder(asset, partition) / content["data_version"]
        yield Pointer(path, asset, partition, folder, content["manifest"], (asset, name) in declared)
