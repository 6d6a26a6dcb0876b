"""Laws of stored tables and of references to stored snapshots."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore, SnapshotWriter, hash_table
from humanllm_assets.sql import define_table
from humanllm_assets_tests.lineage.small_graph import NUMBERS, World
from resources.canonical import digest

ROWS = 25_000  # several in every bucket of the hash, and more than DuckDB reads at once
Row = tuple[int, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [(i, f"text {i % 1000}") for i in range(ROWS)]


def hash_of(folder: Path, rows: Sequence[Row], row_group_size: int = ROWS, compression: str = "zstd") -> tuple[int, str]:
    path = folder / "table.parquet"
    table = pa.table({"n": [n for n, _ in rows], "text": [text for _, text in rows]})
    pq.write_table(table, path, row_group_size=row_group_size, compression=compression)
    with duckdb.connect(config={"threads": 2}) as con:
        return hash_table(con, path)


def test_the_hash_of_a_large_table_does_not_depend_on_how_its_rows_are_ordered_and_stored(tmp_path, rows):
    count, content = hash_of(tmp_path, rows)
    assert count == ROWS
    shuffled = random.Random(1).sample(rows, ROWS)
    assert hash_of(tmp_path, rows[::-1]) == hash_of(tmp_path, shuffled, 1000, "snappy") == (count, content)


@pytest.mark.parametrize("place", [0, ROWS // 2, ROWS - 1])
def test_one_changed_row_anywhere_in_a_large_table_changes_its_hash(tmp_path, rows, place):
    changed = list(rows)
    changed[place] = (changed[place][0], "another text")
    assert hash_of(tmp_path, changed)[1] != hash_of(tmp_path, rows)[1]


def test_a_row_that_is_there_twice_counts_twice(tmp_path, rows):
    assert hash_of(tmp_path, [*rows, rows[0]])[1] not in (hash_of(tmp_path, rows)[1], hash_of(tmp_path, [*rows, rows[1]])[1])


def test_the_hash_knows_which_value_stands_in_which_column(tmp_path):
    def hash_columns(**columns: list[str]) -> str:
        pq.write_table(pa.table(columns), tmp_path / "t.parquet")
        with duckdb.connect() as con:
            return hash_table(con, tmp_path / "t.parquet")[1]

    assert hash_columns(a=["x"], b=["y"]) == hash_columns(b=["y"], a=["x"]) != hash_columns(a=["y"], b=["x"])
    assert hash_columns(a=["x"]) != hash_columns(b=["x"])


def test_the_hash_is_that_of_a_plain_count_and_needs_little_memory(tmp_path):
    path, limits = tmp_path / "t.parquet", {"memory_limit": "48MB", "temp_directory": str(tmp_path / "spill"), "threads": 1}
    duckdb.execute(f"copy (select 'reddit/u' || i as u from range(600000) t(i)) to '{path}' (format parquet)")
    buckets: dict[str, list[str]] = {}
    for i in range(600_000):
        row = hashlib.sha256(f'{{"u":"reddit/u{i}"}}'.encode()).hexdigest()
        buckets.setdefault(row[:3], []).append(row)
    content = "".join(hashlib.sha256("".join(sorted(found)).encode()).hexdigest() for _, found in sorted(buckets.items()))
    with duckdb.connect(config=limits) as con:
        rows, found = hash_table(con, path)
    expected = digest({"columns": [["u", "VARCHAR"]], "rows": hashlib.sha256(content.encode()).hexdigest()})
    assert (rows, found) == (600_000, expected)


def test_a_table_that_lost_rows_is_never_sealed(tmp_path, monkeypatch):
    """Whatever loses them: the writer counts what it was given."""
    writer = SnapshotWriter(tmp_path, {"rows": NUMBERS})
    flush = SnapshotWriter._flush

    def lose_one(self, table):
        del self._rows[table][-1:]
        flush(self, table)

    monkeypatch.setattr(SnapshotWriter, "_flush", lose_one)
    writer.write("rows", [{"id": str(n), "n": n} for n in range(10)])
    with duckdb.connect() as con, pytest.raises(RuntimeError, match="the table rows holds 9 of the 10 rows"):
        writer.seal(con)


@pytest.mark.parametrize("batch", [1, 700, 3000], ids=["one by one", "in several calls", "in one call"])
def test_every_row_that_is_written_is_stored(tmp_path, batch):
    store, rows = SnapshotStore(tmp_path), [{"id": f"x{i:05}", "n": i} for i in range(3000)]
    writer = store.begin("raw", "a", {"rows": NUMBERS})
    for start in range(0, len(rows), batch):
        writer.write("rows", rows[start : start + batch])
    with duckdb.connect() as con:
        sealed = writer.seal(con)
    assert sealed.tables["rows"].rows == 3000
    assert pq.read_table(writer.folder / "rows.parquet").to_pylist() == rows


def test_equal_rows_are_equal_bytes_whatever_the_order_in_which_they_came(tmp_path):
    content = []
    for name, order in (("one", 1), ("two", -1)):
        world = World(tmp_path / name, source={"a": dict(list({f"x{i:05}": i for i in range(3000)}.items())[::order])})
        world.run("raw", "a")
        content.append(world.store.published("raw", "a").path("rows").read_bytes())
    assert content[0] == content[1]


def test_a_parent_whose_manifest_is_not_the_one_that_the_child_read_is_refused(tmp_path):
    world = World(tmp_path)
    world.run_all()
    (ref,) = world.store.published("scaled", "a").manifest.upstream
    assert world.store.by_ref(ref).item == ("raw", "a")
    path = world.store.partition_folder("raw", "a") / ref.data_version / ref.manifest
    path.write_text(path.read_text().replace('"run_id": "run"', '"run_id": "RUN"'))
    with pytest.raises(SnapshotError, match=r"the manifest of raw\[a\] .* was altered"):
        world.store.by_ref(ref)


@pytest.mark.parametrize("harm, name", [("cut", "manifest.json"), ("lose", "manifest-{}.json"), ("none", "manifest-{}.json")])
def test_an_equal_snapshot_is_repaired_and_gains_a_manifest_in_place_of_one_that_cannot_be_read(tmp_path, harm, name):
    world = World(tmp_path)
    world.run_all()
    first = world.store.published("scaled", "a")
    stored = first.path("rows").read_bytes()
    manifest = first.folder / "manifest.json"
    if harm == "cut":
        manifest.write_bytes(manifest.read_bytes()[:50])
    elif harm == "lose":
        manifest.unlink()
    first.path("rows").write_bytes(b"harmed")
    world.at_least = 1  # another identity, the same rows
    world.run("scaled", "a", force=True)
    found = world.store.published("scaled", "a")
    assert found.folder == first.folder and found.manifest_file == name.format(found.manifest.identity_hash[:16])
    assert found.path("rows").read_bytes() == stored
    assert found.manifest.files == first.manifest.files
    assert not [p.name for p in found.folder.parent.iterdir() if p.name != found.data_version]


def test_what_is_not_published_is_found_among_the_snapshots_kept(tmp_path):
    world = World(tmp_path)
    world.run_all()
    first = world.store.published("raw", "a")
    world.source["a"] = {"x": 5}
    world.run("raw", "a")
    assert {s.data_version for s in world.store.all("raw", "a")} == {
        first.data_version,
        world.store.published("raw", "a").data_version,
    }
    shutil.rmtree(first.folder)
    assert [s.data_version for s in world.store.all("raw", "a")] == [world.store.published("raw", "a").data_version]


@pytest.mark.parametrize("rival", [True, False])
def test_a_snapshot_that_another_process_made_first_is_taken_and_a_full_disk_is_an_error(tmp_path, monkeypatch, rival):
    world = World(tmp_path)
    world.run_all()
    first = world.store.published("scaled", "a")
    writer, hidden = world.store.begin("scaled", "a", {"rows": NUMBERS}), tmp_path / "hidden"
    writer.write("rows", pq.read_table(first.path("rows")).to_pylist())
    with duckdb.connect() as con:
        writer.seal(con)
    first.folder.rename(hidden)

    def refuse(source, target):
        if rival:
            shutil.copytree(hidden, target)
        raise OSError("no room")

    monkeypatch.setattr("os.rename", refuse)
    if rival:
        found = world.store.add(writer, first.manifest)
        assert found.folder == first.folder and found.path("rows").is_file() and not writer.folder.exists()
    else:
        with pytest.raises(OSError, match="no room"):
            world.store.add(writer, first.manifest)


@pytest.mark.parametrize("key", ["right('000000' || (i * 7919 % 60000), 6)", "case when i % 50 > 0 then (i * 7919) % 60000 end"])
def test_more_text_than_there_is_memory_is_written_in_order(tmp_path, key):
    table = define_table(
        ("id", "VARCHAR" if key.startswith("right") else "BIGINT", "key"), ("text", "VARCHAR", "what is written")
    )
    query = f"select {key} as id, i || repeat(md5(i::varchar), 100) as text from range(60000) t(i)"
    with duckdb.connect(config={"memory_limit": "64MB", "threads": 2, "temp_directory": str(tmp_path / "spill")}) as con:
        with pytest.raises(duckdb.OutOfMemoryException):  # else this tests nothing
            con.execute(f"copy ({query} order by id) to '{tmp_path / 'direct.parquet'}' (format parquet)")
        (tmp_path / "written").mkdir()
        SnapshotWriter(tmp_path / "written", {"t": table}).copy(con, "t", query)
        written = f"'{tmp_path / 'written' / 't.parquet'}'"
        ids = [
            row[0]
            for row in con.execute(
                f"select id from read_parquet({written}, file_row_number = true) order by file_row_number"
            ).fetchall()
        ]
        texts = con.execute(f"select count(distinct md5(text)) from {written}").fetchall()[0][0]
    assert len(ids) == texts == 60_000 and ids == sorted(ids, key=lambda i: (i is None, i or 0))
    assert [p.name for p in (tmp_path / "written").iterdir()] == ["t.parquet"]
