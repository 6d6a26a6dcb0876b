"""What the funnel report is drawn from: manifests and tables of the published snapshots that the step has pinned."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from humanllm_assets.evaluation.funnel_rates import STAGES, Rate, rate_rows, rule_rates
from humanllm_assets.evaluation.funnel_report import Drop, FunnelInputs, ScoreCount, Stage
from humanllm_assets.evaluation.judge_report import JudgedKind
from humanllm_assets.evaluation.report_context import describe_context
from humanllm_assets.filtering.rule import reasons
from humanllm_assets.partitions import parse_pair
from humanllm_assets.quality.calibration import rates
from humanllm_assets.sql import literal, parquet, read_rows
from resources.item_kinds import METRICS
from resources.thresholds import STOPPED_BY

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

_STAGES = ("rules", "LLM filtering", "synthesis", "gates", "judge", "task data sets")  # in the order in which rows pass them


def funnel_inputs(step: Step) -> FunnelInputs:
    """Cells of Table A1, dropped rows by reason, the judge's scores, and what people say of them."""
    stages: list[Stage] = []
    drops: Counter[tuple[str, str, str]] = Counter()
    scores: list[ScoreCount] = []
    rates: list[Rate] = []
    for source in step.profile.sources:
        read, eligible = _counts(step, f"eligible_{source}", drops, "rules", source)
        entered, kept = _counts(step, f"filtered_{source}", drops, "LLM filtering", source)
        rates += [
            Rate(source, "filtering", read, kept),
            Rate(source, "rules", read, eligible),
            Rate(source, "labels", entered, kept),
        ]
        dropped = {reason: n for (stage, of, reason), n in drops.items() if (stage, of) == ("rules", source)}
        rates += rule_rates(source, read, dropped, reasons(source, step.profile.thresholds.rules_of(source)))
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
                    drops["gates" if reason.startswith(STOPPED_BY) else stage, source, f"{asset} {reason}"] += n
        found = step.con.execute(f"""
            select item_kind, metric, score, count(*) from (unpivot (select * from read_parquet('{verdicts}'))
                on {", ".join(METRICS)} into name metric value score)
            group by all order by all""").fetchall()
        scores += [ScoreCount(*row) for row in found]
    cells = {(s.source, s.column): s.value for s in stages}
    for source in step.profile.sources:
        for stage, columns in STAGES.items():
            if columns and stage != "filtering":
                before, after = (cells.get((source, column)) for column in columns)
                rates += [Rate(source, stage, before, after)] if before is not None and after is not None else []
    for pair, snapshot in step.inputs["task_datasets"].items():
        task, source = parse_pair(pair)
        for reason, n in snapshot.manifest.counts.dropped.items():
            drops["task data sets", source, f"{task} {reason}"] += n
    step.view("agreement", "human_check", "agreement")
    merged: Counter[tuple[str, str, int]] = Counter()
    for s in scores:
        merged[s.item_kind, s.metric, s.score] += s.items
    return FunnelInputs(
        stages,
        [Drop(*key, n) for key, n in sorted(drops.items(), key=lambda d: (_STAGES.index(d[0][0]), d[0]))],
        [ScoreCount(*key, n) for key, n in sorted(merged.items())],
        list(read_rows(step.con, "select * from agreement")),
        _judges(step),
        describe_context(step, ("rewriter", "labeller", "synthesizer", "judge")),
        rate_rows(rates, {source: step.profile.thresholds.bands_of(source) for source in step.profile.sources}),
    )


def _judges(step: Step) -> list[JudgedKind]:
    """The judge of each kind of item, with what it kept over all sources."""
    verdicts = parquet([s.path("scores") for s in step.inputs["qc_scores"].values()])
    found = []
    for key, snapshot in step.inputs["judge_approval"].items():
        (approval,) = read_rows(step.con, f"select * from {parquet([snapshot.path('approvals')])}")
        measured, kind = step.inputs["judge_calibration"][key], approval["item_kind"]
        figures = list(read_rows(step.con, f"select * from {parquet([measured.path('figures')])}"))
        scores = read_rows(step.con, f"select * from {parquet([measured.path('scores')])} order by score_id")
        of_kind = f"from {verdicts} where item_kind = {literal(kind)} and not starts_with(coalesce(dropped_by, ''), {literal(STOPPED_BY)})"
        judged, kept = step.con.execute(f"select count(*), count(*) filter (kept) {of_kind}").fetchall()[0]
        found.append(JudgedKind(kind, approval["says"], figures, judged, kept, rates(scores, step.profile.thresholds.qc)))
    return found


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
