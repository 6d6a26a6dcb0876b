"""Laws of the memoizing step: what computes, what is reused, what is published, and what survives a failure."""

from __future__ import annotations

import errno

import pytest

from humanllm_assets.lineage.nodes import StepError
from humanllm_assets.lineage.snapshots import SnapshotError, find_altered_files
from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets.lineage.step import ContractFailed
from humanllm_assets_tests.lineage.small_graph import World

EVERYTHING = [("raw", "a"), ("raw", "b"), ("scaled", "a"), ("scaled", "b"), ("total", "")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_everything_computes_once_and_then_nothing(world):
    assert world.run_all() == EVERYTHING
    assert world.total() == 60
    assert world.run_all() == []


def test_a_changed_slice_rebuilds_only_what_reads_it(world):
    world.run_all()
    world.source["b"]["z"] = 5
    assert world.run_all() == [("raw", "b"), ("scaled", "b"), ("total", "")]
    assert world.total() == 80


def test_equal_content_keeps_downstream_fresh(world):
    world.run_all()
    world.at_least = 1  # another identity, the same rows
    assert world.run_all() == [("scaled", "a"), ("scaled", "b")]


def test_row_order_does_not_change_the_data_version(world):
    world.run_all()
    before = world.store.published("raw", "a").data_version
    world.source["a"] = dict(reversed(world.source["a"].items()))
    assert world.run("raw", "a", force=True).snapshot.data_version == before


def test_a_reverted_setting_is_published_again_without_computing(world):
    world.run_all()
    world.factor = 2
    world.run_all()
    assert world.total() == 12
    world.factor = 10
    assert world.run_all() == []
    assert world.total() == 60


def test_force_computes_what_is_up_to_date(world):
    world.run_all()
    world.computed.clear()
    assert not world.run("total", force=True).reused
    assert world.computed == [("total", "")]


def test_a_failed_contract_leaves_the_published_snapshot(world):
    world.run_all()
    before = world.store.published("scaled", "a")
    world.factor, world.verdict = 3, {"passed": False, "failed": ["rows.positive"]}
    with pytest.raises(ContractFailed, match=r"scaled\[a\] was not published: rows.positive"):
        world.run("scaled", "a")
    assert world.store.published("scaled", "a") == before
    world.verdict = {}
    assert not world.run("scaled", "a").reused  # a rejected snapshot is never reused


def test_a_missing_parent_is_one_sentence_with_the_command(world):
    with pytest.raises(
        StepError, match=r"total needs scaled\[a\], scaled\[b\], not published yet; .*humanllm materialize 'total'"
    ):
        world.run("total")


def test_a_crash_in_the_middle_leaves_no_trace(world, monkeypatch):
    world.run_all()
    before = world.store.published("raw", "a")
    world.source["a"]["x"] = 7

    def crash(step):
        step.write("rows", [{"id": "x", "n": 7}])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(world, "_raw", crash)
    with pytest.raises(StepError, match="is full; free some space"):
        world.run("raw", "a")
    assert world.store.published("raw", "a") == before
    assert [p.name for p in world.store.partition_folder("raw", "a").iterdir()] == [before.data_version]


def test_a_deleted_file_of_a_snapshot_is_computed_again(world):
    world.run_all()
    world.store.published("scaled", "a").path("rows").unlink()
    assert [(s.asset, s.partition, s.certain) for s in plan(world.graph(), world.store)] == [
        ("scaled", "a", True),
        ("total", "", False),
    ]
    world.computed.clear()
    world.run("scaled", "a")
    assert world.computed == [("scaled", "a")]
    assert find_altered_files(world.store.published("scaled", "a")) == []


def test_an_altered_manifest_is_noticed(world):
    world.run_all()
    snapshot = world.store.published("raw", "a")
    path = snapshot.folder / snapshot.manifest_file
    path.write_text(path.read_text().replace('"kept": 2', '"kept": 3'))
    with pytest.raises(SnapshotError, match=r"raw\[a\] was altered"):
        world.store.published("raw", "a")
    assert [(s.asset, s.partition) for s in plan(world.graph(), world.store)] == [("raw", "a"), ("scaled", "a"), ("total", "")]
    assert "was altered" in world.run("raw", "a").reason  # made again
    assert plan(world.graph(), world.store) == []


def test_a_torn_manifest_is_made_again(world):
    world.run_all()
    snapshot = world.store.published("raw", "a")
    (snapshot.folder / snapshot.manifest_file).write_text("{")
    assert "is damaged" in world.run("raw", "a").reason
    assert plan(world.graph(), world.store) == []


def test_a_torn_pointer_is_set_again(world):
    world.run_all()
    pointer = world.root / "published" / "raw" / "a.json"
    pointer.write_text(pointer.read_text()[:-9])
    assert "published/raw/a.json is damaged" in str(plan(world.graph(), world.store)[0])
    assert world.run("raw", "a").reused
    assert plan(world.graph(), world.store) == []


def test_one_flipped_byte_is_found(world):
    world.run_all()
    snapshot = world.store.published("raw", "a")
    content = bytearray(snapshot.path("rows").read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.path("rows").write_bytes(content)
    assert find_altered_files(snapshot) == ["rows.parquet"]


def test_plan_names_the_changed_field_and_what_follows(world):
    world.run_all()
    assert plan(world.graph(), world.store) == []
    world.factor = 7
    lines = [str(s) for s in plan(world.graph(), world.store)]
    assert lines == [
        "scaled[a]  <- factor 10 -> 7",
        "scaled[b]  <- factor 10 -> 7",
        "total  <- follows scaled[a] and 1 more",
    ]


def test_plan_and_run_agree_without_early_cut_off(world):
    world.run_all()
    world.source["a"]["new"] = 9
    planned = [(s.asset, s.partition) for s in plan(world.graph(), world.store)]
    assert world.run_all() == planned


def test_the_manifest_accounts_for_every_row(world):
    world.at_least = 2
    world.run_all()
    manifest = world.store.published("scaled", "a").manifest
    assert (manifest.counts.entered, manifest.counts.kept, manifest.counts.dropped) == (2, 1, {"too_small": 1})
    assert manifest.counts.unaccounted == 0
    assert [(u.asset, u.partition) for u in manifest.upstream] == [("raw", "a")]
    assert manifest.upstream[0].data_version == world.store.published("raw", "a").data_version
