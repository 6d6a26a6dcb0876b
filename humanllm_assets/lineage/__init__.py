"""Identity, snapshots, memoization and staleness: the part of the project that must never be wrong.

- `canonical.py`: one byte string for one value; what has no such form raises.
- `code_version.py`: the version of the science code behind an asset.
- `snapshots.py`: immutable snapshots, their manifests, the published pointer.
- `nodes.py`: the declaration of an asset, from which both Dagster's graph and the planner are built.
- `step.py`: write, audit, publish; reuse when the identity is unchanged.
- `plan.py`, `explain.py`, `forecast.py`: which partitions are stale, why, and what rebuilding them will ask of the models.
- `gate.py`: what training and benchmarking refuse to read.
- `reach.py`: the dependencies that Dagster is told, so that its backfills launch everything downstream.
- `answers.py`: which journal answers a step used.
- `chain.py`, `audit.py`, `verify.py`: the snapshots behind a checkpoint, what it was trained on, and whether every byte is as it was.
- `trace.py`, `diff.py`, `derived.py`: where a record or user went, what differs between two checkpoints, and indexes for both.
- `ui.py`: the same in Dagster's UI.
- `retained.py`: every snapshot on disk, and who descends from whom.
- `gc.py`: what no lineage reaches, and removing it.
- `tombstones.py`, `takedown.py`, `scrub.py`: who is to be forgotten, what holds a user, and deleting it.
"""
