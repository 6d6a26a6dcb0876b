"""Which of the declared assets are kept for ever, and which refuse to start on what is stale."""

from __future__ import annotations

from humanllm_assets.graph import build_graph
from resources.home import Home
from resources.profile import load_profile


def test_models_and_nothing_else_are_kept_for_ever(tmp_path):
    graph = build_graph(load_profile("local"), Home(tmp_path))
    assert {n.name for n in graph.nodes.values() if n.keeps_forever} == {"sft_checkpoint", "merged_model"}


def test_training_and_benchmarking_refuse_what_is_stale(tmp_path):
    graph = build_graph(load_profile("local"), Home(tmp_path))
    assert {n.name for n in graph.nodes.values() if n.gated} == {"sft_checkpoint", "benchmark_scores"}
