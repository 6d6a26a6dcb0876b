"""Which files of a data home a verification covers, and the one hash over them all.

The anchor is the SHA-256 of a list as `sha256sum` prints it, one line for each covered file, sorted by path. Whoever keeps the
anchor elsewhere finds every change of a covered file, a rewrite of everything with all its hashes included.

What belongs here: which files count. What does not: what must be in them (`verify.py`).
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Files and folders that are outside every verification, as patterns of their path below the home; docs/lineage.md lists them.
OUTSIDE = {
    "audit_index": "indexes of audits, made anew from the snapshots; a verification counts anew",
    "budgets.sqlite*": "what was spent",
    "dagster": "Dagster's records of runs and schedules",
    "data_docs": "pages for people; the verdicts are in the manifests",
    "file_hashes.sqlite*": "a cache of hashes of source files; a verification reads the files",
    "journal/answers.sqlite-wal": "SQLite's write-ahead log; what it holds is read as part of the journal",
    "journal/answers.sqlite-shm": "the index of that log",
    "journal/asking.lock*": "who asks models just now",
    "locks": "who runs a step, collects garbage or serves the UI just now",
    "models/.digests": "a cache of hashes of models; a verification reads the models",
    "scratch": "what DuckDB cannot hold in memory, while a step runs",
    "servers": "state and logs of model servers",
    "snapshots/*/*/.*": "what a step writes or a collection removes just now; no reader looks there",
    "training": "work folders of training runs; the result is a snapshot",
    "warehouse.duckdb*": "views over the snapshots, made anew by every run",
    "**/.*.lock*": "lock files, and who holds them",
    "**/.*.????????": "a file that was being written when its process died",
}


def find_pattern(path: str) -> str | None:
    """The pattern of `OUTSIDE` that a path below the home falls under; None for a covered file."""
    for pattern in OUTSIDE:
        if pattern.startswith("**/"):
            if fnmatch.fnmatchcase(path.rpartition("/")[2], pattern[3:]):
                return pattern
        elif path.count("/") == pattern.count("/") and all(map(fnmatch.fnmatchcase, path.split("/"), pattern.split("/"))):
            return pattern
    return None


def list_files(root: Path) -> Iterator[Path]:
    """Every covered file and symbolic link below the home, by path."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [n for n in sorted(folders) if n not in links and not _is_outside(root, here / n)]
        yield from (here / name for name in sorted([*files, *links]) if not _is_outside(root, here / name))


def _is_outside(root: Path, path: Path) -> bool:
    return find_pattern(str(path.relative_to(root))) is not None


def compute_anchor(root: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash over all covered files. `hash_file`: SHA-256 of a file's bytes."""
    lines = []
    for path in list_files(root):
        content = f"link to {os.readlink(path)}" if path.is_symlink() else hash_file(path)
        lines.append(f"{content}  {path.relative_to(root)}\n")
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line.partition("  ")[2])).encode()).hexdigest()
