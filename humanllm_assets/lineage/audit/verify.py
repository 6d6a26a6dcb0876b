"""Recompute every hash that stands behind a checkpoint, and name each file that is not what it was.

What is read again: every manifest against the reference of its child and the published pointer, every file's bytes, every table's
rows, the data version that follows from them, the identity's hash, the texts of prompts, the raw source files and base models
that are still there, and the journal answers that the steps used. Nothing is taken from a cache, nothing is written.

What belongs here: comparing. What does not: finding the checkpoint and its manifests (`chain.py`).
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.lineage.answers import ENTRY_BYTES, answers_file, read_answers
from humanllm_assets.lineage.audit.chain import Chain, Target
from humanllm_assets.lineage.identity import find_models, find_prompts
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Damage, Pointer, Snapshot, is_manifest, version_of
from humanllm_assets.lineage.snapshots import SnapshotStore, hash_table
from resources.canonical import digest
from resources.files import sha256_file
from resources.llm.journal import Journal

if TYPE_CHECKING:
    from resources.profile import Profile

_AT_ONCE = 500  # journal answers looked up together
_SAY_EVERY_S = 2.0

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

    @property
    def passed(self) -> bool:
        """Whether nothing is altered or missing; notes do not count."""
        return not any(d.altered for d in self.damage)


def verify(
    store: SnapshotStore, chain: Chain, target: Target | None = None, profile: Profile | None = None, say: Say | None = None
) -> Verification:
    """Check everything in a chain.

    Args:
        target: adds the check of a copied model folder against the snapshot that it is a copy of.
        profile: says where source files and base models lie; without it they are not compared.
        say: receives a progress line every two seconds.
    """
    work = _Work(store, Verification(damage=list(chain.damage)), say)
    total = sum(f.bytes for s in chain.nodes.values() for f in s.manifest.files.values())
    with duckdb.connect() as con:
        for snapshot in chain.nodes.values():
            work.check_manifest(snapshot)
            work.check_files(snapshot, snapshot.folder, total)
            work.check_content(con, snapshot)
        if target and target.folder:
            work.check_copied(target.snapshot, target.folder)
        work.check_prompts(chain.nodes.values())
        work.check_journal(chain.nodes.values())
        if profile:
            work.check_sources(con, chain.nodes.values(), profile)
            work.check_base_models(chain.nodes.values(), profile)
    work.result.damage = list(dict.fromkeys(work.result.damage))
    return work.result


class _Work:
    """A verification in progress: what was compared so far, and files that are known to be broken."""

    def __init__(self, store: SnapshotStore, result: Verification, say: Say | None) -> None:
        self.store, self.result, self._say = store, result, say
        self._said = time.monotonic()
        self._broken: set[Path] = set()  # files whose bytes differ: their rows are not looked at

    def _progress(self, line: Callable[[], str]) -> None:
        if self._say and time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            self._say(line())

    def _found(self, path: Path | str, problem: str, altered: bool = True) -> None:
        self.result.damage.append(Damage(path if isinstance(path, str) else self.store.show_path(path), problem, altered))

    # ---- one snapshot ----

    def check_manifest(self, s: Snapshot) -> None:
        """A manifest's own statements agree with each other, with its place, and with the pointer."""
        m, path = s.manifest, s.folder / s.manifest_file
        self.result.manifests += 1
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

    def check_files(self, s: Snapshot, folder: Path, total: int) -> None:
        """Every file's bytes; and no file that the manifest does not name."""
        for name, stored in s.manifest.files.items():
            path = folder / name
            self.result.files += 1
            self.result.bytes += stored.bytes
            if not path.is_file():
                self._found(path, "missing")
                self._broken.add(path)
            elif path.stat().st_size != stored.bytes or sha256_file(path) != stored.sha256:
                self._found(path, "altered: its bytes have another SHA-256")
                self._broken.add(path)
            self._progress(lambda: f"{self.result.bytes / 1e9:.1f} of {total / 1e9:.1f} GB read")
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and name not in s.manifest.files and not is_manifest(name):
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
            if path.is_file():
                if sha256_file(path) != sha256:
                    self._found(path, f"altered: not the text of the prompt {name}")
                continue
            current = _current_prompts() if current is None else current
            if sha256 not in current:
                self._found(path, f"missing: the text of the prompt {name}, which differs from today's template")

    def check_journal(self, snapshots: Iterable[Snapshot]) -> None:
        """The answers that the steps used, and every answer's own hash."""
        lists = {m.answers_sha256: str(m.item) for s in snapshots if (m := s.manifest).answers_sha256}
        path = self.store.root / "journal" / "answers.sqlite"
        if not path.is_file():
            if lists:
                self._found(path, "missing")
            return
        try:
            journal = Journal(self.store.root, read_only=True)
            for key in journal.verify():
                self._found(path, f"altered: the content of answer {key[:16]} has another SHA-256")
            for sha256, user in sorted(lists.items()):
                self._answers(journal, sha256, user)
            journal.close()
        except sqlite3.DatabaseError as e:
            self._found(path, f"altered: no journal any more ({e})")

    def _answers(self, journal: Journal, sha256: str, user: str) -> None:
        path = answers_file(self.store.root, sha256)
        if not path.is_file():
            self._found(path, f"missing: the list of answers that {user} used")
            return
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            self._found(path, f"altered: not the list of answers that {user} used")
            return
        listed = list(read_answers(content))
        gone = 0
        for start in range(0, len(listed), _AT_ONCE):
            part = dict(listed[start : start + _AT_ONCE])
            known = journal.get_many(part)
            self.result.answers += len(part)
            gone += len(part) - len(known)
            for key, answer in known.items():
                if answer.digest != part[key]:
                    self._found(
                        journal.path, f"altered: answer {key[:16]}, about {answer.item_key}, is not the one that {user} used"
                    )
            self._progress(lambda: f"{self.result.answers:,} answers compared")
        if gone:
            self._found(
                journal.path,
                f"{gone:,} of {len(content) // ENTRY_BYTES:,} answers that {user} used are gone (lost or taken down)",
            )

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
            for name, sha256 in con.execute("select file, sha256 from read_parquet(?)", [str(s.path("files"))]).fetchall():
                path = folder / name
                if not path.is_file():
                    self._found(_short(path), "source file gone", altered=False)
                    continue
                self.result.source_files += 1
                if sha256_file(path) != sha256:
                    self._found(_short(path), "altered: not the source file that was read")
                self._progress(lambda: f"{self.result.source_files} source files read")

    def check_base_models(self, snapshots: Iterable[Snapshot], profile: Profile) -> None:
        """The weights of base models that training and merging recorded, where they are still there."""
        from resources.models import folder_name, weights_digest
        from resources.profile import ProfileError, resolve_path

        wanted = {
            (*model, weights)
            for s in snapshots
            if (weights := s.manifest.identity.get("external", {}).get("weights"))
            for model in find_models(s.manifest.identity)
        }
        for name, revision, weights in sorted(wanted):
            model = next((m for m in profile.models.values() if (m.name, m.revision) == (name, revision)), None)
            try:
                given = resolve_path(model.path) if model and model.path else None
            except ProfileError:
                given = None
            folder = given or self.store.root / "models" / folder_name(name)
            if not (folder / "config.json").is_file():
                self._found(name, "base model gone", altered=False)
                continue
            self.result.base_models += 1
            if weights_digest(folder) != weights:
                self._found(self.store.show_path(folder), f"altered: not the weights of {name} {revision} that were read")


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
