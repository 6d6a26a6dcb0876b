"""How long the audits take on snapshots of the paper's size, beside plain scans of the same files.

    python benchmarks/audit_speed.py                  5.5M records, 1.2M samples: some minutes and 3 GB in a temporary folder
    python benchmarks/audit_speed.py --rows 200000    the same in small

Writes made-up rows in the real layout (tables, manifests, pointers), asks every question as a command and inside this process, and
prints a table. `first` is the first answer of all, which also makes the indexes; `command` and `inside` are medians of the following
ones; `scan` is DuckDB reading the same columns of the same files for the same rows without an index. The machine's other work
counts: compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets import sql
from humanllm_assets import tables as t
from humanllm_assets.commands.audit import audit_checkpoint, audit_diff, audit_record, audit_user
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Counts, Manifest, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from resources.canonical import digest
from resources.profile import PROJECT_ROOT, load_profile

SLICES, TASKS, EPOCHS = 20, 6, 3
RECORD = "'reddit:t3_' || printf('%08x', i)"


class World:
    """The made-up snapshots, from raw files to a merged model, with two versions of the checkpoint."""

    def __init__(self, root: Path, rows: int) -> None:
        self.store, self.rows = SnapshotStore(root), rows
        self.con = duckdb.connect()
        self.con.execute(f"set temp_directory = {sql.literal(root / 'spill')}")
        self.made: dict[Item, Snapshot] = {}

    def add(
        self, asset: str, partition: str, tables: dict[str, tuple[sql.Table, str]], upstream: list[Snapshot], note: str = ""
    ) -> Snapshot:
        """Write, seal and publish one snapshot. `tables`: columns and the query that fills some of them, the rest being null."""
        writer = self.store.begin(asset, partition, {n: columns for n, (columns, _) in tables.items()})
        for name, (columns, query) in tables.items():
            given = [r[0] for r in self.con.execute(f"describe {query}").fetchall()]
            rest = "".join(f', null as "{c.name}"' for c in columns if c.name not in given)
            writer.copy(self.con, name, f"select *{rest} from ({query})")
        version, sealed, files = writer.seal(self.con)
        identity = {
            "asset": asset,
            "partition": partition,
            "note": note,
            "columns": {n: [[c.name, c.type] for c in columns] for n, (columns, _) in tables.items()},
            "upstream": {a: {s.manifest.partition: s.data_version for s in upstream if s.manifest.asset == a} for a in {s.manifest.asset for s in upstream}},
        }  # fmt: skip
        kept = next(iter(sealed.values())).rows
        manifest = Manifest(asset=asset, partition=partition, data_version=version, identity_hash=digest(identity), identity=identity,
                            upstream=[s.ref() for s in upstream], tables=sealed, files=files, counts=Counts(entered=kept, kept=kept),
                            finished_at=time.strftime("%FT%T"), measures={"steps": 1})  # fmt: skip
        snapshot = self.store.add(writer, manifest)
        self.store.publish(snapshot)
        self.made[Item(asset, partition)] = snapshot
        return snapshot

    def select_rows(self, asset: str, table: str) -> str:
        """SQL for the rows of a table of all partitions."""
        return sql.parquet(s.path(table) for item, s in self.made.items() if item.asset == asset)

    def make(self) -> None:
        users = max(1, self.rows // 10)
        for n in range(SLICES):
            name = f"slice{n:02}"
            raw = self.add("raw_reddit", name, {"files": (t.RAW_FILES, f"select '{name}.zst' as file, 'records' as kind")}, [])
            row = f"""select {RECORD} as record_id, 'reddit' as source, '{name}' as slice, 'reddit/user' || (hash(i) % {users}) as user_id,
                      timestamp '2020-01-01' + i * interval 1 second as created_at, repeat(md5(i::varchar), 8) as text, 256 as n_chars
                      from range({n}, {self.rows}, {SLICES}) x(i)"""
            eligible = self.add("eligible_reddit", name, {
                "records": (t.RECORDS, row),
                "dropped": (t.DROPPED, f"select 'reddit:t3_d' || printf('%08x', i) as record_id, 'reddit/user' || (hash(i) % {users}) as user_id, 'too_short' as reason from range({n}, {self.rows}, {SLICES}) x(i)"),
            }, [raw])  # fmt: skip
            records = sql.parquet([eligible.path("records")])
            self.add("filtered_reddit", name, {
                "records": (t.FILTERED, f"select *, 'high' as quality, 'no' as harmful from {records} where hash(record_id) % 5 > 0"),
                "dropped": (t.DROPPED, f"select record_id, user_id, 'quality_low' as reason from {records} where hash(record_id) % 5 = 0"),
            }, [eligible])  # fmt: skip
        filtered = [s for item, s in self.made.items() if item.asset == "filtered_reddit"]
        records = self.select_rows("filtered_reddit", "records")
        self.con.execute(
            f"create temp table people as select user_id, list(record_id order by record_id)[:12] as ids from {records} group by 1"
        )
        kinds = "(select unnest(['persona', 'profile', 'stories', 'style']) as kind)"
        profiles = self.add("user_profiles", "reddit", {"items": (t.PROFILES, f"select user_id || '#' || kind as item_id, kind, user_id, repeat(md5(user_id), 8) as text, ids[:8] as record_ids from people, {kinds}")}, filtered)  # fmt: skip
        scores = self.add("qc_scores", "reddit", {"scores": (t.SCORES, f"select item_id, kind as item_kind, user_id, 9 as overall, true as kept from {sql.parquet([profiles.path('items')])}")}, [profiles])  # fmt: skip
        for version in ("first", "second"):
            pairs = [self.samples(f"task{n}-reddit", n, records, [*filtered, profiles, scores], version) for n in range(TASKS)]
            samples = self.select_rows("task_datasets", "samples")
            order = f"select sample_id, epoch from {samples}, (select unnest(range({EPOCHS})) as epoch) where split = 'train' order by epoch, hash(sample_id || epoch)"
            consumed = f"select row_number() over () - 1 as position, 1 as step, epoch, 0 as rank, sample_id from ({order})"
            checkpoint = self.add("sft_checkpoint", "big", {"consumed": (t.CONSUMED, consumed)}, pairs, version)
            self.add("merged_model", "big", {"check": (t.MERGE_CHECK, "select 'w' as tensor")}, [checkpoint], version)

    def samples(self, pair: str, n: int, records: str, upstream: list[Snapshot], version: str) -> Snapshot:
        """Samples of one task; those of the last task lack some users in the second version."""
        if version == "second" and n < TASKS - 1:
            return self.made[Item("task_datasets", pair)]
        every, least = (
            round(self.rows * 0.8 / (self.rows * 1.2 / 5.5) * TASKS),
            "and user_id not like 'reddit/user77%'" if version == "second" else "",
        )
        query = f"""select 'task{n}-reddit:x:' || record_id as sample_id, 'task{n}' as task, 'reddit' as source, user_id, repeat(md5(record_id), 30)
                    as conversations, if(hash(user_id) % 10 = 0, 'test', 'train') as split, record_id as target_record_id,
                    list_distinct(ids || [record_id]) as record_ids, [user_id || '#persona'] as item_ids
                    from {records} join people using (user_id) where hash(record_id || '{n}') % {every} = 0 {least}"""
        return self.add("task_datasets", pair, {"samples": (t.SAMPLES, query)}, upstream, version)


def measure(run: Callable[[], Any], times: int = 5) -> float:
    """Median wall-clock seconds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the audits on made-up snapshots of the paper's size.")
    parser.add_argument("--rows", type=int, default=5_500_000, help="records that pass the rules")
    parser.add_argument("--folder", type=Path, help="where to write them; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="audit-speed-") as folder:
        started = time.perf_counter()
        world = World(Path(folder) / "local", arguments.rows)
        world.make()
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        print(
            f"made in {time.perf_counter() - started:.0f} s, {size / 1e9:.1f} GB; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        report(world, Path(folder))


def report(world: World, home: Path) -> None:
    con, root = duckdb.connect(), world.store.root
    file = {name: world.select_rows(*name) for name in (
        ("eligible_reddit", "records"), ("eligible_reddit", "dropped"), ("filtered_reddit", "records"), ("filtered_reddit", "dropped"),
        ("user_profiles", "items"), ("qc_scores", "scores"), ("task_datasets", "samples"), ("sft_checkpoint", "consumed"))}  # fmt: skip
    for name in (("eligible_reddit", "records"), ("task_datasets", "samples"), ("sft_checkpoint", "consumed")):
        print(f"  {name[0]}.{name[1]}: {con.execute(f'select count(*) from {file[name]}').fetchall()[0][0]:,} rows")
    sample = f"select target_record_id, user_id from {file['task_datasets', 'samples']} where split = 'train' order by hash(sample_id) limit 1"
    record, user = con.execute(sample).fetchall()[0]
    versions = sorted(p.name for p in (root / "snapshots" / "sft_checkpoint" / "big").iterdir())
    old = next(v for v in versions if v != world.made[Item("sft_checkpoint", "big")].data_version)
    silent = lambda _: None  # noqa: E731
    profile = load_profile("local")
    samples, consumed = file["task_datasets", "samples"], file["sft_checkpoint", "consumed"]

    def scan_checkpoint() -> None:
        con.execute(f"select source, task, count(*) from {consumed} join {samples} using (sample_id) group by all").fetchall()

    def scan_diff() -> None:
        con.execute(
            f"select count(distinct r) from (select unnest(record_ids) as r from {samples} s semi join {consumed} c using (sample_id))"
        ).fetchall()

    def scan_for(column: str, value: str) -> None:
        for (_, table), source in file.items():
            if table in ("records", "dropped") or column == "user_id":
                if table != "consumed":
                    con.execute(f"select count(*) from {source} where {column} = {sql.literal(value)}").fetchall()
            elif table in ("items", "samples"):
                con.execute(f"select count(*) from {source} where list_contains(record_ids, {sql.literal(value)})").fetchall()
        found = con.execute(f"select sample_id from {samples} where user_id = {sql.literal(user)}").fetchall()
        listed = ", ".join(sql.literal(s) for (s,) in found)
        con.execute(f"select count(*) from {consumed} where sample_id in ({listed})").fetchall()

    questions: list[tuple[list[str], Callable[[], Any], Callable[[], None]]] = [
        (["audit", "checkpoint", "big"], lambda: audit_checkpoint(root, profile, "big", echo=silent, warn=silent), scan_checkpoint),
        (["audit", "record", record], lambda: audit_record(root, record, echo=silent), lambda: scan_for("record_id", record)),
        (["audit", "user", user], lambda: audit_user(root, user, echo=silent), lambda: scan_for("user_id", user)),
        (["audit", "user", user, "--all-versions"], lambda: audit_user(root, user, all_versions=True, echo=silent), lambda: scan_for("user_id", user)),
        (["diff", f"big@{old}", "big"], lambda: audit_diff(root, f"big@{old}", "big", echo=silent), scan_diff),
    ]  # fmt: skip
    environment = {**os.environ, "HUMANLLM_HOME": str(home), "HUMANLLM_PROFILE": "local"}

    def command(words: list[str]) -> Callable[[], Any]:
        line = [sys.executable, "-m", "humanllm_assets.cli", *words]
        return lambda: subprocess.run(line, env=environment, cwd=PROJECT_ROOT, check=True, capture_output=True)

    print(f"{'question':<32}{'first':>9}{'command':>9}{'inside':>9}{'scan':>9}  inside/scan")
    for words, inside, scan in questions:
        first, later, here, plain = measure(command(words), 1), measure(command(words)), measure(inside), measure(scan)
        name = " ".join(w for w in words if w.isalpha() or w.startswith("--"))
        print(f"{name:<32}{first:>8.2f}s{later:>8.2f}s{here:>8.2f}s{plain:>8.2f}s{here / plain:>10.2f}")
    print(f"{'python and the imports alone':<32}{'':>9}{measure(command(['audit', '--help'])):>8.2f}s")


if __name__ == "__main__":
    main()
