"""task_datasets as a step: what it reads of what the judge kept, what it measures of what it wrote, what decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.parquet as pq
import pytest

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.manifests import Counts, Manifest, Snapshot
from humanllm_assets.lineage.nodes import Graph, Runtime
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import run_step
from humanllm_assets.tasks import assets
from humanllm_assets.tasks.task import load_task
from humanllm_assets_tests.tasks.world import rows, topic
from resources.home import Home
from resources.profile import load_profile

WORLD = rows()
ITEM_TABLES = {"user_profiles": "profiles", "scenarios": "scenarios", "social_qa": "social_qa"}
JUDGED = ("profile_generation-reddit", "scenario_generation-reddit", "social_qa-reddit", "writing_imitation-reddit")
Row = dict[str, Any]


class Datasets:
    """The real graph, in which everything upstream of task_datasets is published from hand-made rows."""

    def __init__(self, root: Path, rejected: set[str]) -> None:
        self.profile, self.home = load_profile("local"), Home(root)
        self.graph: Graph = build_graph(self.profile, self.home)
        self.store = SnapshotStore(self.home.root)
        self._rejected = rejected

    def _rows(self, asset: str, first: bool) -> Mapping[str, list[Row]]:
        """The rows of one partition by table; those of a sliced source are all in its first slice."""
        if asset in ITEM_TABLES:
            return {"items": WORLD[ITEM_TABLES[asset]]}
        if asset == "qc_scores":
            items = [(i["item_id"], i["user_id"]) for name in ITEM_TABLES.values() for i in WORLD[name]]
            return {"scores": [{"item_id": i, "user_id": u, "kept": i not in self._rejected} for i, u in items]}
        if asset == "writing_topics":
            return {"items": [topic(row) for row in WORLD["records"]]}
        if not first:
            return {}
        source = asset.partition("_")[2]
        records = WORLD["comments"] if source == "reddit_comments" else [r for r in WORLD["records"] if r["source"] == source]
        return {"records": records}

    def publish(self, asset: str, partition: str) -> None:
        node = self.graph[asset]
        writer = self.store.begin(asset, partition, node.tables)
        for table, content in self._rows(asset, partition == node.partitions[0]).items():
            known = {c.name for c in node.tables[table]}
            writer.write(table, [{k: v for k, v in row.items() if k in known} for row in content])
        with duckdb.connect() as con:
            sealed = writer.seal(con)
        manifest = Manifest(
            asset=asset,
            partition=partition,
            data_version=sealed.data_version,
            identity_hash="0" * 64,
            identity={},
            upstream=[],
            tables=sealed.tables,
            files=sealed.files,
            counts=Counts(),
        )
        self.store.publish(self.store.add(writer, manifest))

    def make(self, pair: str) -> Snapshot:
        node = self.graph["task_datasets"]
        for item in node.parents(pair):
            if self.store.published(*item) is None:
                self.publish(*item)

        @contextmanager
        def connect() -> Iterator[duckdb.DuckDBPyConnection]:
            with duckdb.connect() as con:
                yield con

        def engine() -> Any:
            raise AssertionError("task data sets ask no model")

        runtime = Runtime(self.profile, self.graph, self.home, self.store, connect, engine)
        return run_step(node, pair, runtime, log=lambda line: None, audit=lambda node, step: {"passed": True}).snapshot


def samples_of(snapshot: Snapshot) -> list[Row]:
    return pq.read_table(snapshot.path("samples")).to_pylist()


@pytest.fixture(scope="module")
def rejected() -> set[str]:
    """Every third item that was judged."""
    items = [i["item_id"] for name in ITEM_TABLES.values() for i in WORLD[name]]
    return set(items[::3])


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, rejected: set[str]) -> Datasets:
    return Datasets(tmp_path_factory.mktemp("datasets"), rejected)


# ---- what it reads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", JUDGED)
def test_what_the_judge_rejected_is_in_no_sample(pair: str, datasets: Datasets, rejected: set[str]) -> None:
    used = {item for sample in samples_of(datasets.make(pair)) for item in sample["item_ids"]}
    assert used and not used & rejected


# ---- what it measures ------------------------------------------------------------------------------------------------

Damage = Callable[[list[Row]], None]


def give_one_sample_the_other_split(samples: list[Row]) -> None:
    user = next(s["user_id"] for s in samples if sum(other["user_id"] == s["user_id"] for other in samples) > 1)
    one = next(s for s in samples if s["user_id"] == user)
    one["split"] = {"train": "test", "test": "train"}[one["split"]]


def show_one_post_of_the_other_split(samples: list[Row]) -> None:
    posts = {r["record_id"]: r for r in WORLD["records"] if r["source"] == "reddit"}
    splits = {s["user_id"]: s["split"] for s in samples}
    one = samples[0]
    strange = (p for p in posts.values() if splits.get(p["user_id"], one["split"]) != one["split"])
    one["record_ids"] = [*one["record_ids"], next(strange)["record_id"]]


def put_one_target_at_the_end_of_its_persona(samples: list[Row]) -> None:
    one = next(s for s in samples if s["item_ids"] and s["target_record_id"])
    one["created_at"] = max(p["cutoff_at"] for p in WORLD["profiles"] if p["item_id"] in one["item_ids"])


def write_one_persona_from_its_target(samples: list[Row]) -> None:
    one = next(s for s in samples if s["item_ids"] and s["target_record_id"])
    one["target_record_id"] = next(p["record_ids"][0] for p in WORLD["profiles"] if p["item_id"] in one["item_ids"])


def take_one_candidate_away(samples: list[Row]) -> None:
    samples[0]["options"] = orjson.dumps(orjson.loads(samples[0]["options"])[:-1]).decode()


LAWS = ("users_in_both_splits", "target_not_after_persona", "wrong_candidate_count")


@pytest.mark.parametrize(
    ("pair", "damage", "broken"),
    [
        ("social_qa-reddit", lambda samples: None, None),
        ("item_selection-amazon", lambda samples: None, None),
        ("social_qa-reddit", give_one_sample_the_other_split, "users_in_both_splits"),
        ("personalized_commenting-reddit_comments", show_one_post_of_the_other_split, "users_in_both_splits"),
        ("social_qa-reddit", put_one_target_at_the_end_of_its_persona, "target_not_after_persona"),
        ("social_qa-reddit", write_one_persona_from_its_target, "target_not_after_persona"),
        ("item_selection-amazon", take_one_candidate_away, "wrong_candidate_count"),
    ],
)
def test_a_sample_that_breaks_a_law_is_counted(
    pair: str, damage: Damage, broken: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = assets.build_samples

    def build_damaged(*arguments: Any) -> list[Row]:
        samples = list(build(*arguments))
        damage(samples)
        return samples

    monkeypatch.setattr(assets, "build_samples", build_damaged)
    measures = Datasets(tmp_path, set()).make(pair).manifest.measures
    assert {law: measures[law] for law in LAWS} == {law: int(law == broken) for law in LAWS}


def test_splits_are_counted(datasets: Datasets) -> None:
    snapshot = datasets.make("social_qa-reddit")
    splits = [s["split"] for s in samples_of(snapshot)]
    measured = snapshot.manifest.measures
    assert (measured["train_samples"], measured["test_samples"]) == (splits.count("train"), splits.count("test"))
    assert measured["unaccounted_rows"] == 0 and snapshot.manifest.counts.kept == len(splits)


# ---- what decides it -------------------------------------------------------------------------------------------------


def test_every_prompt_that_a_task_is_rendered_with_is_in_the_identity_of_its_pairs(datasets: Datasets) -> None:
    node = datasets.graph["task_datasets"]
    for pair in node.partitions:
        named = node.own_identity(pair)["templates"]
        assert set(named) == set(load_task(pair.partition("-")[0]).templates) == {t["name"] for t in named.values()}
