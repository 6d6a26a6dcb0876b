"""Handing a plan to Dagster's daemon as a backfill over exactly its partitions.

Concept: https://docs.dagster.io/guides/build/partitions-and-backfills/backfilling-data"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.planning.refresh_plan import Limits, Plan, RefreshError
from resources.home import Home
from resources.llm.budget import TAG, Budget
from resources.profile import PROJECT_ROOT

REFRESH_TAG = "humanllm/refresh"


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
