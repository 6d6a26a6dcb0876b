"""What the reports are drawn from: manifests and tables of the published snapshots that the step has pinned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from humanllm_assets.asking.questions import read_rows
from humanllm_assets.evaluation.benchmark_report import BenchmarkInputs, Difference
from humanllm_assets.evaluation.benchmarks import kinds_of
from humanllm_assets.evaluation.reports import Drop, FunnelInputs, ScoreCount, Stage
from humanllm_assets.evaluation.scoring import compare
from humanllm_assets.pages.page import Context
from humanllm_assets.partitions import parse_pair
from humanllm_assets.sql import literal

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

_STAGES = ("rules", "LLM filtering", "synthesis", "judge", "task data sets")  # in the order in which rows pass them


def context(step: Step, roles: tuple[str, ...]) -> Context:
    """Profile, engine, data and models behind a report's numbers."""
    profile = step.profile
    models = {}
    for role in roles:
        if role in profile.roles:
            model = profile.models[profile.roles[role].model]  # type: ignore[index]
            models[role] = f"{model.name} ({model.revision})"
    slices = ", ".join(f"{source}: {'/'.join(config.slices)}" for source, config in profile.sources.items())
    return Context(
        profile=profile.name,
        engine="vLLM, OpenAI-compatible server",
        data=slices,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        models=models,
        notes=profile.notes,
    )


def funnel_inputs(step: Step) -> FunnelInputs:
    """Cells of Table A1, dropped rows by reason, and the judge's scores."""
    stages: list[Stage] = []
    drops: Counter[tuple[str, str, str]] = Counter()
    scores: list[ScoreCount] = []
    for source in step.profile.sources:
        read, _ = _counts(step, f"eligible_{source}", drops, "rules", source)
        _, kept = _counts(step, f"filtered_{source}", drops, "LLM filtering", source)
        stages += [Stage(source, "Raw Texts", read), Stage(source, "After DF Texts", kept)]
        if source not in step.inputs["user_profiles"]:
            continue
        profiles = step.inputs["user_profiles"][source].path("items")
        verdicts = step.inputs["qc_scores"][source].path("scores")
        stages.append(
            Stage(source, "After DS Users", _one(step, f"select count(distinct user_id) from read_parquet('{profiles}')"))
        )
        kept_users = f"""select count(*) from (select user_id from read_parquet('{verdicts}') where item_kind in ('persona', 'profile')
                         group by 1 having count(*) filter (kept) = 2)"""
        stages.append(Stage(source, "After QC Users", _one(step, kept_users)))
        for title, asset, kind in (("Scenarios", "scenarios", "scenario"), ("Social QA", "social_qa", "qa")):
            snapshot = step.inputs.get(asset, {}).get(source)
            written = snapshot.manifest.tables["items"].rows if snapshot else None
            stages.append(Stage(source, f"After DS {title}", written))
            kept_items = f"select count(*) filter (kept) from read_parquet('{verdicts}') where item_kind = '{kind}'"
            stages.append(Stage(source, f"After QC {title}", _one(step, kept_items) if snapshot else None))
        for asset, stage in (
            ("user_profiles", "synthesis"),
            ("scenarios", "synthesis"),
            ("social_qa", "synthesis"),
            ("qc_scores", "judge"),
        ):
            if source in step.inputs.get(asset, {}):
                for reason, n in step.inputs[asset][source].manifest.counts.dropped.items():
                    drops[stage, source, f"{asset} {reason}"] += n
        found = step.con.execute(f"""
            select item_kind, metric, score, count(*) from (unpivot (select * from read_parquet('{verdicts}'))
                on hallucination, coverage, conciseness, relevance, fidelity, novelty, leakage, overall into name metric value score)
            group by all order by all""").fetchall()
        scores += [ScoreCount(*row) for row in found]
    for pair, snapshot in step.inputs["task_datasets"].items():
        task, source = parse_pair(pair)
        for reason, n in snapshot.manifest.counts.dropped.items():
            drops["task data sets", source, f"{task} {reason}"] += n
    merged: Counter[tuple[str, str, int]] = Counter()
    for s in scores:
        merged[s.item_kind, s.metric, s.score] += s.items
    return FunnelInputs(
        stages,
        [Drop(*key, n) for key, n in sorted(drops.items(), key=lambda d: (_STAGES.index(d[0][0]), d[0]))],
        [ScoreCount(*key, n) for key, n in sorted(merged.items())],
        context(step, ("rewriter", "labeller", "synthesizer", "judge")),
    )


def _counts(step: Step, asset: str, drops: Counter[tuple[str, str, str]], stage: str, source: str) -> tuple[int, int]:
    entered = kept = 0
    for snapshot in step.inputs[asset].values():
        counts = snapshot.manifest.counts
        entered, kept = entered + counts.entered, kept + counts.kept
        for reason, n in counts.dropped.items():
            drops[stage, source, reason] += n
    return entered, kept


def _one(step: Step, sql: str) -> int:
    return step.con.execute(sql).fetchall()[0][0]


def benchmark_inputs(step: Step) -> BenchmarkInputs:
    """All summaries, merged minus base model per benchmark, the benchmarks of the profile, and what made them."""
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
    made_by = context(step, tuple(dict.fromkeys(role for kind in kinds_of(profile).values() for role in kind.roles)))
    contestants = {}
    for name, snapshot in step.inputs["contestants"].items():
        row = step.con.execute(f"select model_name, revision from read_parquet('{snapshot.path('contestants')}')").fetchall()[0]
        contestants[f"contestant {name}"] = f"{row[0]} ({row[1]})"
    summaries = list(read_rows(step.con, "select * from summary order by all"))
    made_by = replace(made_by, models={**made_by.models, **contestants})
    return BenchmarkInputs(summaries, differences, dict(profile.benchmarks), made_by)


def _answers_of(benchmark: str, contestant: str) -> str:
    return f"select * from answers where benchmark = {literal(benchmark)} and contestant = {literal(contestant)} order by item_id"
