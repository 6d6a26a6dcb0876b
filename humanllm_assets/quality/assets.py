"""qc_scores: the judge's verdict on every synthesized item (Q1-Q4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract, Lists
from humanllm_assets.lineage.nodes import Node
from humanllm_assets.partitions import Partitions
from humanllm_assets.quality.judge import judge_items, threshold_name
from humanllm_assets.tables import FAILURES, SCORES
from resources.item_kinds import ITEM_KINDS, METRICS, IncompleteKind, ItemKind, list_kinds
from resources.prompting.prompts import Prompt, PromptError

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage."""
    check_kinds(ITEM_KINDS)
    return [_declare_qc_scores(profile, Partitions(profile))]


def check_kinds(kinds: Sequence[ItemKind]) -> None:
    """See that every kind has what judges it.

    Raises:
        IncompleteKind: a kind lacks metrics or a usable prompt, or the prompt asks for other metrics.
    """
    for kind in kinds:
        named, file = f"the item kind `{kind.name}` ({kind.number})", f"prompts/{kind.judge_prompt}.md"
        if "overall" not in kind.metrics or not set(kind.metrics) <= set(METRICS):
            raise IncompleteKind(
                f"{named} has the metrics ({', '.join(kind.metrics)}); give it `overall` and others of {', '.join(METRICS)} in "
                "resources/item_kinds.py"
            )
        try:
            schema = Prompt.load(kind.judge_prompt).schema
        except PromptError as e:
            raise IncompleteKind(f"{named} has no usable prompt that judges it, {file}: {e}") from e
        if schema is None or tuple(schema.model_fields) != kind.metrics:
            raise IncompleteKind(
                f"{named} is judged by {file}, which asks for other metrics; let it name the schema "
                f"resources.item_kinds:{kind.name.upper()}.scores"
            )


def qc_lists(kinds: Sequence[ItemKind]) -> Lists:
    """The lists that the contract of qc_scores reads: kinds, metrics with their thresholds, and which apply to which (Q2)."""
    return {
        "kinds": [{"kind": k.name} for k in kinds],
        "metrics": [{"metric": m, "threshold": threshold_name(m)} for m in METRICS],
        "applies": [{"kind": k.name, "metric": m} for k in kinds for m in k.metrics],
    }


def _declare_qc_scores(profile: Profile, parts: Partitions) -> Node:
    sources = parts.profile_sources
    return Node(
        name="qc_scores",
        group="quality",
        description="Scores from 1 to 10 by a judge model for every synthesized item (Q1, Q2), and which of them stay (Q3: overall and "
        f"every other applicable metric above their thresholds). Items: {list_kinds(ITEM_KINDS)}.",
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
            "judge": llm_identity(profile, "judge", [kind.judge_prompt for kind in ITEM_KINDS]),
            "qc": profile.thresholds.qc.model_dump(include={"overall_above", "metric_above"}),
        },
        compute=_qc_scores,
        contract=Contract.load("qc_scores", profile.thresholds, lists=qc_lists(ITEM_KINDS)),
        uses_llm=True,
    )


def _qc_scores(step: Step) -> None:
    step.records("records", f"filtered_{step.partition}")
    for view, asset in (("profile_items", "user_profiles"), ("scenario_items", "scenarios"), ("qa_items", "social_qa")):
        if asset in step.inputs:
            step.view(view, asset, "items")
    prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
    counts = judge_items(
        step.con, step.engine, step.profile.roles["judge"], prompts, step.profile.thresholds.qc, step.write, step.log
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    step.measures["pass_rate"] = counts.kept / counts.rows_in if counts.rows_in else 0.0
    llm_measures(step, counts)
