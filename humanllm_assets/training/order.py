"""The order law: which sample is trained at which place, decided by the seed and the sample ids alone.

A training run is one stream: the epochs' orders one after the other, cut into steps of `batch_size` places. Neither the number
of processes nor the micro batch reaches the order; they only decide which process trains which places of a step. The last
step may be partly empty: its places beyond the stream hold no sample and train nothing.

What belongs here: plain functions over sample ids, and the log of what was really trained. What does not: tensors, models.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence

EMPTY = -1  # a place without a sample


def epoch_order(sample_ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """Row numbers of `sample_ids` in one epoch's order: by sha256 of `seed|epoch|sample_id`, so row order does not matter."""
    return sorted(range(len(sample_ids)), key=lambda i: hashlib.sha256(f"{seed}|{epoch}|{sample_ids[i]}".encode()).digest())


def count_places(samples: int, epochs: float, batch_size: int, max_steps: int | None) -> tuple[int, int]:
    """Optimizer steps of a run, and how many samples they train: `epochs` passes, cut at `max_steps`."""
    wanted = max(1, round(samples * epochs))
    steps = math.ceil(wanted / batch_size)
    steps = min(steps, max_steps) if max_steps else steps
    return steps, min(wanted, steps * batch_size)


def stream(sample_ids: Sequence[str], seed: int, epochs: float, batch_size: int, max_steps: int | None = None) -> array[int]:
    """The row number of the sample at every place of the run, steps x `batch_size` in all; EMPTY beyond the last sample.

    The sample at place `p` belongs to epoch `p // len(sample_ids)` and to step `p // batch_size + 1`.
    """
    steps, filled = count_places(len(sample_ids), epochs, batch_size, max_steps)
    places = array("q")
    for epoch in range(math.ceil(filled / len(sample_ids))):
        places.extend(epoch_order(sample_ids, seed, epoch))
    return places[:filled] + array("q", [EMPTY]) * (steps * batch_size - filled)


def places_of(step: int, micro: int, rank: int, *, batch_size: int, micro_batch: int, processes: int) -> range:
    """The places that process `rank` trains in micro step `micro` (from 0) of optimizer step `step` (from 1)."""
    start = (step - 1) * batch_size + (micro * processes + rank) * micro_batch
    return range(start, start + micro_batch)
