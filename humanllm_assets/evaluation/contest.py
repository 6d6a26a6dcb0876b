"""What the kinds of benchmarks work with: the questions that they build, and a contestant in front of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.questions import Sink, Tally
from resources.profile import Benchmark, Role

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]


@dataclass
class Built:
    """Questions (rows of BENCHMARK_ITEMS), and what was left out, counted as `<set>:<reason>`.

    Reasons: near_duplicate (both sets) and too_few_distractors leave a question out; no_other_persona only its control.
    """

    items: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Contest:
    """One contestant in front of one benchmark.

    contestant: its name; base_model: profile key of the model that it is or was made from. role: how it samples on the benchmark.
    items: rows of BENCHMARK_ITEMS by item_id. counts, sink: where requests are counted and failures go.
    """

    step: Step
    benchmark: Benchmark
    contestant: str
    base_model: str
    role: Role
    items: list[Row]
    counts: Tally
    sink: Sink


def contestant_role(base: Role, benchmark: Benchmark, model: str) -> Role:
    """How a contestant samples on a benchmark: as the role says, but with the benchmark's temperature and length."""
    return base.model_copy(update={"model": model, "temperature": benchmark.temperature, "max_tokens": benchmark.max_tokens})
