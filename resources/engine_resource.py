"""Dagster resources: DuckDB in memory for each step, and the LLM engine of the profile, started when a step first asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource

from resources.home import Home
from resources.llm.budget import TAG, Budget
from resources.profile import Profile

if TYPE_CHECKING:
    from resources.llm.engine import Engine


def duckdb_resource(profile: Profile, home: Home) -> DuckDBResource:
    """In-memory connections that read snapshots: no file is locked, so partitions run at once. What does not fit lies in the home."""
    config: dict[str, object] = {"memory_limit": profile.execution.duckdb_memory, "temp_directory": str(home.scratch)}
    if profile.execution.duckdb_threads:
        config["threads"] = profile.execution.duckdb_threads
    return DuckDBResource(database=":memory:", connection_config=config)


def engine_resource(profile: Profile, home: Home) -> dg.ResourceDefinition:
    """A function that gives the engine; nothing starts before it is called, and it is closed with the step's process.

    A run with the tag of a budget sends no call beyond it.
    """

    @dg.resource(description="LLM answers from vLLM servers, given or started here, through a journal of all answers")
    def engine(context: dg.InitResourceContext) -> Iterator[Callable[[], Engine]]:
        from resources.llm.engine import Engine

        opened: list[Engine] = []
        budget_id = context.run.tags.get(TAG) if context.run else None

        def get() -> Engine:
            if not opened:
                opened.append(Engine(profile, home.root, budget=Budget(home.root, budget_id) if budget_id else None))
            return opened[0]

        try:
            yield get
        finally:
            for e in opened:
                e.close()

    return engine
