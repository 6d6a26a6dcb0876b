"""Identity, snapshots, memoization and staleness: the part of the project that must never be wrong.

- `canonical.py`: one byte string for one value; what has no such form raises.
- `code_version.py`: the version of the science code behind an asset.
- `snapshots.py`: immutable snapshots, their manifests, the published pointer.
- `nodes.py`: the declaration of an asset, from which both Dagster's graph and the planner are built.
- `step.py`: write, audit, publish; reuse when the identity is unchanged.
- `plan.py`: which partitions are stale, and why.
- `retained.py`: every snapshot on disk, and who descends from whom.
- `gc.py`: what no lineage reaches, and removing it.
- `tombstones.py`, `takedown.py`, `scrub.py`: who is to be forgotten, what holds a user, and deleting it.
"""
