"""Every snapshot and pointer on disk, declared by the graph or not, and what is wrong with those that cannot be read.

What belongs here: looking at all of them. What does not: reading one (`manifests.py`), following references (`audit/chain.py`),
deciding what goes (`removal/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Damage, Key, Snapshot
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.lineage.snapshots import SnapshotStore


@dataclass(frozen=True)
class Publication:
    """What is published of one partition.

    `file`: the pointer's; `snapshot`: the one that it names, also when its manifest is not the published one any more; `damage`:
    why the pointer or the manifest that it names cannot be trusted, so that nobody knows what was published.
    """

    item: Item
    file: Path
    snapshot: Snapshot | None
    damage: Damage | None


def read_publication(store: SnapshotStore, item: Item) -> Publication | None:
    """What is published of a partition; None when nothing is."""
    file = store.pointer_file(*item)
    pointer = store.read_pointer(*item)
    if pointer is None:
        return None
    if isinstance(pointer, Damage):
        return Publication(item, file, None, pointer)
    found = store.read_snapshot(store.partition_folder(*item) / pointer.data_version, pointer.manifest)
    if isinstance(found, Damage):
        return Publication(item, file, None, found)
    if found.manifest_sha256 != pointer.manifest_sha256:
        name = store.show_path(found.folder / pointer.manifest)
        return Publication(item, file, found, Damage(name, "altered after it was published"))
    return Publication(item, file, found, None)


def read_publications(store: SnapshotStore) -> Iterator[Publication]:
    """What is published of every partition, by asset and partition."""
    for file in sorted(store.root.glob("published/*/*.json")):
        if found := read_publication(store, Item.of_folder(file.parent.name, file.stem)):
            yield found


def read_retained(store: SnapshotStore) -> Iterator[Snapshot | Damage]:
    """Every snapshot on disk, once for each of its manifests, those that broke their contract included."""
    for path in sorted(store.root.glob("snapshots/*/*/[!.]*/manifest*.json")):
        yield store.read_snapshot(path.parent, path.name)


@dataclass(frozen=True)
class Inventory:
    """All manifests and pointers on disk beside the graph.

    `damaged`: manifests that cannot be read; `publications`: those of partitions that the graph declares; `undeclared`: the
    others.
    """

    graph: Graph
    store: SnapshotStore
    snapshots: Mapping[Key, Snapshot]
    damaged: tuple[Damage, ...]
    publications: tuple[Publication, ...]
    undeclared: tuple[Publication, ...]

    @property
    def published(self) -> set[Key]:
        """Manifests that declared partitions point to."""
        return {p.snapshot.key for p in self.publications if p.snapshot}

    @property
    def uncertain(self) -> tuple[Publication, ...]:
        """Declared partitions of which nobody knows what was published."""
        return tuple(p for p in self.publications if p.damage)


def take_inventory(graph: Graph, store: SnapshotStore) -> Inventory:
    """Read every manifest and pointer below the store."""
    found = list(read_retained(store))
    snapshots = {s.key: s for s in found if isinstance(s, Snapshot)}
    damaged = tuple(d for d in found if isinstance(d, Damage))
    declared = {(i.asset, i.folder) for i in graph.all_partitions()}
    sides: dict[bool, list[Publication]] = {True: [], False: []}
    for p in read_publications(store):
        sides[(p.item.asset, p.item.folder) in declared].append(p)
    return Inventory(graph, store, snapshots, damaged, tuple(sides[True]), tuple(sides[False]))
