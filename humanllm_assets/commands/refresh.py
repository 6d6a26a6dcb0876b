"""`humanllm refresh`: run exactly what is stale, within a budget, here or in Dagster's daemon.

What belongs here: the verb and what it reports. What does not: the plan and its budget (`planning/`), running one partition
(`materialize.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from humanllm_assets.commands.materialize import materialize
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.planning.drive import Summary
from humanllm_assets.planning.handover import REFRESH_TAG, hand_over
from humanllm_assets.planning.refresh_plan import Limits, check_budget, count_as_held, hold_within, make_plan
from humanllm_assets.planning.targets import parse_targets
from humanllm_assets.planning.view import as_text
from resources.home import Home
from resources.llm.budget import TAG, Budget, Spent
from resources.profile import Profile

Echo = Callable[[str], None]


def report(summary: Summary, spent: Spent | None, again: str) -> str:
    """What a refresh did, what is left, and the command that continues it."""
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


def refresh(profile: Profile, graph: Graph, home: Home, names: Sequence[str], limits: Limits, *, echo: Echo) -> int:
    """Run the plan in this command's worker processes; returns 0, 1 when a partition failed, 3 when the budget ended it.

    Raises:
        BudgetError: nothing was asked, because the budget cannot hold even what can run now.
    """
    budget = Budget.create(home.root, limits.max_calls, limits.max_cost) if limits.limited else None
    summary = count_as_held(
        materialize(
            profile,
            graph,
            home,
            parse_targets(graph, names),
            echo=echo,
            allow=hold_within(budget, profile, graph, home) if budget else None,
            tags={REFRESH_TAG: "true", **({TAG: budget.id} if budget else {})},
        )
    )
    options = [f"--max-calls {limits.max_calls}"] if limits.max_calls is not None else []
    options += [f"--max-cost {limits.max_cost}"] if limits.max_cost is not None else []
    again = " ".join(["humanllm refresh", *(f"'{n}'" for n in names), *options])
    echo(report(summary, budget.spent() if budget else None, again))
    return 1 if summary.failed else 3 if summary.held else 0


def refresh_stale(
    profile: Profile, home: Home, names: Sequence[str], limits: Limits, *, dry_run: bool, daemon: bool, echo: Echo
) -> int:
    """Show the plan and run it; returns the exit code of `refresh`.

    Args:
        dry_run: show the plan and check the budget only.
        daemon: hand the plan to Dagster's daemon instead of running it here.

    Raises:
        TargetError: a name means nothing in this graph.
        RefreshError: the budget cannot hold what can run now, or Dagster did not take the plan.
    """
    graph = build_graph(profile, home.prepare(profile))
    plan = make_plan(profile, graph, home, names)
    echo(as_text(plan))
    check_budget(plan, limits)
    if dry_run or not plan.items:
        return 0
    if not daemon:
        return refresh(profile, graph, home, names, limits, echo=echo)
    backfill = hand_over(plan, graph, home, limits)
    echo(f"Dagster has these {len(plan.items)} partitions as backfill {backfill}; its daemon runs them.")
    echo(f"See it with `humanllm ui` at http://127.0.0.1:3000/runs/b/{backfill}")
    return 0
