"""The hash chain: from a snapshot through the references in manifests to everything that it was made from.

A manifest names each upstream snapshot with the SHA-256 of its manifest, and each of its own files with theirs. So the hash of
one manifest, which the published pointer holds, fixes everything that it was made from, down to the raw files.

What belongs here: finding a checkpoint by its key, walking the chain, and what was found missing or altered on the way. What does
not: reading the files themselves (`verify.py`), searching rows (`trace.py`). Neither Dagster nor the graph is needed.
"""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from humanllm_assets.lineage.inventory import read_retained
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Damage, Key, Pointer, Ref, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from resources.errors import Explained

LINEAGE = "lineage.json"  # in a model folder; humanllm_assets/pages/model_card.py writes it


class AuditError(Explained):
    """A question that cannot be answered; one sentence with the remedy."""


@dataclass
class Chain:
    """A snapshot and everything that it was made from.

    `nodes` in walking order, the root first; `depth` the longest way from the root; `damage` what the walk itself found:
    manifests that are missing, unreadable, or not those that were referenced.
    """

    root: Key
    nodes: dict[Key, Snapshot] = field(default_factory=dict)
    depth: dict[Key, int] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)

    def upstream(self, key: Key) -> list[Key]:
        """The parents of a node that could be read."""
        return [ref.key for ref in self.nodes[key].manifest.upstream if ref.key in self.nodes]

    @property
    def checkpoint(self) -> Snapshot | None:
        """The snapshot that says which samples were consumed: the root, or the checkpoint that a merged model was made from."""
        return next((s for s in self.nodes.values() if s.manifest.trained), None)


def compare_reference(store: SnapshotStore, child: Item, ref: Ref, found: Snapshot | Damage) -> Damage | None:
    """What is wrong with the parent that a child's reference led to; None when it is the one that the child was made from."""
    if isinstance(found, Damage):
        return found
    where = store.show_path(found.folder / ref.manifest)
    if found.key != ref.key:
        return Damage(where, f"altered: it describes {found.item}")
    if found.manifest_sha256 != ref.manifest_sha256:
        return Damage(where, f"altered: not the manifest that {child} was made from")
    return None


def walk(store: SnapshotStore, root: Snapshot) -> Chain:
    """Follow every reference from `root` to the raw sources. An altered manifest that can still be read is followed further."""
    chain = Chain(root.key, {root.key: root}, {root.key: 0})
    todo, complained = [root.key], set[tuple[str, str]]()

    def complain(damage: Damage) -> None:
        if damage[:2] not in complained:
            complained.add(damage[:2])
            chain.damage.append(damage)

    while todo:
        child = todo.pop(0)
        for ref in chain.nodes[child].manifest.upstream:
            key = ref.key
            found = chain.nodes.get(key) or store.read_ref(ref)
            if problem := compare_reference(store, child.item, ref, found):
                complain(problem)
            if isinstance(found, Damage) or found.key != key:
                continue
            if key not in chain.nodes:
                chain.nodes[key] = found
                todo.append(key)
            elif chain.depth.get(key, 0) <= chain.depth[child]:
                todo.append(key)  # a longer way to it: what is upstream of it moves down too
            chain.depth[key] = max(chain.depth.get(key, 0), chain.depth[child] + 1)
    return chain


# ---- which checkpoint ------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """What a key names. `folder`: the folder that was given, when it is a copy outside the snapshot."""

    snapshot: Snapshot
    published: bool
    folder: Path | None = None


def resolve(store: SnapshotStore, key: str) -> Target:
    """Find a checkpoint: `recipe` (published), `recipe@<data version>` (any retained), or the path of a model folder.

    Raises:
        AuditError: nothing or more than one thing has that name, or the pointer to it is damaged.
    """
    if ("/" in key or key in (".", "..")) or (Path(key).is_dir() and not _trained(store, key)):
        return _of_folder(store, Path(key))
    recipe, _, version = key.partition("@")
    found = _trained(store, recipe)
    if not found:
        known = sorted({s.item.partition for s in read_retained(store) if isinstance(s, Snapshot) and s.manifest.trained})
        near = difflib.get_close_matches(recipe, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"known recipes: {', '.join(known) or 'none'}"
        raise AuditError(f"no checkpoint of a recipe `{recipe}` is in {store.root}; {hint}")
    if len(items := {s.item for s in found}) > 1:
        raise AuditError(f"`{recipe}` names {' and '.join(map(str, sorted(items)))}; give the folder of one of them")
    pointer = store.read_pointer(*found[0].item)
    if version:
        of_version = [s for s in found if s.data_version.startswith(version)]
        versions = sorted({s.data_version for s in of_version})
        if len(versions) != 1:
            listed = versions or sorted({s.data_version for s in found})
            raise AuditError(f"{key} is {'not one checkpoint' if versions else 'no checkpoint'}; retained: {', '.join(listed)}")
        if not isinstance(pointer, Pointer) or pointer.data_version != versions[0]:
            return Target(max(of_version, key=lambda s: s.manifest.finished_at), False)
    if isinstance(pointer, Damage):
        raise AuditError(f"{pointer}; name the version instead: {recipe}@{found[0].data_version}")
    if pointer is None:
        raise AuditError(f"no checkpoint of `{recipe}` is published; retained ones: {recipe}@{found[0].data_version}")
    item = found[0].item
    snapshot = store.read_snapshot(store.partition_folder(*item) / pointer.data_version, pointer.manifest)
    if isinstance(snapshot, Damage):
        raise AuditError(f"{store.show_path(store.pointer_file(*item))} names a snapshot that is not there: {snapshot}")
    return Target(snapshot, True)


def _trained(store: SnapshotStore, recipe: str) -> list[Snapshot]:
    """Every readable snapshot of a partition of this name that training made."""
    paths = sorted(store.root.glob(f"snapshots/*/{glob.escape(recipe)}/[!.]*/manifest*.json")) if recipe else []
    found = [store.read_snapshot(p.parent, p.name) for p in paths]
    return [s for s in found if isinstance(s, Snapshot) and s.manifest.trained]


def _of_folder(store: SnapshotStore, folder: Path) -> Target:
    """The snapshot that a folder is or is a copy of: by its manifest, or by the identity in its lineage file."""
    if not folder.is_dir():
        raise AuditError(f"{folder} is no folder; give a recipe, recipe@version or the folder of a checkpoint or merged model")
    file = next((f for name in ("manifest.json", LINEAGE) if (f := folder / name).is_file()), None)
    if file is None:
        raise AuditError(f"{folder} has neither manifest.json nor {LINEAGE}; give the folder of a checkpoint or merged model")
    try:
        facts = json.loads(file.read_bytes())
        identity = str(facts.get("identity_hash") or facts["identity"])
    except (ValueError, KeyError, AttributeError) as e:
        raise AuditError(f"{store.show_path(file)} is altered or cut off ({e}); take a fresh copy of the model") from e
    item = Item(str(facts.get("asset")), str(facts.get("partition")))
    pointer = store.read_pointer(*item)
    matching = []
    for path in sorted(store.partition_folder(*item).glob("[!.]*/manifest*.json")):
        s = store.read_snapshot(path.parent, path.name)
        if isinstance(s, Snapshot) and (s.folder.samefile(folder) or s.manifest.identity_hash == identity):
            matching.append(s)
    matching = [s for s in matching if s.folder.samefile(folder)] or matching
    if not matching:
        raise AuditError(
            f"{folder} says it is {item} of identity {identity[:16]}, which no snapshot in "
            f"{store.root} has; name the data home it was made in by HUMANLLM_HOME"
        )
    named = [s for s in matching if isinstance(pointer, Pointer) and s.manifest_sha256 == pointer.manifest_sha256]
    snapshot = named[0] if named else max(matching, key=lambda s: s.manifest.finished_at)
    return Target(snapshot, bool(named), None if snapshot.folder.samefile(folder) else folder)


# ---- many snapshots --------------------------------------------------------------------------------------------------


def collect_ancestors(store: SnapshotStore, roots: Iterable[Snapshot]) -> Chain:
    """Several snapshots and everything that any of them was made from, each once. `depth` is the longest way
    from what has no parents, so that parents always come before children."""
    nodes: dict[Key, Snapshot] = {}
    damage: list[Damage] = []
    todo = list(roots)
    for s in todo:
        nodes.setdefault(s.key, s)
    while todo:
        child = todo.pop()
        for ref in child.manifest.upstream:
            found = nodes.get(ref.key) or store.read_ref(ref)
            if problem := compare_reference(store, child.item, ref, found):
                damage.append(problem)
            if isinstance(found, Snapshot) and ref.key not in nodes:
                nodes[ref.key] = found
                todo.append(found)
    chain = order(nodes.values())
    chain.damage = sorted(set(damage))
    return chain


def order(snapshots: Iterable[Snapshot]) -> Chain:
    """These snapshots alone. `depth` is the longest way from what has no parents among them, so that parents come before children."""
    chain = Chain(Key("", "", "", ""), {s.key: s for s in snapshots})
    for key in chain.nodes:
        _level(chain, key)
    return chain


def _level(chain: Chain, key: Key) -> int:
    if key not in chain.depth:
        chain.depth[key] = 0  # a cycle cannot occur: a manifest holds the hashes of its parents' manifests
        chain.depth[key] = max((1 + _level(chain, k) for k in chain.upstream(key)), default=0)
    return chain.depth[key]
