"""Where everything that is computed lives: one folder per profile.

<data home>/<profile>/
    snapshots/  published/     what was computed (humanllm_assets/lineage/snapshots.py)
    journal/                   answers of the models
    models/  servers/          prepared model folders; state of local servers
    training/                  work folders of training runs
    prompts/                   texts of the prompts that were used, by their hash
    data_docs/                 pages for people
    dagster/                   Dagster's instance: runs, events, schedules
    warehouse.duckdb           a view per asset, for people who want SQL
    scratch/                   what DuckDB cannot hold in memory, while a step runs
    locks/                     who runs a step, collects garbage, serves the UI (resources/locks.py)
    tombstones.json            users to be forgotten, by hash (humanllm_assets/lineage/tombstones.py)
    receipts/                  what a purge deleted
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resources.errors import Explained
from resources.profile import PROJECT_ROOT, Profile

_DAGSTER_YAML = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs: {max_concurrent_runs: %(runs)d}
  pools: {granularity: op, default_limit: %(pool)d}
run_monitoring: {enabled: true}
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
"""

_REMEDY = "set HUMANLLM_HOME to a folder that can be written"


class HomeError(Explained):
    """A data home that cannot be used; one sentence with the remedy."""


@dataclass(frozen=True)
class Home:
    """The folder of one profile; see this module for what lies where."""

    root: Path

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def data_docs(self) -> Path:
        return self.root / "data_docs"

    @property
    def prompts(self) -> Path:
        return self.root / "prompts"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def steps_lock(self) -> Path:
        """Held by every step, shared; and by what deletes below the home, alone."""
        return self.root / "locks" / "steps"

    @property
    def ui_lock(self) -> Path:
        return self.root / "locks" / "ui"

    @property
    def tombstones(self) -> Path:
        return self.root / "tombstones.json"

    @property
    def receipts(self) -> Path:
        return self.root / "receipts"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    def prepare(self, profile: Profile) -> Home:
        """Create the folders and Dagster's settings (telemetry and welcome dialog off) where they are missing.

        Raises:
            HomeError: they cannot be created.
        """
        try:
            self.dagster.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            problem = machine_problem(e, self.root) or f"{self.root} cannot be made ({e.strerror}); {_REMEDY}"
            raise HomeError(problem) from e
        settings = self.dagster / "dagster.yaml"
        wanted = _DAGSTER_YAML % {"runs": profile.execution.max_concurrent, "pool": profile.execution.max_concurrent}
        if not settings.exists() or settings.read_text() != wanted:
            partial = settings.with_name(f".{settings.name}.{os.getpid()}")
            partial.write_text(wanted)
            partial.replace(settings)
        return self


def homes() -> Path:
    """Where the homes of all profiles lie: HUMANLLM_HOME, or `data_home/` in the project."""
    return Path(os.environ.get("HUMANLLM_HOME") or PROJECT_ROOT / "data_home").expanduser().absolute()


def home_of(profile: Profile) -> Home:
    """The home of a profile, whether it is there yet or not. Raises HomeError when a file is in its place."""
    root = homes() / profile.name
    nearest = next(p for p in (root, *root.parents) if p.exists())
    if not nearest.is_dir():
        raise HomeError(f"{nearest} is no folder; {_REMEDY}")
    return Home(root)


# ---- a disk or a memory that cannot take more ------------------------------------------------------------------------

_FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded")
_NEARLY_NOTHING = 2**20  # bytes; SQLite calls it a disk I/O error when its shared-memory file cannot grow


def machine_problem(error: BaseException, root: Path) -> str | None:
    """One sentence with the remedy when an error, or one that it came from, says that `root` cannot be written or that memory
    ran out; else None.

    The file system, DuckDB, PyArrow, SQLite and SQLAlchemy each say it in their own way, and Dagster wraps what they say.
    """
    texts = [str(e) for e in _causes(error)]
    codes = {getattr(e, "errno", None) for e in _causes(error)}
    full = bool(codes & {errno.ENOSPC, errno.EDQUOT}) or any(words in text for words in _FULL for text in texts)
    if full or (any("disk I/O error" in text for text in texts) and _least_free(root) < _NEARLY_NOTHING):
        return (
            f"the disk that holds {root} is full; free some space, or move the folder and set HUMANLLM_HOME to its new place, then "
            "run the same again. What was published and answered before is untouched"
        )
    refused = codes & {errno.EACCES, errno.EROFS} and any(str(root) in text for text in texts)
    if refused or any("attempt to write a readonly database" in text for text in texts):
        return f"{root} cannot be written; make it writable or set HUMANLLM_HOME to another folder"
    if any(isinstance(e, MemoryError) or "Out of Memory Error" in str(e) for e in _causes(error)):
        return (
            "memory ran out; raise `execution.duckdb_memory` in the profile if the machine has more, else lower "
            "`execution.max_concurrent`, and run the same again. What was published and answered before is untouched"
        )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__


def _least_free(root: Path) -> int:
    """Free bytes of the fullest file system on which the folder, or one of its folders, lies."""
    folders = [root, *root.glob("*/"), *root.glob("*/*/")] if root.exists() else [next(p for p in root.parents if p.exists())]
    return min(shutil.disk_usage(folder).free for folder in folders)
