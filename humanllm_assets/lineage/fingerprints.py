"""SHA-256 of files outside the data home, remembered by size, inode and times so that planning does not read dumps again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from humanllm_assets.lineage.snapshots import sha256_file


class FileHashes:
    """A small SQLite cache; safe for several processes. A file whose size, inode, mtime or ctime changed is read again."""

    def __init__(self, root: Path) -> None:
        self._path = root / "file_hashes.sqlite"

    def sha256(self, paths: Sequence[Path]) -> list[str]:
        """The content hash of each file, in the order given. Raises FileNotFoundError for a file that is gone."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(self._path, timeout=60) as db:
            db.execute("create table if not exists hashes (path text primary key, stamp text, sha256 text)")
            out = []
            for path in paths:
                s = path.stat()
                stamp = f"{s.st_size}-{s.st_ino}-{s.st_mtime_ns}-{s.st_ctime_ns}"
                row = db.execute("select sha256 from hashes where path = ? and stamp = ?", (str(path), stamp)).fetchone()
                if row is None:
                    row = (sha256_file(path),)
                    db.execute("insert or replace into hashes values (?, ?, ?)", (str(path), stamp, row[0]))
                out.append(row[0])
        return out
