"""A model's server is started once for all that it is asked, not once for every benchmark."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.partitions import parse_score_key
from humanllm_assets.planning.drive import Schedule
from resources.home import Home
from resources.profile import load_profile


def test_contestants_are_asked_one_after_the_other(tmp_path: Path) -> None:
    profile = load_profile("paper")
    graph = build_graph(profile, Home(tmp_path))
    wanted = [item for item in graph.all_partitions() if item.asset == "benchmark_scores"]
    schedule = Schedule(graph, wanted, concurrency=4, one_asks=False)
    begun: list[Item] = []
    running: list[Item] = []
    while schedule.left or running:
        while item := schedule.next_ready():
            begun.append(item)
            running.append(item)
        schedule.finish(running.pop(0))
    contestants = [name for name, _ in groupby(parse_score_key(item.partition).contestant for item in begun)]
    assert contestants == list(profile.contestants) and len(begun) == len(profile.contestants) * len(profile.benchmarks)
