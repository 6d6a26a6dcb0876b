"""What the files of the store say, and reading one of them: manifests of snapshots, pointers to published ones.

A missing, torn or altered file is an answer here (`Damage`), not an exception. What belongs here: the content of one file, and
the one rule by which tables and files give a data version. What does not: writing snapshots (`snapshots.py`), looking at all of
them (`inventory.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from humanllm_assets.lineage.items import Item
from resources.canonical import digest

VERSION_DIGITS = 20  # of a data version: 80 bits
PURGED = "purged.json"  # in the folder of a snapshot that a takedown deleted: what it was, when, by which takedown


class Frozen(BaseModel):
    """Base of what is read from files: unknown fields are errors, and nothing is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableFile(Frozen):
    """One table of a snapshot."""

    file: str
    rows: int
    content: str  # hash of the rows, independent of their order and of the encoding


class StoredFile(Frozen):
    """One file of a snapshot. `volatile`: kept and hashed, but not counted for the data version, such as a model card."""

    bytes: int
    sha256: str
    volatile: bool = False

    @property
    def says_whether_volatile(self) -> bool:
        """False for a file of a manifest that was written before manifests said so."""
        return "volatile" in self.model_fields_set


def version_of(tables: Mapping[str, TableFile], files: Mapping[str, StoredFile]) -> str:
    """The data version: a hash of the rows of all tables and the bytes of all other files that are not volatile.

    Args:
        tables: by name.
        files: by name in the snapshot's folder; those of the tables may be among them.
    """
    of_tables = {t.file for t in tables.values()}
    deciding = {
        "tables": {name: t.content for name, t in tables.items()},
        "files": {name: f.sha256 for name, f in files.items() if name not in of_tables and not f.volatile},
    }
    return digest(deciding)[:VERSION_DIGITS]


class Key(NamedTuple):
    """One manifest of one snapshot."""

    asset: str
    partition: str
    data_version: str
    manifest: str

    @property
    def item(self) -> Item:
        return Item(self.asset, self.partition)


class Ref(Frozen):
    """One upstream snapshot that a step read."""

    asset: str
    partition: str
    data_version: str
    manifest: str  # file name
    manifest_sha256: str

    @property
    def item(self) -> Item:
        return Item(self.asset, self.partition)

    @property
    def key(self) -> Key:
        return Key(self.asset, self.partition, self.data_version, self.manifest)


class Counts(Frozen):
    """Rows that entered, were kept and were dropped by reason. `entered == kept + sum(dropped)` is a contract."""

    entered: int = 0
    kept: int = 0
    dropped: dict[str, int] = {}

    @property
    def unaccounted(self) -> int:
        """Rows that were neither kept nor dropped for a reason; a contract requires 0."""
        return self.entered - self.kept - sum(self.dropped.values())


class Manifest(Frozen):
    """What a snapshot is, what it was made from and how it fared; see docs/architecture.md."""

    asset: str
    partition: str
    data_version: str
    identity_hash: str
    identity: dict[str, Any]
    upstream: list[Ref]
    tables: dict[str, TableFile]
    files: dict[str, StoredFile]  # every file of the folder but the manifests
    counts: Counts
    stages: dict[str, Counts] = {}
    measures: dict[str, float | int | str | bool | None] = {}
    verdict: dict[str, Any] | None = None
    passed: bool = True
    keeps_forever: bool = False  # Node.keeps_forever when it was made
    usage: dict[str, Any] = {}
    answers_sha256: str = ""  # list of the journal answers that were used (answers.py)
    weights: dict[str, str] = {}  # content hash of each model's files that this machine had, by `NamedModel.label`; no identity
    code: dict[str, Any] = {}
    why: str = ""  # what made it stale
    allow_stale: list[str] = []  # what the gate would have refused, had the run's configuration not allowed it
    run_id: str = ""
    started_at: str = ""
    finished_at: str = ""
    seconds: float = 0.0

    @property
    def item(self) -> Item:
        return Item(self.asset, self.partition)

    @property
    def trained(self) -> bool:
        """Whether training made the snapshot: it then says in its table `consumed` which samples it consumed."""
        return "consumed" in self.tables


@dataclass(frozen=True)
class Snapshot:
    """A sealed snapshot on disk, by one of its manifests."""

    folder: Path
    manifest_file: str
    manifest: Manifest
    manifest_sha256: str

    @property
    def data_version(self) -> str:
        return self.manifest.data_version

    @property
    def item(self) -> Item:
        return self.manifest.item

    @property
    def key(self) -> Key:
        return Key(*self.item, self.data_version, self.manifest_file)

    def path(self, table: str) -> Path:
        """The Parquet file of a table."""
        return self.folder / self.manifest.tables[table].file

    def ref(self) -> Ref:
        """How the manifest of a child names this snapshot."""
        return Ref(**self.key._asdict(), manifest_sha256=self.manifest_sha256)


class Pointer(Frozen):
    """What `published/<asset>/<partition>.json` holds."""

    data_version: str
    manifest: str
    manifest_sha256: str

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return json.dumps(self.model_dump(), indent=1).encode()


class Damage(NamedTuple):
    """One file that is not what it was or should be. `file` is relative to the data home where it lies there."""

    file: str
    problem: str
    altered: bool = True  # False: a note that breaks nothing, such as a source file that is gone

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"

    @property
    def sentence(self) -> str:
        """The same as the beginning of a sentence: `published/raw/a.json is damaged`."""
        return f"{self.file} {'was' if self.problem.startswith('purged') else 'is'} {self.problem}"


# ---- reading one file ------------------------------------------------------------------------------------------------


def is_manifest(name: str) -> bool:
    """Whether a file of a snapshot's folder is one of its manifests."""
    return name.startswith("manifest") and name.endswith(".json")


def show_path(root: Path, path: Path) -> str:
    """A path as messages write it: relative to the data home where it lies there."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def read_snapshot(root: Path, folder: Path, name: str) -> Snapshot | Damage:
    """The snapshot of a manifest file, or what is wrong with that file."""
    path = folder / name
    try:
        content = path.read_bytes()
        return Snapshot(folder, name, Manifest.model_validate_json(content), hashlib.sha256(content).hexdigest())
    except FileNotFoundError:
        if (folder / PURGED).is_file():
            return Damage(show_path(root, folder), _describe_purge(folder / PURGED))
        return Damage(show_path(root, path), "missing" if folder.is_dir() else "missing, with its whole snapshot")
    except ValidationError as e:
        return Damage(show_path(root, path), f"damaged, no manifest any more ({e.errors()[0]['msg']})")


def _describe_purge(stub: Path) -> str:
    try:
        purged = json.loads(stub.read_bytes())
        return f"purged on {purged['purged_at']} by takedown {purged['takedown'][:12]} (receipts/{purged['receipt']})"
    except (ValueError, KeyError, TypeError):
        return "purged after a takedown"


def read_pointer(root: Path, path: Path) -> Pointer | Damage | None:
    """The pointer in a file, what is wrong with it, or None when there is no such file."""
    try:
        content = path.read_bytes()
        pointer = Pointer.model_validate_json(content)
    except FileNotFoundError:
        return None
    except ValidationError as e:
        return Damage(show_path(root, path), f"damaged, no pointer any more ({e.errors()[0]['msg']})")
    return pointer if content == pointer.content else Damage(show_path(root, path), "damaged, not as it was written")
