"""Recompute every hash that stands behind a checkpoint, or behind everything in a data home, and name each file that is not what
it was.

What is read again: every manifest against the reference of its child and the published pointer, every file's bytes, every table's
rows, the data version that follows from them, the identity's hash, the texts of prompts, the raw source files and base models
that are still there, every answer of the journal and the lists of those that the steps used. Nothing is taken from a cache,
nothing is written.

What belongs here: comparing. What does not: finding the checkpoint and its manifests (`chain.py`), and which files of a data home
belong to it (`files_of_home.py`).
"""

from __future__ import annotations

import hashlib
import heapq
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from humanllm_assets.lineage.answers import ENTRY_BYTES, answers_file, read_answers
from humanllm_assets.lineage.audit.chain import Chain, Target, collect_ancestors, compare_reference
from humanllm_assets.lineage.audit.files_of_home import compute_anchor, list_files
from humanllm_assets.lineage.identity import NamedModel, find_models, find_prompts
from humanllm_assets.lineage.inventory import read_publications, read_retained
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import PURGED, Damage, Key, Manifest, Pointer, Snapshot, is_manifest, version_of
from humanllm_assets.lineage.snapshots import SnapshotStore, hash_table
from resources.canonical import digest
from resources.files import sha256_file
from resources.llm.journal import Journal

if TYPE_CHECKING:
    from resources.profile import Profile

_SAY_EVERY_S = 2.0
_LIST_BYTES = 16_384 * ENTRY_BYTES  # of a list of answers read together

Say = Callable[[str], None]


@dataclass
class Verification:
    """What was compared, and what did not agree. `damage` holds notes too (`Damage.altered` false)."""

    damage: list[Damage] = field(default_factory=list)
    manifests: int = 0
    files: int = 0
    bytes: int = 0
    tables: int = 0
    rows: int = 0
    prompts: int = 0
    answers: int = 0
    source_files: int = 0
    base_models: int = 0
    anchor: str = ""  # of the whole data home

    @property
    def passed(self) -> bool:
        """Whether nothing is altered or missing; notes do not count."""
        return not any(d.altered for d in self.damage)


def verify(
    store: SnapshotStore,
    chain: Chain,
    target: Target | None = None,
    profile: Profile | None = None,
    say: Say | None = None,
    declared: Collection[Item] = (),
) -> Verification:
    """Check everything in a chain, the other manifests in its folders, and the journal.

    Args:
        target: adds the check of a copied model folder against the snapshot that it is a copy of.
        profile: says where source files and base models lie; without it they are not compared.
        say: receives a progress line every two seconds.
        declared: partitions of the graph; what is published of them has a pointer.
    """
    work = _Work(store, Verification(damage=list(chain.damage)), say, declared)
    work.check_all([*chain.nodes.values(), *work.read_siblings(chain)], target, profile)
    work.result.manifests = len(chain.nodes)
    work.result.damage = list(dict.fromkeys(work.result.damage))
    return work.result


def verify_home(
    store: SnapshotStore, profile: Profile | None = None, say: Say | None = None, declared: Collection[Item] = ()
) -> Verification:
    """Check everything below a data home: all snapshots, pointers, prompts, answers and models, and that no other file lies there.

    The result has the home's anchor. Arguments are those of `verify`.
    """
    found, publications = list(read_retained(store)), list(read_publications(store))
    snapshots = {s.key: s for s in found if isinstance(s, Snapshot)}
    damage = [d for d in (*found, *(p.damage for p in publications)) if isinstance(d, Damage)]
    work = _Work(store, Verification(damage=damage), say, declared)
    published = [p.snapshot for p in publications if p.snapshot]
    kept = [s for s in snapshots.values() if s.manifest.keeps_forever and s.manifest.passed]
    behind = collect_ancestors(store, [*published, *kept])
    work.result.damage += behind.damage
    for s in snapshots.values():
        if s.key not in behind.nodes:
            work.check_references(s, snapshots)
    work.check_all(list(snapshots.values()), None, profile)
    work.result.manifests = len(snapshots)
    work.check_places(p.file for p in publications)
    work.check_other_files()
    work.result.anchor = compute_anchor(store.root, work.hash)
    work.result.damage = list(dict.fromkeys(work.result.damage))
    return work.result


class _Listed(NamedTuple):
    """One answer that a step's list names; compared by key first."""

    key: str
    digest: bytes
    user: str  # the partition that the step made


class _Work:
    """A verification in progress: what was compared so far, and files that are known to be broken."""

    def __init__(self, store: SnapshotStore, result: Verification, say: Say | None, declared: Collection[Item] = ()) -> None:
        self.store, self.result, self._say, self._declared = store, result, say, declared
        self._said = time.monotonic()
        self._broken: set[Path] = set()  # files whose bytes differ: their rows are not looked at
        self._hashes: dict[Path, str] = {}
        self._places: set[Path] = set()  # files and folders that something names

    def _progress(self, line: Callable[[], str]) -> None:
        if self._say and time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            self._say(line())

    def _found(self, path: Path | str, problem: str, altered: bool = True) -> None:
        self.result.damage.append(Damage(path if isinstance(path, str) else self.store.show_path(path), problem, altered))

    def hash(self, path: Path) -> str:
        """SHA-256 of a file, read once."""
        if path not in self._hashes:
            self._progress(lambda: f"reading {self.store.show_path(path)}")
            self._hashes[path] = sha256_file(path)
        return self._hashes[path]

    def check_places(self, paths: Iterable[Path]) -> None:
        """Note files of the home that something names; neither they nor a folder on the way to them is a symbolic link."""
        for path in paths:
            for part in (path, *path.parents):
                if part == self.store.root or part in self._places:
                    break
                self._places.add(part)
                if part.is_symlink():
                    self._found(part, "altered: a symbolic link stands in its place")

    def check_all(self, snapshots: Collection[Snapshot], target: Target | None, profile: Profile | None) -> None:
        """Everything that these snapshots say, and what they were made with."""
        total = sum(f.bytes for s in snapshots for f in s.manifest.files.values())
        with duckdb.connect() as con:
            first: dict[Path, Snapshot] = {}
            for snapshot in snapshots:
                self.check_manifest(snapshot)
                if first.setdefault(snapshot.folder, snapshot) is snapshot:
                    self.check_files(snapshot, snapshot.folder, total)
                    self.check_content(con, snapshot)
                else:
                    self.check_beside(snapshot, first[snapshot.folder])
            if target and target.folder:
                self.check_copied(target.snapshot, target.folder)
            self.check_prompts(snapshots)
            self.check_journal(snapshots)
            if profile:
                self.check_sources(con, snapshots, profile)
                self.check_base_models(snapshots, profile)

    # ---- one snapshot ----

    def check_manifest(self, s: Snapshot) -> None:
        """A manifest's own statements agree with each other, with its place, and with the pointer."""
        m, path = s.manifest, s.folder / s.manifest_file
        self.check_places([path, self.store.pointer_file(*m.item)])
        if s.manifest_file not in ("manifest.json", f"manifest-{m.identity_hash[:16]}.json"):
            self._found(path, "altered: it is named after another identity")
        if s.folder != self.store.partition_folder(m.asset, m.partition) / m.data_version:
            self._found(path, f"altered: it says that it belongs to {m.asset}/{m.partition}/{m.data_version}")
        if digest(m.identity) != m.identity_hash:
            self._found(path, "altered: its identity has another hash")
        stated = {Item(a, p): v for a, parts in m.identity.get("upstream", {}).items() for p, v in parts.items()}
        if stated != {u.item: u.data_version for u in m.upstream}:
            self._found(path, "altered: its upstream references are not those of its identity")
        pointer, pointer_file = self.store.read_pointer(*m.item), self.store.pointer_file(*m.item)
        if isinstance(pointer, Damage):
            self.result.damage.append(pointer)
        elif isinstance(pointer, Pointer):
            where = self.store.partition_folder(m.asset, m.partition) / pointer.data_version / pointer.manifest
            if (pointer.data_version, pointer.manifest) == (s.data_version, s.manifest_file):
                if pointer.manifest_sha256 != s.manifest_sha256:
                    self._found(path, "altered: not the manifest that was published")
                    self._found(pointer_file, "its hash is not that of the manifest it names")
            elif not where.is_file():
                self._found(pointer_file, f"altered: {self.store.show_path(where)} is not there")
            elif self.hash(where) != pointer.manifest_sha256:
                self._found(where, "altered: not the manifest that was published")
        elif m.passed and m.item in self._declared:
            self._found(pointer_file, f"missing: nothing is published of {m.item}; run: humanllm materialize '{m.item}'")

    def read_siblings(self, chain: Chain) -> list[Snapshot]:
        """The other manifests in the folders of a chain, with their references compared."""
        mine = {s.folder / s.manifest_file for s in chain.nodes.values()}
        found = []
        for path in sorted(p for f in {s.folder for s in chain.nodes.values()} for p in f.glob("manifest*.json")):
            if path not in mine:
                snapshot = self.store.read_snapshot(path.parent, path.name)
                if isinstance(snapshot, Damage):
                    self.result.damage.append(snapshot)
                else:
                    self.check_references(snapshot, chain.nodes)
                    found.append(snapshot)
        return found

    def check_beside(self, s: Snapshot, first: Snapshot) -> None:
        """A second manifest of a folder says of its tables and files what the first one says."""

        def state(m: Manifest) -> list[object]:
            return [{n: (f.bytes, f.sha256) for n, f in m.files.items()}, m.tables]

        if state(s.manifest) != state(first.manifest):
            self._found(s.folder / s.manifest_file, f"altered: it names other tables or files than {first.manifest_file}")

    def check_references(self, s: Snapshot, known: Mapping[Key, Snapshot]) -> None:
        """The parents of a snapshot that nothing was made from: those that are still there are those that it was made from."""
        for ref in s.manifest.upstream:
            found = known.get(ref.key) or self.store.read_ref(ref)
            problem = compare_reference(self.store, s.item, ref, found)
            if problem and isinstance(found, Snapshot):
                self.result.damage.append(problem)

    def check_files(self, s: Snapshot, folder: Path, total: int) -> None:
        """Every file's bytes; and no file that the manifest does not name."""
        for name, stored in s.manifest.files.items():
            path = folder / name
            self.result.files += 1
            self.result.bytes += stored.bytes
            self.check_places([path])
            if not path.is_file():
                self._found(path, "missing")
                self._broken.add(path)
            elif path.stat().st_size != stored.bytes or self.hash(path) != stored.sha256:
                self._found(path, "altered: its bytes have another SHA-256")
                self._broken.add(path)
            self._progress(lambda: f"{self.result.bytes / 1e9:.1f} of {total / 1e9:.1f} GB read")
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if (path.is_file() or path.is_symlink()) and name not in s.manifest.files and not is_manifest(name):
                self._found(path, "no file of the snapshot")

    def check_content(self, con: duckdb.DuckDBPyConnection, s: Snapshot) -> None:
        """The rows of every table, and the data version, computed as when the snapshot was sealed (`version_of`)."""
        m = s.manifest
        for table in m.tables.values():
            path = s.folder / table.file
            if path in self._broken:
                continue
            if table.file not in m.files:
                self._found(s.folder / s.manifest_file, f"altered: {table.file} has no SHA-256")
                continue
            self.result.tables += 1
            self.result.rows += table.rows
            try:
                found = hash_table(con, path)
            except duckdb.Error as e:
                self._found(path, f"altered: no table any more ({str(e).splitlines()[0]})")
                continue
            if found != (table.rows, table.content):
                self._found(path, "altered: its rows have another content hash")
            self._progress(lambda: f"{self.result.rows:,} rows compared")
        path, of_tables = s.folder / s.manifest_file, {t.file for t in m.tables.values()}
        if all(f.says_whether_volatile for name, f in m.files.items() if name not in of_tables):
            if version_of(m.tables, m.files) != m.data_version:
                self._found(path, f"altered: tables and files do not give the data version {m.data_version}")
        else:
            self._found(path, "data version not computed: the manifest does not say which files decide it", altered=False)

    def check_copied(self, s: Snapshot, folder: Path) -> None:
        """A copy of a model outside the data home: the files it has are the snapshot's."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            stored = s.manifest.files.get(str(path.relative_to(folder)))
            if stored:
                self.result.files += 1
                self.result.bytes += stored.bytes
                if sha256_file(path) != stored.sha256:
                    self._found(str(path), f"altered: not the file of {self.store.show_path(s.folder)}")
            elif not is_manifest(path.name):
                self._found(str(path), f"no file of {self.store.show_path(s.folder)}")

    # ---- beside the snapshots ----

    def check_prompts(self, snapshots: Iterable[Snapshot]) -> None:
        """The texts of all prompts in the identities: those kept in the data home, else the templates of this project."""
        texts: dict[str, str] = {}
        for s in snapshots:
            texts |= {p.text_sha256: p.name for p in find_prompts(s.manifest.identity)}
        current: dict[str, str] | None = None
        for sha256, name in sorted(texts.items(), key=lambda x: x[1]):
            self.result.prompts += 1
            path = self.store.root / "prompts" / f"{sha256}.md"
            self.check_places([path])
            if path.is_file():
                if self.hash(path) != sha256:
                    self._found(path, f"altered: not the text of the prompt {name}")
                continue
            current = _current_prompts() if current is None else current
            if sha256 not in current:
                self._found(path, f"missing: the text of the prompt {name}, which differs from today's template")

    def check_journal(self, snapshots: Iterable[Snapshot]) -> None:
        """The file of the journal, every answer's own hash, and the answers that the steps used."""
        lists = {m.answers_sha256: str(m.item) for s in snapshots if (m := s.manifest).answers_sha256}
        path = self.store.root / "journal" / "answers.sqlite"
        self.check_places([path])
        if not path.is_file():
            if lists:
                self._found(path, "missing")
            return
        try:
            journal = Journal(self.store.root, read_only=True)
            for problem in journal.find_damage():
                self._found(path, f"altered: {problem}")
            self._answers(journal, {sha256: user for sha256, user in sorted(lists.items()) if self._check_list(sha256, user)})
            journal.close()
        except sqlite3.DatabaseError as e:
            self._found(path, f"altered: no journal any more ({e})")

    def _check_list(self, sha256: str, user: str) -> bool:
        path = answers_file(self.store.root, sha256)
        self.check_places([path])
        if not path.is_file():
            self._found(path, f"missing: the list of answers that {user} used")
        elif self.hash(path) != sha256:
            self._found(path, f"altered: not the list of answers that {user} used")
        else:
            return True
        return False

    def _answers(self, journal: Journal, lists: Mapping[str, str]) -> None:
        """Journal and lists, side by side: all are sorted by key, so that each is read once."""
        merged = heapq.merge(*(self._read_list(sha256, user) for sha256, user in lists.items()))
        listed, gone = next(merged, None), dict[str, int]()
        for row in journal.check_rows():
            while listed and listed.key < row.key:
                gone[listed.user] = gone.get(listed.user, 0) + 1
                listed = next(merged, None)
            if not row.sound:
                self._found(journal.path, f"altered: answer {row.key[:16]} has another SHA-256")
            while listed and listed.key == row.key:
                self.result.answers += 1
                if row.sound and listed.digest != row.digest:
                    self._found(
                        journal.path,
                        f"altered: answer {row.key[:16]}, about {row.item_key}, is not the one that {listed.user} used",
                    )
                listed = next(merged, None)
            self._progress(lambda: f"{self.result.answers:,} answers compared")
        for last in (*([listed] if listed else []), *merged):
            gone[last.user] = gone.get(last.user, 0) + 1
        self.result.answers += sum(gone.values())
        for user, n in sorted(gone.items()):
            self._found(journal.path, f"{n:,} answers that {user} used are gone (lost or taken down)")

    def _read_list(self, sha256: str, user: str) -> Iterator[_Listed]:
        """A list, part by part: there may be more lists than files that a process may hold open."""
        path = answers_file(self.store.root, sha256)
        for start in range(0, path.stat().st_size, _LIST_BYTES):
            with path.open("rb") as f:
                f.seek(start)
                part = f.read(_LIST_BYTES)
            for key, answer in read_answers(part):
                yield _Listed(key, answer, user)

    # ---- outside the data home ----

    def check_sources(self, con: duckdb.DuckDBPyConnection, snapshots: Iterable[Snapshot], profile: Profile) -> None:
        """The raw files that `raw_*` recorded, where they are still there."""
        from resources.profile import ProfileError, resolve_path

        for s in snapshots:
            source = s.manifest.asset.removeprefix("raw_")
            if source == s.manifest.asset or source not in profile.sources or s.folder / "files.parquet" in self._broken:
                continue
            try:
                folder = resolve_path(profile.sources[source].folder)  # type: ignore[index]
            except ProfileError as e:
                self._found(profile.sources[source].folder, f"source files not compared: {e}", altered=False)  # type: ignore[index]
                continue
            try:
                listed = con.execute("select file, sha256 from read_parquet(?)", [str(s.folder / "files.parquet")]).fetchall()
            except duckdb.Error as e:
                self._found(s.folder / "files.parquet", f"altered: no list of source files ({str(e).splitlines()[0]})")
                continue
            for name, sha256 in listed:
                path = folder / name
                if not path.is_file():
                    self._found(_short(path), "source file gone", altered=False)
                    continue
                self.result.source_files += 1
                if sha256_file(path) != sha256:
                    self._found(_short(path), "altered: not the source file that was read")
                self._progress(lambda: f"{self.result.source_files} source files read")

    def check_base_models(self, snapshots: Iterable[Snapshot], profile: Profile) -> None:
        """The files of models that steps recorded, where they are still there."""
        from resources.models import ORIGIN_FILE, ModelError, package_origin, prepared_folder, weight_files, weights_digest

        recorded: dict[str, set[str]] = {}
        for s in snapshots:
            external = s.manifest.identity.get("external", {}).get("weights")
            for model in find_models(s.manifest.identity):
                recorded.setdefault(model.label, set()).update([external] if external else [])
            for label, weights in s.manifest.weights.items():
                recorded.setdefault(label, set()).add(weights)
        for model in profile.models.values():
            label = NamedModel(model.name, model.revision).label
            wanted, folder = recorded.pop(label, None), prepared_folder(model, self.store.root)
            if folder and folder.is_relative_to(self.store.root):
                self.check_places([*weight_files(folder), folder / ORIGIN_FILE])
            if wanted is None or (not model.path and not model.package):
                continue
            if folder is None:
                self._found(model.name, "base model gone", altered=False)
                continue
            self.result.base_models += 1
            if not wanted:
                self._found(self.store.show_path(folder), f"not compared: no step recorded a hash of {label}", altered=False)
            elif {weights_digest(folder)} != wanted:
                self._found(self.store.show_path(folder), f"altered: not the weights of {label} that were read")
            if model.package and not model.path:
                try:
                    if json.loads((folder / ORIGIN_FILE).read_bytes()) != package_origin(model.package):
                        self._found(folder / ORIGIN_FILE, "altered: not the package that is installed")
                except ModelError as e:
                    self._found(folder / ORIGIN_FILE, f"not compared: {e}", altered=False)
                except (OSError, ValueError) as e:
                    self._found(folder / ORIGIN_FILE, f"altered: {e}")
        for label, wanted in sorted(recorded.items()):
            if wanted:
                self._found(label, "base model gone", altered=False)

    # ---- the rest of the data home ----

    def check_other_files(self) -> None:
        """Files that no snapshot names: texts and lists that are named by their own hash are noted, all others are wrong."""
        root = self.store.root
        stubs = {p.parent for p in root.glob(f"snapshots/*/*/*/{PURGED}")}
        self.check_places([root / "tombstones.json", *(f / PURGED for f in stubs), *root.glob("receipts/*.json")])
        for path in list_files(root):
            if path.is_symlink():
                if path not in self._places:
                    self._found(path, "no file of the data home: a symbolic link")
            elif path not in self._places:
                folder, _, name = self.store.show_path(path).partition("/")
                if folder in ("prompts", "answers") and self.hash(path) == name.removesuffix(".md"):
                    self._found(path, "no snapshot names it; humanllm gc removes it", altered=False)
                else:
                    self._found(path, "no file of the data home: nothing names it")


def _short(path: Path) -> str:
    from resources.profile import PROJECT_ROOT

    return str(path.relative_to(PROJECT_ROOT)) if path.is_relative_to(PROJECT_ROOT) else str(path)


def _current_prompts() -> dict[str, str]:
    """Hash and name of every template of this project."""
    from resources.prompting.prompts import PROMPTS, Prompt, PromptError

    found = {}
    for path in sorted(PROMPTS.rglob("*.md")):
        try:
            prompt = Prompt.load(str(path.relative_to(PROMPTS).with_suffix("")))
        except PromptError:
            continue  # a template that is being edited: its text is not the one that was used
        found[hashlib.sha256(prompt.text.encode()).hexdigest()] = prompt.name
    return found
