"""The order law: which sample is trained at which place, decided by the seed and the sample ids alone.

The training run is one stream: the epochs' orders one after the other, cut into steps of `batch_size` places. Neither the number
of processes nor the micro batch reaches the order; they only decide which process trains which place of a step. The last
step may be partly empty: its places beyond the stream hold no sample and train nothing.

What belongs here: plain functions over sample ids, and the log of what was really trained. What does not: tensors, models.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """One place of the stream. `index` is the sample's row among the encoded samples; None = an empty place."""

    epoch: int
    index: int | None


def stable_rank(seed: int, *parts: object) -> str:
    """The sort key of a draw: sha256 of the seed and the parts, equal on every machine."""
    return hashlib.sha256("|".join(map(str, (seed, *parts))).encode()).hexdigest()


def epoch_order(sample_ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """Row numbers of `sample_ids` in the order of one epoch; the order of `sample_ids` itself does not matter."""
    return sorted(range(len(sample_ids)), key=lambda i: stable_rank(seed, epoch, sample_ids[i]))


def count_steps(samples: int, epochs: float, batch_size: int, max_steps: int | None) -> int:
    """Optimizer steps of the run: `epochs` passes, the last step possibly partly empty, at most `max_steps`."""
    steps = max(1, math.ceil(round(samples * epochs) / batch_size))
    return min(steps, max_steps) if max_steps else steps


def stream(sample_ids: Sequence[str], seed: int, epochs: float, batch_size: int, max_steps: int | None) -> list[Place]:
    """Every place of the run in order; its length is steps x `batch_size`."""
    steps = count_steps(len(sample_ids), epochs, batch_size, max_steps)
    filled = min(steps * batch_size, max(1, round(len(sample_ids) * epochs)))
    places: list[Place] = []
    for epoch in range(math.ceil(filled / len(sample_ids))):
        places += [Place(epoch, i) for i in epoch_order(sample_ids, seed, epoch)]
    del places[filled:]
    return places + [Place(places[-1].epoch, None)] * (steps * batch_size - filled)


def positions_of(step: int, micro: int, rank: int, *, batch_size: int, micro_batch: int, processes: int) -> range:
    """The places that process `rank` trains in micro step `micro` (0-based) of optimizer step `step` (1-based)."""
    start = (step - 1) * batch_size + (micro * processes + rank) * micro_batch
    return range(start, start + micro_batch)


def cut_log(log: Path, last_step: int) -> None:
    """Drop the rows of a JSON-lines log that belong to steps after `last_step`, and a row torn by a kill.

    What a run trained after its last checkpoint is lost with it and trained again, so it must not be counted twice.
    """
    if not log.is_file():
        return
    kept = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if _step_of(line) <= last_step]
    partial = log.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(log)


def _step_of(line: str) -> float:
    if not line.endswith("\n"):
        return math.inf
    return json.loads(line)["step"]


def read_log(log: Path) -> list[dict[str, Any]]:
    """The whole rows of a JSON-lines log; empty when there is none yet."""
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def missing_positions(consumed: Iterable[int], expected: int) -> str | None:
    """What is wrong with the positions that were trained, or None when they are exactly 0 .. `expected` - 1, each once."""
    seen = sorted(consumed)
    if seen == list(range(expected)):
        return None
    return f"{len(seen)} places were trained ({len(seen) - len(set(seen))} of them twice) where {expected} were planned"
