"""Immutable snapshots and the pointer to the published one.

    snapshots/<asset>/<partition>/<data version>/   tables as Parquet (or a model's files), manifest.json
    published/<asset>/<partition>.json              which snapshot is current

A snapshot is written under a temporary name, checked, fsynced and renamed; it never changes again. A re-run with an equal result
has the same data version: it adds its own `manifest-<identity>.json` to the folder and moves the pointer there. The pointer
moves by an atomic replace, so readers see the old snapshot or the new one, never something between.

What belongs here: files, hashes, pointers. What does not: when to compute (`step.py`), what is stale (`plan.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from pydantic import BaseModel, ConfigDict

from humanllm_assets.sql import Table, arrow_schema, select_list
from resources.canonical import digest
from resources.errors import Explained
from resources.files import fsync, sha256_file, write_atomically

VERSION_DIGITS = 20  # of a data version: 80 bits
UNPARTITIONED = "all"  # folder name where an asset has no partitions
PURGED = "purged.json"  # in the folder of a snapshot that a takedown deleted: what it was, when, by which takedown
_BATCH = 1024  # rows held in memory per table before they are written


class SnapshotError(Explained):
    """A snapshot is missing, incomplete or altered; the message says which and what to do."""


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableFile(Frozen):
    file: str
    rows: int
    content: str  # hash of the rows, independent of their order and of the encoding


class StoredFile(Frozen):
    bytes: int
    sha256: str


class Ref(Frozen):
    """One upstream snapshot that a step read."""

    asset: str
    partition: str
    data_version: str
    manifest: str  # file name
    manifest_sha256: str


class Counts(Frozen):
    """Rows that entered, were kept and were dropped by reason. `entered == kept + sum(dropped)` is a contract."""

    entered: int = 0
    kept: int = 0
    dropped: dict[str, int] = {}

    @property
    def unaccounted(self) -> int:
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
    usage: dict[str, Any] = {}
    answers_sha256: str = ""  # list of the journal answers that were used (answers.py)
    code: dict[str, Any] = {}
    why: str = ""  # what made it stale
    allow_stale: list[str] = []  # what the gate would have refused, had the run's configuration not allowed it
    run_id: str = ""
    started_at: str = ""
    finished_at: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """A sealed snapshot on disk."""

    folder: Path
    manifest_file: str
    manifest: Manifest
    manifest_sha256: str

    @property
    def data_version(self) -> str:
        return self.manifest.data_version

    def path(self, table: str) -> Path:
        """The Parquet file of a table."""
        return self.folder / self.manifest.tables[table].file

    def ref(self) -> Ref:
        m = self.manifest
        return Ref(
            asset=m.asset,
            partition=m.partition,
            data_version=m.data_version,
            manifest=self.manifest_file,
            manifest_sha256=self.manifest_sha256,
        )


def table_content(con: duckdb.DuckDBPyConnection, file: Path) -> tuple[int, str]:
    """Rows of a Parquet table and the SHA-256 of its content: columns by name, rows as a multiset.

    Rows are hashed one by one and the hashes sorted in 4,096 buckets, so row order, row groups and compression do not matter.
    """
    source = f"read_parquet('{_quote(file)}')"
    columns = sorted((r[0], r[1]) for r in con.execute(f"describe select * from {source}").fetchall())
    fields = ", ".join(f'"{n}"' for n, _ in columns)
    rows, content = con.execute(
        f"""
        with hashed as (select sha256(to_json(t)::varchar) as h from (select {fields} from {source}) t),
             buckets as (select h[1:3] as b, count(*) as n, sha256(string_agg(h, '' order by h)) as bh from hashed group by 1)
        select coalesce(sum(n), 0)::bigint, sha256(coalesce(string_agg(bh, '' order by b), '')) from buckets
        """
    ).fetchall()[0]
    return rows, digest({"columns": [list(c) for c in columns], "rows": content})


def _quote(path: Path) -> str:
    return str(path).replace("'", "''")


class SnapshotWriter:
    """Collects the tables and files of one snapshot in a temporary folder.

    Rows may come in any order and are sorted by their first column when the writer is sealed, so that equal results are equal
    bytes too.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Table]) -> None:
        self.folder = folder
        self._tables = tables
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._parts: dict[str, Any] = {}
        self._finished: set[str] = set()
        self._volatile: set[str] = set()

    def write(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a declared table; columns that a row lacks are null.

        Raises:
            KeyError: the table is not declared, or a row has a column that is not.
        """
        schema = self._tables[table]
        known = {c.name for c in schema}
        pending = self._rows.setdefault(table, [])
        for row in rows:
            if unknown := row.keys() - known:
                raise KeyError(f"table {table} has no column {', '.join(sorted(unknown))}")
            pending.append(dict(row))
            if len(pending) >= _BATCH:
                self._flush(table)

    def _flush(self, table: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = arrow_schema(self._tables[table])
        if table not in self._parts:
            self._parts[table] = pq.ParquetWriter(self.part(table), schema)
        self._parts[table].write_table(pa.Table.from_pylist(self._rows[table], schema=schema))
        self._rows[table] = []

    def part(self, table: str) -> Path:
        """The file that appended rows go to before the writer is sealed."""
        return self.folder / f".{table}.part"

    def finish(self, table: str) -> Path:
        """Close an appended table so that the step itself can query it (`part`); nothing can be appended afterwards."""
        self._rows.setdefault(table, [])
        self._flush(table)
        self._parts.pop(table).close()
        del self._rows[table]
        self._finished.add(table)
        return self.part(table)

    def copy(self, con: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
        """Write the result of a query as a declared table, cast to its columns and sorted by the first."""
        columns = self._tables[table]
        con.execute(
            f'copy (select {select_list(columns)} from ({query}) order by "{columns[0].name}") '
            f"to '{_quote(self.folder / f'{table}.parquet')}' (format parquet, compression zstd)"
        )

    def volatile(self, *names: str) -> None:
        """Mark files that are kept and hashed but do not decide the data version: a model card, logs."""
        self._volatile.update(names)

    def seal(self, con: duckdb.DuckDBPyConnection) -> tuple[str, dict[str, TableFile], dict[str, StoredFile]]:
        """Finish every declared table (an unwritten one is empty), fsync, and return data version, tables and files."""
        for table in self._tables:
            target = self.folder / f"{table}.parquet"
            if not target.exists():
                part = self.part(table) if table in self._finished else self.finish(table)
                self.copy(con, table, f"select * from read_parquet('{_quote(part)}')")
                part.unlink()
        tables = {}
        for table in self._tables:
            rows, content = table_content(con, self.folder / f"{table}.parquet")
            tables[table] = TableFile(file=f"{table}.parquet", rows=rows, content=content)
        files = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            fsync(path)
            files[str(path.relative_to(self.folder))] = StoredFile(bytes=path.stat().st_size, sha256=sha256_file(path))
        table_files = {t.file for t in tables.values()}
        deciding = {
            "tables": {n: t.content for n, t in tables.items()},
            "files": {n: f.sha256 for n, f in files.items() if n not in table_files and n not in self._volatile},
        }
        return digest(deciding)[:VERSION_DIGITS], tables, files


class SnapshotStore:
    """All snapshots and published pointers below one folder. Safe for several processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def partition_folder(self, asset: str, partition: str) -> Path:
        return self.root / "snapshots" / asset / (partition or UNPARTITIONED)

    def _pointer(self, asset: str, partition: str) -> Path:
        return self.root / "published" / asset / f"{partition or UNPARTITIONED}.json"

    def begin(self, asset: str, partition: str, tables: Mapping[str, Table]) -> SnapshotWriter:
        folder = self.partition_folder(asset, partition)
        folder.mkdir(parents=True, exist_ok=True)
        return SnapshotWriter(Path(tempfile.mkdtemp(dir=folder, prefix=".writing-")), tables)

    def abandon(self, writer: SnapshotWriter) -> None:
        shutil.rmtree(writer.folder, ignore_errors=True)

    def add(self, writer: SnapshotWriter, manifest: Manifest) -> Snapshot:
        """Make the written folder a snapshot. An equal one that exists already only gains this manifest."""
        folder = self.partition_folder(manifest.asset, manifest.partition) / manifest.data_version
        content = manifest.model_dump_json(indent=1).encode()
        if not folder.exists():
            write_atomically(writer.folder / "manifest.json", content)
            try:
                os.rename(writer.folder, folder)
            except OSError:
                if not folder.exists():
                    raise
            else:
                fsync(folder.parent)
                return self._load(folder, "manifest.json")
        files = self._repair(folder, writer, manifest)
        name = f"manifest-{manifest.identity_hash[:16]}.json"
        write_atomically(folder / name, manifest.model_copy(update={"files": files}).model_dump_json(indent=1).encode())
        self.abandon(writer)
        return self._load(folder, name)

    def _repair(self, folder: Path, writer: SnapshotWriter, manifest: Manifest) -> dict[str, StoredFile]:
        """The files of an existing equal snapshot; those that are gone or altered are replaced by what was written now."""
        try:
            existing = self._load(folder, "manifest.json")
            files, bad = existing.manifest.files, altered_files(existing)
        except SnapshotError:
            files, bad = {}, list(manifest.files)
        for name in bad:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(writer.folder / name, folder / name)
        return {**files, **{name: manifest.files[name] for name in bad}}

    def _load(self, folder: Path, name: str) -> Snapshot:
        path = folder / name
        try:
            content = path.read_bytes()
            manifest = Manifest.model_validate_json(content)
        except FileNotFoundError as e:
            if (folder / PURGED).is_file():
                purged = json.loads((folder / PURGED).read_bytes())
                raise SnapshotError(
                    f"the snapshot {folder.relative_to(self.root)} was purged on {purged['purged_at']} by takedown "
                    f"{purged['takedown'][:12]} (receipts/{purged['receipt']})"
                ) from e
            raise SnapshotError(
                f"the snapshot {folder.relative_to(self.root)} lacks {name}; materialize that partition again"
            ) from e
        except ValueError as e:
            raise SnapshotError(
                f"{path.relative_to(self.root)} is damaged ({str(e).splitlines()[0]}); materialize it again"
            ) from e
        return Snapshot(folder, name, manifest, hashlib.sha256(content).hexdigest())

    def publish(self, snapshot: Snapshot) -> None:
        """Move the partition's pointer to the snapshot."""
        m = snapshot.manifest
        pointer = {
            "data_version": m.data_version,
            "manifest": snapshot.manifest_file,
            "manifest_sha256": snapshot.manifest_sha256,
        }
        write_atomically(self._pointer(m.asset, m.partition), json.dumps(pointer, indent=1).encode())

    def _read_pointer(self, asset: str, partition: str) -> dict[str, str] | None:
        path = self._pointer(asset, partition)
        try:
            pointer = json.loads(path.read_bytes())
            return {key: str(pointer[key]) for key in ("data_version", "manifest", "manifest_sha256")}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as e:
            raise SnapshotError(f"{path.relative_to(self.root)} is damaged; materialize that partition again") from e

    def published(self, asset: str, partition: str) -> Snapshot | None:
        """The current snapshot of a partition, or None when none was published.

        Raises:
            SnapshotError: the pointer names a snapshot that is gone or whose manifest was altered.
        """
        pointer = self._read_pointer(asset, partition)
        if pointer is None:
            return None
        snapshot = self._load(self.partition_folder(asset, partition) / pointer["data_version"], pointer["manifest"])
        if snapshot.manifest_sha256 != pointer["manifest_sha256"]:
            raise SnapshotError(
                f"the manifest of {asset}[{partition}] was altered after it was published "
                f"({snapshot.folder.relative_to(self.root)}); materialize that partition again"
            )
        return snapshot

    def by_ref(self, ref: Ref) -> Snapshot:
        """The snapshot that a manifest names as its upstream. Raises SnapshotError when it is gone or altered."""
        snapshot = self._load(self.partition_folder(ref.asset, ref.partition) / ref.data_version, ref.manifest)
        if snapshot.manifest_sha256 != ref.manifest_sha256:
            raise SnapshotError(f"the manifest of {ref.asset}[{ref.partition}] {ref.data_version} was altered")
        return snapshot

    def all(self, asset: str, partition: str) -> Iterator[Snapshot]:
        """Every usable snapshot of a partition, one per manifest, the published one first.

        A damaged manifest is left out, and so is one that differs from what the pointer says it was.
        """
        current: Snapshot | None = None
        altered: Path | None = None
        try:
            current = self.published(asset, partition)
        except SnapshotError:
            with contextlib.suppress(SnapshotError):
                if pointer := self._read_pointer(asset, partition):
                    altered = self.partition_folder(asset, partition) / pointer["data_version"] / pointer["manifest"]
        if current:
            yield current
        for path in sorted(self.partition_folder(asset, partition).glob("[!.]*/manifest*.json")):
            if path != altered and not (current and path == current.folder / current.manifest_file):
                with contextlib.suppress(SnapshotError):
                    yield self._load(path.parent, path.name)

    def with_identity(self, asset: str, partition: str, identity_hash: str) -> Snapshot | None:
        """A retained snapshot that passed its contract and has this identity, whole on disk; the published one first."""
        for s in self.all(asset, partition):
            if s.manifest.identity_hash == identity_hash and s.manifest.passed and not missing_files(s):
                return s
        return None


def missing_files(snapshot: Snapshot) -> list[str]:
    """Files of a snapshot that are gone or have another size; cheap, no hashing."""
    bad = []
    for name, stored in snapshot.manifest.files.items():
        path = snapshot.folder / name
        if not path.is_file() or path.stat().st_size != stored.bytes:
            bad.append(name)
    return bad


def altered_files(snapshot: Snapshot) -> list[str]:
    """Files of a snapshot that are gone or whose SHA-256 is not the manifest's."""
    return [
        name
        for name, stored in snapshot.manifest.files.items()
        if not (snapshot.folder / name).is_file() or sha256_file(snapshot.folder / name) != stored.sha256
    ]
