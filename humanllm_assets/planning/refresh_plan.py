"""What a refresh would run, what it will cost, and whether that fits a budget.

What belongs here: the plan with its forecasts, limits, and what a budget allows. What does not: what is stale
(`lineage/staleness/`), what one partition costs (`forecast.py`), how partitions are scheduled (`drive.py`), how a plan is shown
(`view.py`)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph, Runtime
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.explain import Details
from humanllm_assets.lineage.staleness.plan import Stale, find_undeclared
from humanllm_assets.lineage.staleness.plan import plan as stale_partitions
from humanllm_assets.planning.drive import Summary
from humanllm_assets.planning.forecast import Forecast, Forecaster
from humanllm_assets.planning.targets import parse_targets
from resources.engine_resource import duckdb_resource
from resources.errors import BUDGET_USED_UP, Explained
from resources.home import Home
from resources.llm.budget import Budget
from resources.profile import Profile


@dataclass(frozen=True)
class Plan:
    """What would run: every stale partition with its forecast (None: asks no model), parents first.

    `names`: targets as they were written; `looked_at`: partitions that were compared; `removed`: published ones that the profile
    no longer has; `priced`: whether the profile has prices.
    """

    profile: str
    names: tuple[str, ...]
    looked_at: int
    items: tuple[tuple[Stale, Forecast | None], ...]
    removed: tuple[Item, ...]
    priced: bool

    @property
    def stale(self) -> list[Item]:
        return [s.item for s, _ in self.items]

    def forecasts(self, layer: int | None = None) -> list[Forecast]:
        """Forecasts of the partitions that ask a model; with `layer`, of that layer alone (1 can run now)."""
        return [f for s, f in self.items if f and layer in (None, s.layer)]

    def command(self, *options: str) -> str:
        """The command that runs the plan, for people to type."""
        return shlex.join(["humanllm", "refresh", *self.names, *options])


def sum_forecasts(forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """Sums; `exact` is false as soon as one forecast is not, `unknown` counts those without any record."""

    def total(name: str) -> Any:
        return sum(getattr(f, name) or 0 for f in forecasts)

    return {
        "calls": total("calls"),
        "certain": total("certain"),
        "exact": all(f.exact for f in forecasts),
        "journal_hits": total("journal_hits"),
        "input_tokens": total("input_tokens"),
        "output_tokens": total("output_tokens"),
        "seconds": round(total("seconds"), 3),
        "cost": total("cost"),
        "unknown": sum(f.calls is None for f in forecasts),
    }


class RefreshError(Explained):
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


def open_runtime(profile: Profile, graph: Graph, home: Home) -> Runtime:
    """What steps are looked at with: no model can be asked."""

    def no_engine() -> Any:
        raise RuntimeError("a plan asks no model")

    return Runtime(profile, graph, home, SnapshotStore(home.root), duckdb_resource(profile, home).get_connection, no_engine)


def make_plan(profile: Profile, graph: Graph, home: Home, names: Sequence[str] = ()) -> Plan:
    """What is stale among the targets and upstream of them, why, and what it will ask of the models. Reads only.

    Args:
        names: targets as people write them; none: the whole graph.

    Raises:
        TargetError: a name means nothing in this graph.
    """
    wanted = graph.upstream_closure(parse_targets(graph, names))
    runtime = open_runtime(profile, graph, home)
    stale = stale_partitions(graph, runtime.store, wanted, Details(runtime.store, home.prompts))
    with Forecaster(runtime) as forecaster:
        items = tuple((s, forecaster.forecast(s)) for s in stale)
    assets = {i.asset for i in wanted}
    removed = tuple(i for i in find_undeclared(graph, runtime.store) if not names or i.asset in assets)
    priced = any(profile.engine.cost(1, 1, model) for model in [None, *profile.models.values()])
    return Plan(profile.name, tuple(names), len(wanted), items, removed, priced)


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
        fits = [(f.certain, str(s.item)) for s, f in now if 0 < f.certain <= limits.max_calls]
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


def hold_within(budget: Budget, profile: Profile, graph: Graph, home: Home) -> Callable[[Item], str | None]:
    """For `drive`: holds a partition back whose exact forecast is more than what the budget has left."""

    def allow(item: Item) -> str | None:
        if not graph[item.asset].uses_llm:
            return None
        with Forecaster(open_runtime(profile, graph, home)) as forecaster:
            forecast = forecaster.forecast(Stale(item, reasons=(), certain=True))
        left = budget.spent()
        if forecast is None or not forecast.calls:
            return None
        if left.calls_left is not None and forecast.certain > left.calls_left:
            return f"it needs {forecast.certain:,} calls and the budget has {left.calls_left:,} left"
        if left.cost_left is not None and (forecast.cost or 0.0) > left.cost_left:
            return f"it will cost about {forecast.cost:,.4f} and the budget has {left.cost_left:,.4f} left"
        return None

    return allow


def count_as_held(summary: Summary) -> Summary:
    """Count partitions that the engine stopped because of the budget as held back, not as failed."""
    for name in [n for n, message in summary.failed.items() if BUDGET_USED_UP in message]:
        del summary.failed[name]
        summary.held[name] = f"{BUDGET_USED_UP} in the middle of it; its answers are kept"
    return summary
