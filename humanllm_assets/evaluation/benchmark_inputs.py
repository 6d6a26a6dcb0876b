"""What the report of the benchmarks is drawn from: tables of the published snapshots that the step has pinned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from humanllm_assets.evaluation.benchmark_report import BenchmarkInputs, Difference
from humanllm_assets.evaluation.benchmarks import kinds_of
from humanllm_assets.evaluation.differences import compare
from humanllm_assets.evaluation.leaked import count_leaks, score_unleaked
from humanllm_assets.evaluation.report_context import describe_context
from humanllm_assets.sql import literal, read_rows

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step


def benchmark_inputs(step: Step) -> BenchmarkInputs:
    """All summaries, also without questions that leak, merged minus base model per benchmark, the profile's benchmarks, what made them."""
    step.view("summary", "benchmark_scores", "summary")
    step.view("answers", "benchmark_scores", "answers")
    profile = step.profile
    differences = []
    for name, contestant in profile.contestants.items():
        if contestant.recipe is None:
            continue
        base_model = profile.recipes[contestant.recipe].base_model
        base = next((c for c, config in profile.contestants.items() if config.model == base_model), None)
        if base is None:
            continue
        for benchmark in profile.benchmarks:
            of = {c: list(read_rows(step.con, _answers_of(benchmark, c))) for c in (base, name)}
            for distractors, found in compare(of[base], of[name]).items():
                differences.append(Difference(base, name, benchmark, distractors, found))
    made_by = describe_context(step, tuple(dict.fromkeys(role for kind in kinds_of(profile).values() for role in kind.roles)))
    contestants = {}
    for name, snapshot in step.inputs["contestants"].items():
        row = step.con.execute(f"select model_name, revision from read_parquet('{snapshot.path('contestants')}')").fetchall()[0]
        contestants[f"contestant {name}"] = f"{row[0]} ({row[1]})"
    summaries = list(read_rows(step.con, "select * from summary order by all"))
    made_by = replace(made_by, models={**made_by.models, **contestants})
    leaks = count_leaks(step)
    return BenchmarkInputs(summaries, differences, dict(profile.benchmarks), made_by, leaks, score_unleaked(step, leaks))


def _answers_of(benchmark: str, contestant: str) -> str:
    return f"select * from answers where benchmark = {literal(benchmark)} and contestant = {literal(contestant)} order by item_id"
