"""The funnel's report of a small project: its shares are those of the manifests that it was made from."""

from __future__ import annotations

import duckdb

from humanllm_assets.graph import build_graph
from humanllm_assets_tests.lineage.test_record_economy import run_graph


def test_the_shares_of_the_funnel_are_those_of_what_it_read(project, dummy):
    graph = build_graph(project.profile, project.home)
    run_graph(project, graph, [("funnel_report", "")])
    rates = str(project.store.published("funnel_report", "").path("rates"))
    found = {row[0]: row[1:] for row in duckdb.sql(f"select rate, entered, kept from '{rates}'").fetchall()}
    for source in project.profile.sources:
        slices = [project.store.published(f"eligible_{source}", p) for p in graph[f"eligible_{source}"].partitions]
        entered, kept = (sum(getattr(s.manifest.counts, field) for s in slices) for field in ("entered", "kept"))
        assert found[f"{source} rules"] == (entered, kept) and found[f"{source} filtering"][0] == entered
        rules = [numbers for name, numbers in found.items() if name.startswith(f"{source} rules ")]
        assert max(rules)[0] == entered and min(n for _, n in rules) == kept
