"""The job and the sensor of the UI that refresh the graph.

Concepts: https://docs.dagster.io/guides/build/jobs and https://docs.dagster.io/guides/automate/sensors (No `from __future__ import
annotations` here: Dagster reads the annotations of an op.)
"""

from typing import Any

import dagster as dg
from pydantic import Field

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.planning.handover import REFRESH_TAG, hand_over
from humanllm_assets.planning.refresh_plan import Limits, RefreshError, check_budget, make_plan, sum_forecasts
from humanllm_assets.planning.targets import TargetError
from humanllm_assets.planning.view import as_markdown, as_text
from resources.canonical import digest
from resources.home import Home
from resources.profile import Profile


class RefreshConfig(dg.Config):
    """What a person chooses in the launchpad."""

    targets: list[str] = Field(default_factory=list)
    dry_run: bool = False
    max_calls: int | None = None
    max_cost: float | None = None


def refresh_job(profile: Profile, graph: Graph, home: Home) -> dg.JobDefinition:
    """The job `refresh`: shows the plan, then hands it to the daemon as a backfill."""

    @dg.op(
        description="Plan what is stale among the targets (none: everything) and upstream of them, and launch exactly that as a backfill"
    )
    def submit_refresh(context: dg.OpExecutionContext, config: RefreshConfig) -> None:
        try:
            plan = make_plan(profile, graph, home, config.targets)
            limits = Limits(config.max_calls, config.max_cost)
            context.log.info(as_text(plan))
            metadata: dict[str, Any] = {
                "plan": dg.MetadataValue.md(as_markdown(plan)),
                "partitions": len(plan.items),
                "llm_calls": sum_forecasts(plan.forecasts())["calls"],
            }
            check_budget(plan, limits)
            if plan.items and not config.dry_run:
                backfill = hand_over(plan, graph, home, limits)
                metadata["backfill"] = dg.MetadataValue.text(backfill)
                context.log.info(f"backfill {backfill} runs it: Runs, then Backfills")
        except (TargetError, RefreshError) as e:
            raise dg.Failure(str(e), allow_retries=False) from e
        context.add_output_metadata(metadata)

    @dg.job(
        name="refresh",
        executor_def=dg.in_process_executor,
        description="Bring targets up to date: plans, and runs only their stale partitions and those upstream.",
    )
    def job() -> None:
        submit_refresh()

    return job


def source_sensor(graph: Graph, job: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor `source_files_changed`: requests the job `refresh` whenever the content of a source's files has changed."""
    sources = [(n, p) for n in graph.nodes.values() if n.group == "sources" for p in n.partitions]

    @dg.sensor(
        name="source_files_changed",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Requests a refresh of everything when the files of a source change, come or go. Off until switched on.",
    )
    def source_files_changed(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.RunRequest:
        state = digest({str(Item(n.name, p)): dict(n.external(p)) for n, p in sources})
        before = context.cursor
        context.update_cursor(state)
        if before is None:
            return dg.SkipReason(f"watching {len(sources)} slices from now on; what is stale already is in: humanllm plan")
        if before == state:
            return dg.SkipReason("no source file changed")
        return dg.RunRequest(tags={REFRESH_TAG: "source files changed"})

    return source_files_changed
