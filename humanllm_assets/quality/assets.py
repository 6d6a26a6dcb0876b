"""qc_scores: the judge's verdict on every synthesized item (Q1-Q4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.nodes import Node
from humanllm_assets.partitions import Partitions
from humanllm_assets.quality.judge import PROMPTS, ItemKind, judge_items
from humanllm_assets.tables import FAILURES, SCORES
from resources.prompting.prompts import Prompt

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def nodes(profile: Profile, home: Home) -> list[Node]:
    parts = Partitions(profile)
    sources = parts.profile_sources
    return [
        Node(
            name="qc_scores",
            group="quality",
            description="Scores from 1 to 10 by a judge model for every persona, profile, story, style, scenario and question (Q1, Q2), and "
            "which of them stay (Q3: overall and every other applicable metric above their thresholds).",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"scores": SCORES, "failures": FAILURES},
            partitions=sources,
            deps=(
                parts.by_source("user_profiles", sources),
                parts.by_source("scenarios", parts.scenario_sources),
                parts.by_source("social_qa", parts.scenario_sources),
                *parts.slices_of("filtered"),
            ),
            identity=lambda partition: {
                "judge": llm_identity(profile, "judge", list(PROMPTS.values())),
                "qc": profile.thresholds.qc.model_dump(include={"overall_above", "metric_above"}),
            },
            compute=_qc_scores,
            contract=Contract.load("qc_scores", profile.thresholds),
            uses_llm=True,
        )
    ]


def _qc_scores(step: Step) -> None:
    step.records("records", f"filtered_{step.partition}")
    for view, asset in (("profile_items", "user_profiles"), ("scenario_items", "scenarios"), ("qa_items", "social_qa")):
        if asset in step.inputs:
            step.view(view, asset, "items")
    prompts: dict[ItemKind, Prompt] = {kind: Prompt.load(name) for kind, name in PROMPTS.items()}
    counts = judge_items(
        step.con, step.engine, step.profile.roles["judge"], prompts, step.profile.thresholds.qc, step.write, step.log
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    step.measures["pass_rate"] = counts.kept / counts.rows_in if counts.rows_in else 0.0
    llm_measures(step, counts)
