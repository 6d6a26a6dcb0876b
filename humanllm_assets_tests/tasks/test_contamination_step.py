"""contamination as a step of the real graph: what it reads, what it blocks, what it is told in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Manifest
from humanllm_assets.lineage.nodes import Runtime
from humanllm_assets.lineage.step import ContractFailed, run_step
from humanllm_assets_tests.tasks.test_asset import Datasets
from humanllm_assets_tests.tasks.test_contamination import sample, words

Row = dict[str, Any]


class Checked(Datasets):
    """The real graph with given samples as the data set of one pair; the others are empty."""

    def __init__(self, root: Path, samples: list[Row], severity: str = "critical") -> None:
        super().__init__(root, set())
        self._samples = [{**s, "record_ids": ["reddit:1"], "item_ids": [], "subtask": "why"} for s in samples]
        limits = self.profile.thresholds.contamination.model_copy(update={"severity": severity})
        thresholds = self.profile.thresholds.model_copy(update={"contamination": limits})
        self.profile = self.profile.model_copy(update={"thresholds": thresholds})
        self.graph = build_graph(self.profile, self.home)

    def _rows(self, asset: str, first: bool) -> Mapping[str, list[Row]]:
        return {"samples": self._samples if first else []} if asset == "task_datasets" else super()._rows(asset, first)

    def check(self) -> Manifest:
        @contextmanager
        def connect():
            with duckdb.connect() as con:
                yield con

        node = self.graph["contamination"]
        for item in node.parents(""):
            self.publish(*item)
        runtime = Runtime(self.profile, self.graph, self.home, self.store, connect, lambda: pytest.fail("asks no model"))
        return run_step(node, "", runtime, log=lambda line: None).snapshot.manifest


def samples(leaking: int) -> list[Row]:
    found = [sample(f"train{i}", "train", f"reddit/{i}", words(f"x{i}", 30)) for i in range(5)]
    return found + [sample(f"test{i}", "test", "reddit/t", words(f"{'x' if i < leaking else 'y'}{i}", 30)) for i in range(5)]


def test_samples_that_share_nothing_pass_and_every_item_is_accounted_for(tmp_path):
    short = sample("short", "test", "reddit/t", "No.")
    manifest = Checked(tmp_path, [*samples(0), short]).check()
    assert manifest.passed and manifest.counts.model_dump() == {"entered": 6, "kept": 5, "dropped": {"too_short": 1}}
    assert manifest.measures["leaking_items"] == 0


def test_what_leaks_is_refused_in_one_sentence_with_the_asset_the_items_and_the_next_command(tmp_path):
    checked = Checked(tmp_path, samples(2))
    with pytest.raises(ContractFailed) as refused:
        checked.check()
    sentence = str(refused.value)
    assert sentence.startswith("contamination was not published: summary.leaking_share >= 0 and <= 0.01: 1 of 1 rows break it")
    assert "2 of 5 items of test social_qa" in sentence and sentence.endswith("run: humanllm materialize 'contamination'")
    assert checked.store.published("contamination", "") is None


def test_a_profile_can_say_that_it_only_warns(tmp_path):
    manifest = Checked(tmp_path, samples(2), severity="warning").check()
    assert manifest.passed and manifest.measures["leaking_items"] == 2


def test_it_guards_training_and_scores_and_waits_for_no_writer_of_distractors(tmp_path):
    graph = Checked(tmp_path, []).graph
    guarded = {name for name, node in graph.nodes.items() if "contamination" in node.guards}
    assert guarded == {"sft_checkpoint", "benchmark_scores"}
    assert all(graph[name].gated for name in guarded)
    upstream = graph.upstream_closure([Item("contamination", "")])
    assert not [item for item in upstream if item.asset == "benchmark_items"]  # this profile has no public benchmark
