"""What a verification says of each kind of forgery, on a small graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from humanllm_assets.lineage.audit.chain import walk
from humanllm_assets.lineage.audit.verify import Verification, verify
from humanllm_assets.lineage.manifests import Snapshot
from humanllm_assets_tests.lineage.small_graph import World


@pytest.fixture
def world(tmp_path) -> World:
    found = World(tmp_path)
    found.run_all()
    return found


def check(world: World, *item: str) -> Verification:
    """Verify what is published of one partition, whatever its pointer says of its manifest."""
    folder = published(world, *item).folder
    snapshot = world.store.read_snapshot(folder, "manifest.json")
    assert isinstance(snapshot, Snapshot)
    return verify(world.store, walk(world.store, snapshot))


def published(world: World, *item: str) -> Snapshot:
    pointer = world.store.read_pointer(*item)
    found = world.store.read_snapshot(world.store.partition_folder(*item) / pointer.data_version, pointer.manifest)
    assert isinstance(found, Snapshot)
    return found


def problems(found: Verification) -> set[tuple[str, str]]:
    """Name of the file and what is wrong with it."""
    return {(Path(d.file).name, d.problem) for d in found.damage}


def test_everything_upstream_is_counted_once(world):
    found = check(world, "total", "")
    assert found.passed and found.damage == []
    assert (found.manifests, found.files, found.tables, found.rows) == (5, 5, 5, 3 + 3 + 1)
    stored = [f for item in world.graph().all_partitions() for f in published(world, *item).manifest.files.values()]
    assert found.bytes == sum(f.bytes for f in stored)


def lose(file: Path) -> None:
    file.unlink()


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[9] ^= 1
    file.write_bytes(content)


def put_beside(file: Path) -> None:
    (file.parent / "more.txt").write_text("x")


@pytest.mark.parametrize(
    ("damage", "name", "problem"),
    [
        (lose, "rows.parquet", "missing"),
        (lengthen, "rows.parquet", "altered: its bytes have another SHA-256"),
        (flip, "rows.parquet", "altered: its bytes have another SHA-256"),
        (put_beside, "more.txt", "no file of the snapshot"),
    ],
)
def test_a_file_that_is_not_what_the_manifest_says_is_named_once(
    world: World, damage: Callable[[Path], None], name: str, problem: str
) -> None:
    damage(published(world, "scaled", "a").path("rows"))
    found = check(world, "total", "")
    assert problems(found) == {(name, problem)} and not found.passed
    assert found.rows == (7 if damage is put_beside else 5), "a broken table's rows are not looked at"


def forge(world: World, **changed: Any) -> None:
    """Rewrite statements of the manifest of total."""
    snapshot = published(world, "total", "")
    manifest = snapshot.manifest.model_copy(update=changed)
    (snapshot.folder / snapshot.manifest_file).write_text(manifest.model_dump_json(indent=1))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: {"identity": m.identity | {"factor": 11}}, "altered: its identity has another hash"),
        (lambda m: {"upstream": m.upstream[:1]}, "altered: its upstream references are not those of its identity"),
        (
            lambda m: {"tables": {"rows": m.tables["rows"].model_copy(update={"rows": 2})}},
            "altered: its rows have another content hash",
        ),
        (
            lambda m: {"tables": {"rows": m.tables["rows"].model_copy(update={"content": "0" * 64})}},
            "altered: its rows have another content hash",
        ),
        (lambda m: {"files": {}}, "altered: rows.parquet has no SHA-256"),
        (lambda m: {"asset": "another"}, "altered: it says that it belongs to another/"),
    ],
)
def test_a_statement_that_does_not_agree_with_the_rest_is_named(world: World, change: Callable[..., Any], problem: str) -> None:
    forge(world, **change(published(world, "total", "").manifest))
    said = {p for _, p in problems(check(world, "total", ""))}
    assert any(p.startswith(problem) for p in said), said


def test_a_manifest_that_is_not_the_published_one_is_named_with_its_pointer(world):
    forge(world, run_id="another")
    found = problems(check(world, "total", ""))
    assert found == {
        ("manifest.json", "altered: not the manifest that was published"),
        ("all.json", "its hash is not that of the manifest it names"),
    }
