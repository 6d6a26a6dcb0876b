"""Refreshing: run exactly what is stale, within a budget; from the command line, from the UI, or when a source file changes.

What belongs here: the verb, its budget, its hand-over to Dagster's daemon, the job and the sensor that call it. What does not: what
is stale (`lineage/plan.py`), what it costs (`lineage/forecast.py`), how runs are scheduled (`runs.py`). (No `from __future__ import
annotations` here: Dagster reads the annotations of an op.)
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from humanllm_assets.lineage.canonical import digest
from humanllm_assets.lineage.explain import Details
from humanllm_assets.lineage.forecast import Forecaster
from humanllm_assets.lineage.nodes import Graph, display
from humanllm_assets.lineage.plan import Item, Stale, no_longer_declared
from humanllm_assets.lineage.plan import plan as stale_partitions
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import Runtime
from humanllm_assets.plan_view import Plan, as_markdown, as_text, totals
from humanllm_assets.runs import Summary, materialize
from humanllm_assets.targets import TargetError, parse_targets
from resources.budget import TAG, Budget, Spent
from resources.engine_resource import duckdb_resource
from resources.errors import BUDGET_USED_UP
from resources.home import Home
from resources.profile import PROJECT_ROOT, Profile

REFRESH_TAG = "humanllm/refresh"
Echo = Callable[[str], None]


class RefreshError(ValueError):
    """A refresh that was not started; one sentence with the remedy."""


class BudgetError(RefreshError):
    """A budget that cannot be kept; nothing was asked."""


@dataclass(frozen=True)
class Limits:
    """What one refresh may spend; None = no limit. `max_cost` counts tokens by the profile's prices."""

    max_calls: int | None = None
    max_cost: float | None = None

    @property
    def limited(self) -> bool:
        return self.max_calls is not None or self.max_cost is not None


# ---- plan ------------------------------------------------------------------------------------------------------------


def _runtime(profile: Profile, graph: Graph, home: Home) -> Runtime:
    def no_engine() -> Any:
        raise RuntimeError("a plan asks no model")

    return Runtime(profile, graph, home, SnapshotStore(home.root), duckdb_resource(profile, home).get_connection, no_engine)


def make_plan(
    profile: Profile, graph: Graph, home: Home, names: Sequence[str] = (), targets: Sequence[Item] | None = None
) -> Plan:
    """What is stale among the targets and above them, why, and what it will ask of the models. Reads only.

    Args:
        names: targets as people write them.
        targets: the partitions that they mean, when the caller knows better.
    """
    wanted = graph.upstream_closure(parse_targets(graph, names) if targets is None else targets)
    runtime = _runtime(profile, graph, home)
    stale = stale_partitions(graph, runtime.store, wanted, Details(runtime.store, home.prompts))
    with Forecaster(runtime) as forecaster:
        items = tuple((s, forecaster.forecast(s)) for s in stale)
    assets = {a for a, _ in wanted}
    removed = tuple(i for i in no_longer_declared(graph, runtime.store) if not names or i[0] in assets)
    priced = bool(profile.engine.price_per_million_input or profile.engine.price_per_million_output)
    return Plan(profile.name, tuple(names), len(wanted), items, removed, priced)


# ---- budget ----------------------------------------------------------------------------------------------------------


def check_budget(plan: Plan, limits: Limits) -> None:
    """Refuse before anything is spent when what can run now already needs more than the budget.

    Raises:
        BudgetError: with the numbers and a part that fits, or because the profile has no prices to count by.
    """
    if limits.max_cost is not None and not plan.priced:
        raise BudgetError(
            "--max-cost counts tokens by the profile's prices, and it has none: set engine.price_per_million_input and "
            "engine.price_per_million_output, or limit the calls with --max-calls"
        )
    now = [(s, f) for s, f in plan.items if f and s.layer == 1]
    need = sum(f.certain for _, f in now)
    if limits.max_calls is not None and need > limits.max_calls:
        fits = [(f.certain, display(*s.item)) for s, f in now if 0 < f.certain <= limits.max_calls]
        part = f", or begin with a part: humanllm refresh '{min(fits)[1]}' needs {min(fits)[0]:,}" if fits else ""
        raise BudgetError(
            f"nothing was asked: what can run now needs {need:,} calls, the budget is {limits.max_calls:,}; "
            f"allow them with --max-calls {need}{part}"
        )
    cost = sum(f.cost or 0.0 for _, f in now)
    if limits.max_cost is not None and cost > limits.max_cost:
        raise BudgetError(
            f"nothing was asked: what can run now will cost about {cost:,.4f}, the budget is {limits.max_cost:,.4f}; "
            "allow it with --max-cost, or begin with a part: humanllm refresh 'asset[partition]'"
        )


def within(budget: Budget, profile: Profile, graph: Graph, home: Home) -> Callable[[Item], str | None]:
    """For `runs.drive`: holds a partition back whose exact forecast is more than what the budget has left."""

    def allow(item: Item) -> str | None:
        if not graph[item[0]].uses_llm:
            return None
        with Forecaster(_runtime(profile, graph, home)) as forecaster:
            forecast = forecaster.forecast(Stale(*item, reasons=(), certain=True))
        left = budget.spent()
        if forecast is None or not forecast.calls:
            return None
        if left.calls_left is not None and forecast.certain > left.calls_left:
            return f"it needs {forecast.certain:,} calls and the budget has {left.calls_left:,} left"
        if left.cost_left is not None and (forecast.cost or 0.0) > left.cost_left:
            return f"it will cost about {forecast.cost:,.4f} and the budget has {left.cost_left:,.4f} left"
        return None

    return allow


def settle(summary: Summary) -> Summary:
    """A partition that the engine stopped because of the budget did not fail: it is held."""
    for name in [n for n, message in summary.failed.items() if BUDGET_USED_UP in message]:
        del summary.failed[name]
        summary.held[name] = f"{BUDGET_USED_UP} in the middle of it; its answers are kept"
    return summary


def report(summary: Summary, spent: Spent | None, again: str) -> str:
    """What a refresh did, what is left, and the command that goes on."""
    lines = [f"done: {len(summary.computed)} computed, {len(summary.fresh)} already up to date"]
    if spent:
        lines.append(f"spent: {spent}")
    left = [*summary.failed, *summary.held, *summary.skipped]
    if left:
        lines.append(
            f"left: {len(summary.failed)} failed, {len(summary.held)} held by the budget, {len(summary.skipped)} behind them"
        )
    lines += [f"  failed: {message if name in message else f'{name}: {message}'}" for name, message in summary.failed.items()]
    lines += [f"  held: {name}: {why}" for name, why in summary.held.items()]
    if left:
        lines.append(f"to go on: {again}")
    return "\n".join(lines)


# ---- the verb --------------------------------------------------------------------------------------------------------


def refresh(profile: Profile, graph: Graph, home: Home, names: Sequence[str], limits: Limits, *, echo: Echo) -> int:
    """Run the plan in this command's worker processes; returns 0, 1 when a partition failed, 3 when the budget ended it.

    Raises:
        BudgetError: nothing was asked, because the budget cannot hold even what can run now.
    """
    budget = Budget.create(home.root, limits.max_calls, limits.max_cost) if limits.limited else None
    summary = settle(
        materialize(
            profile,
            graph,
            home,
            parse_targets(graph, names),
            echo=echo,
            allow=within(budget, profile, graph, home) if budget else None,
            tags={REFRESH_TAG: "true", **({TAG: budget.id} if budget else {})},
        )
    )
    options = [f"--max-calls {limits.max_calls}"] if limits.max_calls is not None else []
    options += [f"--max-cost {limits.max_cost}"] if limits.max_cost is not None else []
    again = " ".join(["humanllm refresh", *(f"'{n}'" for n in names), *options])
    echo(report(summary, budget.spent() if budget else None, again))
    return 1 if summary.failed else 3 if summary.held else 0


# ---- hand-over to the daemon -----------------------------------------------------------------------------------------


def hand_over(plan: Plan, graph: Graph, home: Home, limits: Limits) -> str:
    """Launch the plan as a Dagster backfill over exactly its partitions; returns the backfill's id.

    Dagster's public way is its GraphQL API, here without a web server. The daemon runs the partitions, parents first.

    Raises:
        RefreshError: Dagster refused; with its message.
    """
    tags = {REFRESH_TAG: "true"}
    if limits.limited:
        tags[TAG] = Budget.create(home.root, limits.max_calls, limits.max_cost).id
    by_asset: dict[str, list[str]] = {}
    for asset, partition in plan.stale:
        by_asset.setdefault(asset, []).append(partition)
    selection = []
    for asset, partitions in by_asset.items():
        one: dict[str, Any] = {"assetKey": {"path": [asset]}}
        if graph[asset].partitioned:
            one["partitions"] = {"ranges": [{"start": p, "end": p} for p in partitions]}
        selection.append(one)
    params = {
        "partitionsByAssets": selection,
        "tags": [{"key": k, "value": v} for k, v in tags.items()],
        "title": " ".join(["refresh", *plan.names])[:100],
    }
    query = (
        f"mutation {{ launchPartitionBackfill(backfillParams: {_literal(params)}) {{ __typename "
        "... on LaunchBackfillSuccess { backfillId } ... on Error { message } } }"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from dagster_graphql.cli import main; main()", "-w", "workspace.yaml", "--file", "-"],
        input=query,
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        env={**os.environ, "DAGSTER_HOME": str(home.dagster)},
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    result = (json.loads(answers[-1]).get("data") or {}).get("launchPartitionBackfill") if answers else None
    if not result or "backfillId" not in result:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        message = (result or {}).get("message") or last[0]
        raise RefreshError(f"Dagster did not take the backfill: {message}; refresh without --daemon, or see: humanllm ui")
    return result["backfillId"]


def _literal(value: Any) -> str:
    """Plain data as a GraphQL literal, whose keys are bare; a query of any length goes through standard input."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# ---- the job and the sensor of the UI --------------------------------------------------------------------------------


class RefreshConfig(dg.Config):
    """What a person chooses in the launchpad."""

    targets: list[str] = Field(default_factory=list)
    dry_run: bool = False
    max_calls: int | None = None
    max_cost: float | None = None


def refresh_job(profile: Profile, graph: Graph, home: Home) -> dg.JobDefinition:
    """The job `refresh`: shows the plan, then hands it to the daemon as a backfill."""

    @dg.op(
        description="Plan what is stale among the targets (none: everything) and above them, and launch exactly that as a backfill"
    )
    def submit_refresh(context: dg.OpExecutionContext, config: RefreshConfig) -> None:
        try:
            plan = make_plan(profile, graph, home, config.targets)
            limits = Limits(config.max_calls, config.max_cost)
            context.log.info(as_text(plan))
            metadata: dict[str, Any] = {
                "plan": dg.MetadataValue.md(as_markdown(plan)),
                "partitions": len(plan.items),
                "llm_calls": totals(plan.forecasts())["calls"],
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
        description="Bring targets up to date: plans, and runs only their stale partitions and those above them.",
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
        state = digest({display(n.name, p): dict(n.external(p)) for n, p in sources})
        before = context.cursor
        context.update_cursor(state)
        if before is None:
            return dg.SkipReason(f"watching {len(sources)} slices from now on; what is stale already is in: humanllm plan")
        if before == state:
            return dg.SkipReason("no source file changed")
        return dg.RunRequest(tags={REFRESH_TAG: "source files changed"})

    return source_files_changed
