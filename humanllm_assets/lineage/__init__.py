"""Identity, snapshots, memoization and staleness: the part of the project that must never be wrong. It knows no assets.

One layer a line, lowest first; the order is enforced (`pyproject.toml`).

- `items.py`: the name of one partition of one asset. `manifests.py`: what manifests and pointers say, and reading one of them.
- `code_version.py`, `git.py`: the science code behind an asset, and the state of the tree. `identity.py`: the prompts and models
  that an identity names. `answers.py`: which journal answers a step used. `tombstones.py`: who is forgotten.
- `snapshots.py`: immutable snapshots and the published pointer.
- `nodes.py`: the declaration of an asset, from which both Dagster's graph and the planner are built; what its `compute` works
  with.
- `inventory.py`: every snapshot and pointer on disk. `warehouse.py`: DuckDB views over what is published.
- `staleness/`: which partitions are stale (`plan.py`), why (`explain.py`), what training and benchmarking refuse (`gate.py`).
- `step.py`: write, audit, publish; reuse when the identity is unchanged.
- `audit/`: the snapshots behind a checkpoint (`chain.py`), what it was trained on (`checkpoint.py`), whether every byte is as it
  was (`verify.py`), where a record or user went (`trace.py`), what differs between two checkpoints (`diff.py`), indexes for all
  of them (`indexes.py`); `checkpoint_view.py` and `trace_view.py` show.
- `removal/`: what no lineage reaches (`gc.py`), what holds a user (`takedown.py`), ids in text (`scrub.py`).
"""
