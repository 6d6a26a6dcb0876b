"""qc_scores: the judge's verdict on every synthesized item (Q1-Q4). human_check: what people say of some of them (Q5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract, Lists
from humanllm_assets.lineage.nodes import Dep, Node, every
from humanllm_assets.partitions import Partitions
from humanllm_assets.quality.agreement import measure_agreement
from humanllm_assets.quality.human_sheet import SheetError, match_scores, read_sheets
from humanllm_assets.quality.item_texts import ITEM_ASSETS
from humanllm_assets.quality.judge import judge_items, threshold_name
from humanllm_assets.quality.judged_items import find_judged, verdicts
from humanllm_assets.tables import AGREEMENT, FAILURES, HUMAN_SCORES, SCORES
from resources.files import FileHashes
from resources.item_kinds import ITEM_KINDS, METRICS, IncompleteKind, ItemKind, list_kinds
from resources.profile import ProfileError, resolve_path
from resources.prompting.prompts import Prompt, PromptError

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage."""
    check_kinds(ITEM_KINDS)
    parts = Partitions(profile)
    return [_declare_qc_scores(profile, parts), _declare_human_check(profile, home, parts)]


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
    for view, asset in ITEM_ASSETS.items():
        if asset in step.inputs:
            step.view(view, asset, "items")
    prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
    counts = judge_items(
        step.con, step.engine, step.profile.roles["judge"], prompts, step.profile.thresholds.qc, step.write, step.log
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    step.measures["pass_rate"] = counts.kept / counts.rows_in if counts.rows_in else 0.0
    llm_measures(step, counts)


# ---- human_check -----------------------------------------------------------------------------------------------------


def _declare_human_check(profile: Profile, home: Home, parts: Partitions) -> Node:
    sources = {asset: parts.scenario_sources for asset in ("scenarios", "social_qa")}
    parents = ("qc_scores", *ITEM_ASSETS.values())
    return Node(
        name="human_check",
        group="quality",
        description="What people say of a sample of judged items (Q5): their scores beside the judge's, and how far they agree with each "
        "other (Krippendorff's alpha) and with the judge. Empty until the profile's `human_check.sheets` names a folder with scored "
        "sheets; `humanllm human-sample` makes the sheets.",
        kinds=frozenset({"parquet"}),
        tables={"scores": HUMAN_SCORES, "agreement": AGREEMENT},
        deps=tuple(Dep(a, every(("",), sources.get(a, parts.profile_sources))) for a in parents),
        identity=lambda _: {"qc": profile.thresholds.qc.model_dump(include={"overall_above", "metric_above"})},
        external=lambda _: _sheet_hashes(profile, home),
        compute=_human_check,
    )


def find_sheets(profile: Profile) -> list[Path]:
    """The scored sheets of the profile's folder, sorted by name; none where the profile names no folder.

    Raises:
        SheetError: the folder is not there.
    """
    if profile.human_check is None:
        return []
    folder = resolve_path(profile.human_check.sheets)
    if not folder.is_dir():
        raise SheetError(
            f"the folder of scored sheets {folder} is not there; make it, or correct `human_check.sheets` in the profile"
        )
    return sorted(f for f in folder.iterdir() if f.suffix.lower() == ".csv" and not f.name.startswith("."))


def _sheet_hashes(profile: Profile, home: Home) -> dict[str, Any]:
    """Content hashes of the scored sheets; null where the folder is not there."""
    try:
        sheets = find_sheets(profile)
    except (ProfileError, SheetError):
        return {"sheets": None}  # planning goes on; the step itself stops with the sentence
    return {"sheets": dict(zip([s.name for s in sheets], FileHashes(home.root).sha256(sheets), strict=True))} if sheets else {}


def _human_check(step: Step) -> None:
    sheets = find_sheets(step.profile)
    if not sheets:
        step.count(entered=0, kept=0, dropped={})
        step.measures |= {"sheets": 0, "note": "no human check yet: humanllm human-sample"}
        step.log("no human check yet: humanllm human-sample")
        return
    inputs = {asset: snapshots for asset, snapshots in step.inputs.items() if snapshots}
    find_judged(
        step.con, {a: {p: s.path("scores" if a == "qc_scores" else "items") for p, s in ps.items()} for a, ps in inputs.items()}
    )
    read = read_sheets(sheets, step.profile.name)
    matched = match_scores(read, verdicts(step.con), {p: s.data_version for p, s in inputs["qc_scores"].items()})
    step.write("scores", matched.rows)
    step.write("agreement", measure_agreement(matched.rows, step.profile.thresholds.qc))
    dropped = {"outdated": matched.outdated, "not_scored": sum(matched.missing.values())}
    step.count(entered=len(matched.rows) + sum(dropped.values()), kept=len(matched.rows), dropped=dropped)
    step.measures |= {
        "sheets": len(sheets),
        "annotators": len(read.annotators),
        "items": len({r["item_id"] for r in matched.rows}),
    }
