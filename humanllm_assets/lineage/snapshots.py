"""Immutable snapshots and the pointer to the published one.

    snapshots/<asset>/<partition>/<data version>/   tables as Parquet (or a model's files), manifest.json
    published/<asset>/<partition>.json              which snapshot is current

A snapshot is written under a temporary name, checked, fsynced and renamed; it never changes again. A re-run with an equal result
has the same data version: it adds its own `manifest-<identity>.json` to the folder and moves the pointer there. The pointer
moves by an atomic replace, so readers see the old snapshot or the new one, never something between.

What belongs here: writing snapshots, moving pointers, the usable snapshots of a partition. What does not: what manifests and
pointers say (`manifests.py`), when to compute (`step.py`), what is stale (`staleness/plan.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import (
    Damage,
    Manifest,
    Pointer,
    Ref,
    Snapshot,
    StoredFile,
    TableFile,
    read_pointer,
    read_snapshot,
    show_path,
    version_of,
)
from humanllm_assets.sorted_copy import copy_sorted
from humanllm_assets.sql import Table, arrow_schema, parquet, select_list
from resources.canonical import digest
from resources.errors import Explained
from resources.files import fsync, sha256_file, write_atomically
from resources.processes import Holder

if TYPE_CHECKING:
    import pyarrow as pa

_WRITING = ".writing-"  # begins the name of an unfinished snapshot; its process follows
_BATCH = 1024  # rows held in memory per table before they are written


class SnapshotError(Explained):
    """A snapshot is missing, incomplete or altered; the message says which and what to do."""


def hash_table(con: duckdb.DuckDBPyConnection, file: Path) -> tuple[int, str]:
    """Rows of a Parquet table and the SHA-256 of its content: columns by name, rows as a multiset.

    Rows are hashed one by one and the hashes sorted in 4,096 buckets, so row order, row groups and compression do not matter. DuckDB
    sorts them outside memory where they do not fit; here they stream.
    """
    source = parquet([file])
    columns = sorted((r[0], r[1]) for r in con.execute(f"describe select * from {source}").fetchall())
    fields = ", ".join(f'"{n}"' for n, _ in columns)
    hashes = con.sql(f"select sha256(to_json(t)::varchar) as h from (select {fields} from {source}) t order by h")
    rows, content, bucket, in_bucket = 0, hashlib.sha256(), b"", hashlib.sha256()
    for batch in hashes.to_arrow_reader(_HASHES):
        data = _hash_bytes(batch.column(0))
        start, end = 0, len(data) // _HASH_CHARS
        rows += end
        while start < end:
            first = _bucket(data, start)
            if bucket and first != bucket:
                content.update(in_bucket.hexdigest().encode())
                in_bucket = hashlib.sha256()
            bucket = first
            stop = bisect_right(range(end), bucket, lo=start, key=lambda i: _bucket(data, i))
            in_bucket.update(data[start * _HASH_CHARS : stop * _HASH_CHARS])
            start = stop
    if bucket:
        content.update(in_bucket.hexdigest().encode())
    return rows, digest({"columns": [list(c) for c in columns], "rows": content.hexdigest()})


_HASHES = 100_000  # that are in memory at a time
_HASH_CHARS, _BUCKET_CHARS = 64, 3  # of a SHA-256 in hex


def _bucket(data: bytes, i: int) -> bytes:
    return data[i * _HASH_CHARS : i * _HASH_CHARS + _BUCKET_CHARS]


def _hash_bytes(hashes: pa.StringArray) -> bytes:
    """The characters of all hashes, one behind the other, as Arrow holds them."""
    data = hashes.buffers()[2]
    start = hashes.offset * _HASH_CHARS
    return data.to_pybytes()[start : start + len(hashes) * _HASH_CHARS] if data else b""


class Sealed(NamedTuple):
    """What a writer holds when it is finished: the data version that follows from its tables and files, and both by name."""

    data_version: str
    tables: dict[str, TableFile]
    files: dict[str, StoredFile]


class SnapshotWriter:
    """Collects the tables and files of one snapshot in a temporary folder.

    Rows may come in any order and are sorted by their first column when the writer is sealed, so that equal results are equal
    bytes too.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Table]) -> None:
        self.folder = folder
        self._tables = tables
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._given: Counter[str] = Counter()
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
            self._given[table] += 1
            if len(pending) >= _BATCH:
                self._flush(table)

    def _flush(self, table: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = arrow_schema(self._tables[table])
        if table not in self._parts:
            self._parts[table] = pq.ParquetWriter(self.part(table), schema)
        self._parts[table].write_table(pa.Table.from_pylist(self._rows[table], schema=schema))
        self._rows[table].clear()  # the list stays the one that `write` adds to

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
        """Write the result of a query as a declared table, cast to its columns and sorted by the first.

        The query is asked again where its result is too large to be sorted at once.
        """
        columns = self._tables[table]
        copy_sorted(con, f"select {select_list(columns)} from ({query})", columns[0].name, self.folder / f"{table}.parquet")

    def volatile(self, *names: str) -> None:
        """Mark files that are kept and hashed but do not decide the data version: a model card, logs."""
        self._volatile.update(names)

    def seal(self, con: duckdb.DuckDBPyConnection) -> Sealed:
        """Finish every declared table (an unwritten one is empty) and make sure that all is on the disk.

        Raises:
            RuntimeError: a table does not hold as many rows as were written to it.
        """
        for table in self._tables:
            target = self.folder / f"{table}.parquet"
            if not target.exists():
                part = self.part(table) if table in self._finished else self.finish(table)
                self.copy(con, table, f"select * from {parquet([part])}")
                part.unlink()
        tables = {}
        for table in self._tables:
            rows, content = hash_table(con, self.folder / f"{table}.parquet")
            if table in self._given and rows != self._given[table]:
                raise RuntimeError(f"the table {table} holds {rows} of the {self._given[table]} rows that were written to it")
            tables[table] = TableFile(file=f"{table}.parquet", rows=rows, content=content)
        files = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            fsync(path)
            name = str(path.relative_to(self.folder))
            files[name] = StoredFile(bytes=path.stat().st_size, sha256=sha256_file(path), volatile=name in self._volatile)
        return Sealed(version_of(tables, files), tables, files)


class SnapshotStore:
    """All snapshots and published pointers below one folder. Safe for several processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def partition_folder(self, asset: str, partition: str) -> Path:
        """Where the snapshots of a partition lie, one folder for each data version."""
        return self.root / "snapshots" / asset / Item(asset, partition).folder

    def pointer_file(self, asset: str, partition: str) -> Path:
        """The file that says what is published of a partition."""
        return self.root / "published" / asset / f"{Item(asset, partition).folder}.json"

    def read_pointer(self, asset: str, partition: str) -> Pointer | Damage | None:
        """The published pointer of a partition, what is wrong with it, or None when nothing was published."""
        return read_pointer(self.root, self.pointer_file(asset, partition))

    def read_snapshot(self, folder: Path, name: str) -> Snapshot | Damage:
        """The snapshot of a manifest file, or what is wrong with that file."""
        return read_snapshot(self.root, folder, name)

    def show_path(self, path: Path) -> str:
        """A path as messages write it: relative to the data home where it lies there."""
        return show_path(self.root, path)

    def read_ref(self, ref: Ref) -> Snapshot | Damage:
        """The snapshot that a reference names, whatever the hash of its manifest, or what is wrong with it."""
        return self.read_snapshot(self.partition_folder(ref.asset, ref.partition) / ref.data_version, ref.manifest)

    def begin(self, asset: str, partition: str, tables: Mapping[str, Table]) -> SnapshotWriter:
        """A writer in a temporary folder beside the partition's snapshots. Raises OSError when the disk refuses it."""
        folder = self.partition_folder(asset, partition)
        folder.mkdir(parents=True, exist_ok=True)
        return SnapshotWriter(Path(tempfile.mkdtemp(dir=folder, prefix=f"{_WRITING}{Holder.me()}-")), tables)

    def abandon(self, writer: SnapshotWriter) -> None:
        """Delete what an unfinished writer wrote."""
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
        name, files = self._repair(folder, writer, manifest)
        write_atomically(folder / name, manifest.model_copy(update={"files": files}).model_dump_json(indent=1).encode())
        self.abandon(writer)
        return self._load(folder, name)

    def _repair(self, folder: Path, writer: SnapshotWriter, manifest: Manifest) -> tuple[str, dict[str, StoredFile]]:
        """Replace the files of an existing equal snapshot that are gone or altered by what was written now.

        Returns the name of the new manifest, in place of a first one that cannot be read any more, and the folder's files.
        """
        first, name = folder / "manifest.json", f"manifest-{manifest.identity_hash[:16]}.json"
        existing = self.read_snapshot(folder, first.name)
        if isinstance(existing, Damage):
            files, bad = {}, list(manifest.files)
            name = first.name if first.exists() else name
        else:
            bad = find_altered_files(existing)
            files = {
                n: stored.model_copy(update={"volatile": n in manifest.files and manifest.files[n].volatile})
                for n, stored in existing.manifest.files.items()
            }
        for n in bad:
            (folder / n).parent.mkdir(parents=True, exist_ok=True)
            os.replace(writer.folder / n, folder / n)
        return name, {**files, **{n: manifest.files[n] for n in bad}}

    def _load(self, folder: Path, name: str) -> Snapshot:
        found = self.read_snapshot(folder, name)
        if isinstance(found, Damage):
            raise SnapshotError(f"{found.sentence}; materialize that partition again")
        return found

    def publish(self, snapshot: Snapshot) -> None:
        """Move the partition's pointer to the snapshot."""
        pointer = Pointer(
            data_version=snapshot.data_version,
            manifest=snapshot.manifest_file,
            manifest_sha256=snapshot.manifest_sha256,
        )
        write_atomically(self.pointer_file(*snapshot.item), pointer.content)

    def published(self, asset: str, partition: str) -> Snapshot | None:
        """The current snapshot of a partition, or None when none was published.

        Raises:
            SnapshotError: the pointer is damaged, or names a snapshot that is gone or whose manifest was altered.
        """
        pointer = self.read_pointer(asset, partition)
        if isinstance(pointer, Damage):
            raise SnapshotError(f"{pointer.sentence}; materialize that partition again")
        if pointer is None:
            return None
        snapshot = self._load(self.partition_folder(asset, partition) / pointer.data_version, pointer.manifest)
        if snapshot.manifest_sha256 != pointer.manifest_sha256:
            raise SnapshotError(
                f"the manifest of {Item(asset, partition)} was altered after it was published "
                f"({snapshot.folder.relative_to(self.root)}); materialize that partition again"
            )
        return snapshot

    def by_ref(self, ref: Ref) -> Snapshot:
        """The snapshot that a manifest names as its upstream. Raises SnapshotError when it is gone or altered."""
        snapshot = self._load(self.partition_folder(ref.asset, ref.partition) / ref.data_version, ref.manifest)
        if snapshot.manifest_sha256 != ref.manifest_sha256:
            raise SnapshotError(f"the manifest of {ref.item} {ref.data_version} was altered")
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
            if isinstance(pointer := self.read_pointer(asset, partition), Pointer):
                altered = self.partition_folder(asset, partition) / pointer.data_version / pointer.manifest
        if current:
            yield current
        for path in sorted(self.partition_folder(asset, partition).glob("[!.]*/manifest*.json")):
            if path != altered and not (current and path == current.folder / current.manifest_file):
                found = self.read_snapshot(path.parent, path.name)
                if isinstance(found, Snapshot):
                    yield found

    def with_identity(self, asset: str, partition: str, identity_hash: str) -> Snapshot | None:
        """A retained snapshot that passed its contract and has this identity, whole on disk; the published one first."""
        for s in self.all(asset, partition):
            if s.manifest.identity_hash == identity_hash and s.manifest.passed and not find_missing_files(s):
                return s
        return None


def remove_unfinished(root: Path) -> list[str]:
    """Delete what processes that are gone had begun to write; returns a sentence for each folder."""
    removed = []
    for folder in sorted(root.glob(f"snapshots/*/*/{_WRITING}*")):
        holder = Holder.parse(folder.name.removeprefix(_WRITING))
        if holder and not holder.lives:
            shutil.rmtree(folder, ignore_errors=True)  # another command may do the same
            removed.append(f"an unfinished snapshot of {Item.of_folder(*folder.parts[-3:-1])} was deleted")
    return removed


def find_missing_files(snapshot: Snapshot) -> list[str]:
    """Files of a snapshot that are gone or have another size; cheap, no hashing."""
    bad = []
    for name, stored in snapshot.manifest.files.items():
        path = snapshot.folder / name
        if not path.is_file() or path.stat().st_size != stored.bytes:
            bad.append(name)
    return bad


def find_altered_files(snapshot: Snapshot) -> list[str]:
    """Files of a snapshot that are gone or whose SHA-256 is not the manifest's."""
    return [
        name
        for name, stored in snapshot.manifest.files.items()
        if not (snapshot.folder / name).is_file() or sha256_file(snapshot.folder / name) != stored.sha256
    ]
