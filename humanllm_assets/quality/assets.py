"""judge_calibration and judge_approval: how good a judge is; qc_scores: its verdict on every synthesized item (Q1-Q4);
human_check: what people say of some of them (Q5).

A judge that fails its contract is not published, so that nothing gives its approval and qc_scores has nothing to read. The approval
is an asset of its own because qc_scores reads nothing else of the calibration: new figures of a judge that is still good enough leave
every score fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import Row, Tally, llm_measures
from humanllm_assets.contracts.suite import Contract, Lists
from humanllm_assets.lineage.nodes import Dep, Node, every, same
from humanllm_assets.partitions import Partitions
from humanllm_assets.quality.agreement import measure_agreement
from humanllm_assets.quality.calibration import CALIBRATED, describe_judge, measure_judge
from humanllm_assets.quality.copies import judge_copies, left_out
from humanllm_assets.quality.gates import check_items, keep_passed
from humanllm_assets.quality.human_sheet import SheetError, match_scores, read_sheets
from humanllm_assets.quality.item_texts import ITEM_ASSETS
from humanllm_assets.quality.judge import judge_items
from humanllm_assets.quality.judged_items import find_judged, verdicts
from humanllm_assets.quality.keeping import KeptShares, threshold_name
from humanllm_assets.sql import read_rows
from humanllm_assets.tables import (
    AGREEMENT,
    APPROVALS,
    CALIBRATION_FIGURES,
    CALIBRATION_SCORES,
    FAILURES,
    GATE_MEASURES,
    HUMAN_SCORES,
    SCORES,
)
from resources.files import FileHashes
from resources.item_kinds import ITEM_KINDS, METRICS, IncompleteKind, ItemKind, list_kinds
from resources.profile import ProfileError, resolve_path
from resources.prompting.prompts import Prompt, PromptError
from resources.thresholds import GATES, Gates

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile

JUDGE = "judge"
"""The role that scores our own items. The judge of contestants' texts (`application_judge`) has no item kinds."""
_ASSETS = {"scenario": "scenarios", "qa": "social_qa"}  # of the kinds about single records


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage."""
    check_kinds(ITEM_KINDS)
    parts = Partitions(profile)
    return [
        _declare_calibration(profile, parts),
        _declare_approval(profile, parts),
        _declare_qc_scores(profile, parts),
        _declare_human_check(profile, home, parts),
    ]


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


def qc_lists(kinds: Sequence[ItemKind], gates: Gates) -> Lists:
    """The lists that the contract of qc_scores reads: kinds, metrics with their thresholds, which apply to which (Q2), and gates."""
    return {
        "kinds": [{"kind": k.name} for k in kinds],
        "metrics": [{"metric": m, "threshold": threshold_name(m)} for m in METRICS],
        "applies": [{"kind": k.name, "metric": m} for k in kinds for m in k.metrics],
        "measured": [{"gate": g} for g in GATES if not g.startswith("copied_")],  # those two are of one kind each
        **gates.lists(GATES),
    }


# ---- judge_calibration -----------------------------------------------------------------------------------------------


def judged_sources(profile: Profile) -> dict[str, tuple[str, ...]]:
    """Sources whose items calibrate a judge, by partition `<role>-<item kind>`; a kind that no source of the profile has is left out.

    These are the profile's `calibration.sources` that have such items, else the first source that has.
    """
    found = {}
    for kind in ITEM_KINDS:
        have = _sources_of(kind, Partitions(profile))
        wanted = tuple(s for s in have if s in profile.thresholds.calibration.sources)
        if have:
            found[f"{JUDGE}-{kind.name}"] = wanted or have[:1]
    return found


def _sources_of(kind: ItemKind, parts: Partitions) -> tuple[str, ...]:
    return parts.profile_sources if kind.about_user else parts.scenario_sources


def _asset_of(kind: ItemKind) -> str:
    return "user_profiles" if kind.about_user else _ASSETS[kind.name]


def _kind_of(partition: str) -> ItemKind:
    return next(kind for kind in ITEM_KINDS if partition == f"{JUDGE}-{kind.name}")


def _declare_calibration(profile: Profile, parts: Partitions) -> Node:
    sources = judged_sources(profile)
    own = {
        key: sources[key] for key in sources if profile.thresholds.calibration.items
    }  # a judge that is not measured reads nothing
    assets = dict.fromkeys(_asset_of(_kind_of(key)) for key in own)
    items = [Dep(a, {key: s for key, s in own.items() if _asset_of(_kind_of(key)) == a}) for a in assets]
    slices = {s: {key: parts.slices(s) for key, used in own.items() if s in used} for s in parts.profile_sources}
    records = [Dep(f"filtered_{s}", mapping) for s, mapping in slices.items() if mapping]
    return Node(
        name="judge_calibration",
        group="quality",
        description="How good the judge of each item kind is, on copies of our own items that plain code damaged: how surely it tells them "
        "from the originals, whether it says the same twice, and what order and length do to it.",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"scores": CALIBRATION_SCORES, "figures": CALIBRATION_FIGURES, "failures": FAILURES},
        partitions=tuple(sources),
        deps=(*items, *records),
        identity=lambda partition: {
            "judge": llm_identity(profile, JUDGE, [_kind_of(partition).judge_prompt]),
            "metrics": _kind_of(partition).metrics,
            "calibration": profile.thresholds.calibration.model_dump(include={"items", "copies"}),
            "reason_first": profile.thresholds.qc.reason_first,
            "gates": _gate_identity(profile, _kinds_of(_asset_of(_kind_of(partition)))),
        },
        compute=_calibrate,
        contract=Contract.load("judge_calibration", profile.thresholds),
        uses_llm=True,
    )


def _kinds_of(asset: str) -> list[ItemKind]:
    return [kind for kind in ITEM_KINDS if _asset_of(kind) == asset]


def _writing_prompts(kinds: Sequence[ItemKind]) -> dict[str, Prompt]:
    """What wrote the items, by which an echo is told."""
    return {kind.name: Prompt.load(kind.prompt) for kind in kinds}


def _gate_identity(profile: Profile, kinds: Sequence[ItemKind]) -> dict[str, Any]:
    """What decides which items are stopped before they are judged."""
    texts = {k: {**p.identity, "schema": None} for k, p in _writing_prompts(kinds).items()}  # an echo is one of the text
    return profile.thresholds.gates.only(GATES) | {"prompts": texts}


def _calibrate(step: Step) -> None:
    kind, profile = _kind_of(step.partition), step.profile
    used = [asset for asset in step.inputs if asset.startswith("filtered_")]
    table = next(view for view, asset in ITEM_ASSETS.items() if asset == _asset_of(kind))
    scores: list[Row] = []

    def write(table: str, rows: list[Row]) -> None:
        scores.extend(rows if table == "scores" else ())
        step.write(table, rows)

    counts = Tally()
    if used:
        step.records("records", used)
        step.view(table, _asset_of(kind), "items")
        check_items(step.con, _writing_prompts(_kinds_of(_asset_of(kind))), profile.thresholds.gates, lambda *_: None)
        keep_passed(step.con, table, "written")
        prompt, thresholds = Prompt.load(kind.judge_prompt), profile.thresholds
        counts = judge_copies(
            step.con, step.engine, profile.roles[JUDGE], kind, prompt, thresholds.calibration, thresholds.qc, write, step.log
        )
    figures = measure_judge(scores, kind.metrics)
    step.write("figures", figures)
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    step.measures["judge"] = describe_judge(figures, profile.thresholds.calibration)
    step.measures["damage left out"] = ", ".join(left_out(kind)) or None
    llm_measures(step, counts)


# ---- judge_approval --------------------------------------------------------------------------------------------------


def _declare_approval(profile: Profile, parts: Partitions) -> Node:
    keys = tuple(judged_sources(profile))
    return Node(
        name="judge_approval",
        group="quality",
        description="Whether the judge of each item kind is calibrated: what qc_scores reads of the calibration before it may score.",
        kinds=frozenset({"parquet"}),
        tables={"approvals": APPROVALS},
        partitions=keys,
        deps=(Dep("judge_calibration", same(keys)),),
        identity=lambda _: {
            "calibration": profile.thresholds.calibration.model_dump(include={"min_auc", "min_repeat_agreement"}),
        },
        compute=_approve,
    )


def _approve(step: Step) -> None:
    step.view("figures", "judge_calibration", "figures")
    says = describe_judge(read_rows(step.con, "select * from figures"), step.profile.thresholds.calibration)
    kind = _kind_of(step.partition).name
    step.write("approvals", [{"role": JUDGE, "item_kind": kind, "calibrated": says == CALIBRATED, "says": says}])
    step.count(entered=1, kept=1, dropped={})
    step.measures["judge"] = says


# ---- qc_scores -------------------------------------------------------------------------------------------------------


def _declare_qc_scores(profile: Profile, parts: Partitions) -> Node:
    sources = parts.profile_sources
    return Node(
        name="qc_scores",
        group="quality",
        description="Scores from 1 to 10 by a judge model for every synthesized item (Q1, Q2), and which of them stay (Q3: overall and "
        f"every other applicable metric above their thresholds). What plain code finds faulty (`gates`) is not judged. Items: {list_kinds(ITEM_KINDS)}.",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"scores": SCORES, "gates": GATE_MEASURES, "failures": FAILURES},
        partitions=sources,
        deps=(
            Dep("judge_approval", _approvals_of(parts), asks=False),
            parts.by_source("user_profiles", sources),
            parts.by_source("scenarios", parts.scenario_sources),
            parts.by_source("social_qa", parts.scenario_sources),
            *parts.slices_of("filtered"),
        ),
        identity=lambda partition: {
            "judge": llm_identity(profile, "judge", [kind.judge_prompt for kind in ITEM_KINDS]),
            "qc": profile.thresholds.qc.model_dump(include={"overall_above", "metric_above", "reason_first"})
            | {"kept_bands": profile.thresholds.qc.kept_bands.get(partition, {})},
            "gates": _gate_identity(profile, ITEM_KINDS),
        },
        compute=_qc_scores,
        contract=Contract.load("qc_scores", profile.thresholds, lists=qc_lists(ITEM_KINDS, profile.thresholds.gates)),
        uses_llm=True,
    )


def _approvals_of(parts: Partitions) -> dict[str, tuple[str, ...]]:
    return {s: tuple(f"{JUDGE}-{k.name}" for k in ITEM_KINDS if s in _sources_of(k, parts)) for s in parts.profile_sources}


def _qc_scores(step: Step) -> None:
    shares = KeptShares()

    def write(table: str, rows: list[Row]) -> None:
        if table == "scores":
            shares.add(rows)
        step.write(table, rows)

    step.records("records", f"filtered_{step.partition}")
    views = [view for view, asset in ITEM_ASSETS.items() if asset in step.inputs]
    for view in views:
        step.view(view, ITEM_ASSETS[view], "items")
    stopped = check_items(step.con, _writing_prompts(ITEM_KINDS), step.profile.thresholds.gates, write)
    for view in views:
        keep_passed(step.con, view, view)
    prompts = {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}
    counts = judge_items(step.con, step.engine, step.profile.roles["judge"], prompts, step.profile.thresholds.qc, write, step.log)
    entered = counts.rows_in + stopped.total()
    step.count(entered=entered, kept=counts.kept, dropped={**counts.dropped, **stopped})
    step.measures["stopped_rate"] = stopped.total() / entered if entered else 0.0
    step.measures["pass_rate"] = counts.kept / entered if entered else 0.0
    step.measures |= shares.measures(step.profile.thresholds.qc.kept_bands.get(step.partition, {}))
    step.view("approvals", "judge_approval", "approvals")
    for row in read_rows(step.con, "select * from approvals order by item_kind"):
        step.measures[f"judge of {row['item_kind']}"] = row["says"]
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
