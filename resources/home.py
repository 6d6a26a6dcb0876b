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
    tombstones.json            users to be forgotten, by hash (humanllm_assets/lineage/tombstones.py)
    receipts/                  what a purge deleted
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Home:
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
    def tombstones(self) -> Path:
        return self.root / "tombstones.json"

    @property
    def receipts(self) -> Path:
        return self.root / "receipts"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    def prepare(self, profile: Profile) -> Home:
        """Create the folders and Dagster's settings (telemetry and welcome dialog off) where they are missing."""
        self.dagster.mkdir(parents=True, exist_ok=True)
        settings = self.dagster / "dagster.yaml"
        wanted = _DAGSTER_YAML % {"runs": profile.execution.max_concurrent, "pool": profile.execution.max_concurrent}
        if not settings.exists() or settings.read_text() != wanted:
            settings.write_text(wanted)
        return self


def home_of(profile: Profile) -> Home:
    """The profile's folder below HUMANLLM_HOME, or below `data_home/` in the project."""
    root = Path(os.environ.get("HUMANLLM_HOME") or PROJECT_ROOT / "data_home").expanduser().absolute()
    return Home(root / profile.name)
