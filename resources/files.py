"""Files on disk: hashes, and writing so that a crash leaves the old file or the new one."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a reader or a crash sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync(path.parent)


class FileHashes:
    """A small SQLite cache; safe for several processes. A file whose size, inode, mtime or ctime changed is read again."""

    def __init__(self, root: Path) -> None:
        self._path = root / "file_hashes.sqlite"

    def sha256(self, paths: Sequence[Path]) -> list[str]:
        """The content hash of each file, in the order given. Raises FileNotFoundError for a file that is gone."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        out = []
        # No transaction is open while a file is read: others would wait for it, and a large one takes minutes.
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as db:
            db.execute("create table if not exists hashes (path text primary key, stamp text, sha256 text)")
            for path in paths:
                s = path.stat()
                stamp = f"{s.st_size}-{s.st_ino}-{s.st_mtime_ns}-{s.st_ctime_ns}"
                row = db.execute("select sha256 from hashes where path = ? and stamp = ?", (str(path), stamp)).fetchone()
                if row is None:
                    row = (sha256_file(path),)
                    db.execute("insert or replace into hashes values (?, ?, ?)", (str(path), stamp, row[0]))
                out.append(row[0])
        return out
