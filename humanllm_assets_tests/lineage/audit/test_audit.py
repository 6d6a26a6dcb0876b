"""Laws of the audits: every altered byte is named, and the answers about records and users are those of a reading of all rows."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from humanllm_assets import tables
from humanllm_assets.commands.audit import audit_checkpoint, audit_diff, audit_record, audit_user
from humanllm_assets.lineage.audit import checkpoint_view, diff, trace, trace_view
from humanllm_assets.lineage.audit import indexes as derived
from humanllm_assets.lineage.audit.chain import AuditError, resolve, walk
from humanllm_assets.lineage.audit.checkpoint import make_report, read_consumed
from humanllm_assets.lineage.audit.diff import compare
from humanllm_assets.lineage.audit.verify import verify
from humanllm_assets.lineage.inventory import take_inventory
from humanllm_assets.lineage.manifests import version_of
from humanllm_assets.lineage.removal.takedown import find_holdings
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.sql import Column
from humanllm_assets_tests.lineage.audited import EVERYTHING, RECIPE, Audited
from resources.llm.journal import COLUMNS, bind_row


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Audited:
    """Two versions of everything, the second without a record that the first was trained on; who alters files works on a copy."""
    world = Audited(tmp_path_factory.mktemp("audited")).run()
    trained = sorted(
        c["sample_id"] for c in rows_of(world.store, "sft_checkpoint", RECIPE, "consumed") if "t3_one" in c["sample_id"]
    )
    world.without = {trained[0].removeprefix("writing-reddit:topic:")}
    world.settings = {"min_chars": 7}
    return world.run()


@pytest.fixture
def copy(made, tmp_path) -> Audited:
    shutil.copytree(made.root, tmp_path / "copy", ignore=shutil.ignore_patterns("audit_index"))
    return Audited(tmp_path / "copy", made.without, made.settings)


def damage(world: Audited, key: str = RECIPE) -> list[str]:
    target = resolve(world.store, key)
    found = verify(world.store, walk(world.store, target.snapshot), target, world.profile)
    return [d.file for d in found.damage if d.altered]


def flip(path: Path, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def relative(world: Audited, path: Path) -> str:
    return str(path.relative_to(world.home.root))


# ---- verifying -------------------------------------------------------------------------------------------------------


def test_what_nobody_touched_verifies_and_nothing_is_written(made):
    before = sorted((p, p.stat().st_mtime_ns) for p in made.root.rglob("*") if p.is_file())
    target = resolve(made.store, RECIPE)
    found = verify(made.store, walk(made.store, target.snapshot), target, made.profile)
    assert found.damage == [] and found.passed
    assert (found.manifests, found.prompts, found.answers, found.source_files) == (8, 1, 2, 2)
    assert found.files == sum(len(s.manifest.files) for s in walk(made.store, target.snapshot).nodes.values())
    assert sorted((p, p.stat().st_mtime_ns) for p in made.root.rglob("*") if p.is_file()) == before


@pytest.mark.parametrize("asset, partition, name", [
    ("task_datasets", "writing-reddit", "samples.parquet"), ("filtered_reddit", "two", "dropped.parquet"),
    ("sft_checkpoint", RECIPE, "consumed.parquet"), ("sft_checkpoint", RECIPE, "model.safetensors"),
    ("sft_checkpoint", RECIPE, "lineage.json"), ("user_profiles", "reddit", "manifest.json"),
    ("raw_reddit", "one", "manifest.json"), ("sft_checkpoint", RECIPE, "manifest.json"),
])  # fmt: skip
def test_one_flipped_byte_of_a_snapshot_is_named(copy, asset, partition, name):
    path = copy.folder(asset, partition) / name
    text = path.read_bytes()
    flip(path, text.index(b"seconds") + 10 if name == "manifest.json" else None)
    assert relative(copy, path) in damage(copy)


def test_a_flipped_byte_beside_the_snapshots_is_named(copy):
    prompt = copy.home.root / "prompts" / f"{copy.prompt_sha256}.md"
    answers = next((copy.home.root / "answers").iterdir())
    pointer = copy.home.root / "published" / "sft_checkpoint" / f"{RECIPE}.json"
    source = copy.sources / "one.ndjson"
    for path in (prompt, source):
        flip(path)
    flip(pointer, pointer.read_bytes().index(b'manifest_sha256": "') + 30)
    assert {relative(copy, prompt), relative(copy, pointer), str(source)} <= set(damage(copy))
    lists = {s.manifest.answers_sha256 for s in walk(copy.store, resolve(copy.store, RECIPE).snapshot).nodes.values()} - {""}
    answers = copy.home.root / "answers" / min(lists)
    flip(answers)
    assert relative(copy, answers) in damage(copy)


def test_a_pointer_that_names_nothing_is_one_sentence(copy):
    pointer = copy.home.root / "published" / "sft_checkpoint" / f"{RECIPE}.json"
    flip(pointer, pointer.read_bytes().index(b'data_version": "') + 20)
    with pytest.raises(AuditError, match=rf"published/sft_checkpoint/{RECIPE}.json"):
        resolve(copy.store, RECIPE)


@pytest.mark.parametrize("forge_hash", [False, True])
def test_an_edited_journal_answer_is_named_even_with_its_own_hash_edited(copy, forge_hash):
    path = copy.home.root / "journal" / "answers.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("update answers set content = 'forged' where item_key = 'a'")
        if forge_hash:
            (row,) = db.execute(f"select {', '.join(COLUMNS)} from answers where item_key = 'a'")
            db.execute("update answers set row_sha256 = ? where item_key = 'a'", [bind_row(row)])
    db.close()
    assert set(damage(copy)) == {"journal/answers.sqlite"}


def test_a_removed_snapshot_is_found_without_reading_a_file(copy):
    folder = copy.folder("filtered_reddit", "one")
    shutil.rmtree(folder)
    found = walk(copy.store, resolve(copy.store, RECIPE).snapshot).damage
    assert [(d.file, d.problem) for d in found] == [
        (f"{relative(copy, folder)}/manifest.json", "missing, with its whole snapshot")
    ]


def test_a_manifest_that_was_swapped_with_its_files_is_found(copy):
    """The forger writes another table, with right hashes, a right data version and a moved pointer: the child's reference stays."""
    import duckdb

    from humanllm_assets.lineage.manifests import StoredFile, TableFile
    from humanllm_assets.lineage.snapshots import hash_table
    from resources.canonical import digest
    from resources.files import sha256_file

    snapshot = copy.store.published("user_profiles", "reddit")
    path = snapshot.path("items")
    rows = pq.read_table(path)
    pq.write_table(rows.slice(1), path)
    with duckdb.connect() as con:
        n, content = hash_table(con, path)
    stored = StoredFile(bytes=path.stat().st_size, sha256=sha256_file(path))
    version = digest({"tables": {"items": content}, "files": {}})[:20]
    forged = snapshot.manifest.model_copy(
        update={
            "data_version": version,
            "tables": {"items": TableFile(file="items.parquet", rows=n, content=content)},
            "files": {"items.parquet": stored},
        }
    )
    (snapshot.folder / "manifest.json").write_text(forged.model_dump_json(indent=1))
    assert f"{relative(copy, snapshot.folder)}/manifest.json" in damage(copy)
    # and with the old data version written into it, so that it fits its folder
    (snapshot.folder / "manifest.json").write_text(
        forged.model_copy(update={"data_version": snapshot.data_version}).model_dump_json(indent=1)
    )
    assert f"{relative(copy, snapshot.folder)}/manifest.json" in damage(copy)


def test_a_copied_model_is_known_by_its_lineage_file_and_compared(copy, tmp_path):
    model = tmp_path / "elsewhere"
    model.mkdir()
    for name in ("model.safetensors", "lineage.json"):
        shutil.copy2(copy.folder("merged_model", RECIPE) / name, model / name)
    target = resolve(copy.store, str(model))
    assert target.snapshot.key == copy.store.published("merged_model", RECIPE).key
    assert damage(copy, str(model)) == []
    flip(model / "model.safetensors")
    assert damage(copy, str(model)) == [str(model / "model.safetensors")]


def test_a_manifest_that_does_not_say_which_files_are_volatile_is_a_note(copy):
    """Manifests were written so before; their other hashes are compared as ever."""
    snapshot = copy.store.published("sft_checkpoint", RECIPE)
    assert version_of(snapshot.manifest.tables, snapshot.manifest.files) == snapshot.data_version
    assert [n for n, f in snapshot.manifest.files.items() if f.volatile] == ["lineage.json"]
    path = snapshot.folder / snapshot.manifest_file
    content = json.loads(path.read_text())
    for file in content["files"].values():
        del file["volatile"]
    path.write_text(json.dumps(content))
    copy.store.publish(copy.store.read_snapshot(snapshot.folder, snapshot.manifest_file))
    found = verify(copy.store, walk(copy.store, resolve(copy.store, RECIPE).snapshot), None, copy.profile)
    assert found.passed and [d.file for d in found.damage] == [relative(copy, path)]
    flip(snapshot.folder / "lineage.json")
    assert damage(copy) == [relative(copy, snapshot.folder / "lineage.json")]


def test_verify_ends_with_exit_code_one_and_names_the_file(copy, capsys):
    path = copy.folder("filtered_reddit", "one") / "records.parquet"
    flip(path)
    lines: list[str] = []
    code = audit_checkpoint(copy.home.root, copy.profile, RECIPE, check=True, echo=lines.append, warn=lines.append)
    assert code == 1 and f"  WRONG  {relative(copy, path)}" in lines
    assert audit_checkpoint(copy.home.root, copy.profile, RECIPE, echo=lines.append, warn=lines.append) == 0


# ---- what fed a checkpoint -------------------------------------------------------------------------------------------


def rows_of(store: SnapshotStore, asset: str, partition: str, table: str) -> list[dict]:
    snapshot = store.published(asset, partition)
    assert snapshot is not None
    return pq.read_table(snapshot.path(table)).to_pylist()


@pytest.mark.parametrize("indexed", [False, True])
def test_the_consumed_samples_are_counted_as_they_stand_in_the_tables(copy, monkeypatch, indexed):
    if indexed:
        monkeypatch.setattr(derived, "INDEX_FROM_ROWS", 0)
    target = resolve(copy.store, RECIPE)
    chain = walk(copy.store, target.snapshot)
    found = make_report(copy.store, chain, target)["consumed"]
    samples = {s["sample_id"]: s for s in rows_of(copy.store, "task_datasets", "writing-reddit", "samples")}
    consumed = rows_of(copy.store, "sft_checkpoint", RECIPE, "consumed")
    distinct = {c["sample_id"] for c in consumed}
    assert (found["samples"], found["consumed"]) == (len(distinct), len(consumed)) and len(consumed) == 2 * len(distinct)
    assert found["users"] == len({samples[s]["user_id"] for s in distinct})
    by_user = {u["user_id"]: u["samples"] for u in found["top_users"]}
    assert by_user == {u: sum(samples[s]["user_id"] == u for s in distinct) for u in by_user} and by_user
    assert (found["held_out"], found["unknown"]) == (0, 0)
    sequence = [json.loads(row) for row in read_consumed(chain, chain.checkpoint)]
    assert [(s["position"], s["sample_id"]) for s in sequence] == sorted((c["position"], c["sample_id"]) for c in consumed)
    assert all(s["record_ids"] == samples[s["sample_id"]]["record_ids"] for s in sequence)
    assert (copy.home.root / "audit_index").exists() == indexed


def test_json_holds_the_sequence_and_people_see_eighty_columns(made, tmp_path):
    lines: list[str] = []
    audit_checkpoint(
        made.home.root, made.profile, RECIPE, as_json=True, html=tmp_path / "page.html", echo=lines.append, warn=lambda _: None
    )
    data = json.loads("\n".join(lines))
    assert len(data["sequence"]) == data["consumed"]["consumed"] and len(data["nodes"]) == 8
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "")
    lines.clear()
    audit_checkpoint(made.home.root, made.profile, RECIPE, echo=lines.append, warn=lambda _: None)
    audit_user(made.home.root, "reddit/u1", all_versions=True, echo=lines.append)
    assert max(len(line) for text in lines for line in text.splitlines()) <= 80


def test_a_retained_version_is_named_by_its_prefix(made):
    versions = sorted(p.name for p in (made.home.root / "snapshots" / "sft_checkpoint" / RECIPE).iterdir())
    assert len(versions) == 2
    for version in versions:
        target = resolve(made.store, f"{RECIPE}@{version[:6]}")
        assert target.snapshot.data_version == version
        assert target.published == (version == made.store.published("sft_checkpoint", RECIPE).data_version)
    with pytest.raises(AuditError, match=f"did you mean `{RECIPE}`"):
        resolve(made.store, "tinny")


# ---- where a record or user went -------------------------------------------------------------------------------------


def oracle(world: Audited, subject: str, all_versions: bool) -> set[tuple[str, str, str, str, str]]:
    """(asset, version, table, row, via) reached, by reading every row of every snapshot in a loop until nothing is added."""
    snapshots = {}
    for asset, partition in EVERYTHING:
        for s in world.store.all(asset, partition):
            snapshots[s.key] = s
    if not all_versions:
        todo = [world.store.published(a, p).key for a, p in EVERYTHING]
        inside = set()
        while todo:
            key = todo.pop()
            inside.add(key)
            todo += [u.key for u in snapshots[key].manifest.upstream]
        snapshots = {k: s for k, s in snapshots.items() if k in inside}
    tables = {(k, t): pq.read_table(s.path(t)).to_pylist() for k, s in snapshots.items() for t in s.manifest.tables}
    everywhere = {subject}
    for rows in tables.values():
        everywhere |= {r["record_id"] for r in rows if r.get("user_id") == subject and next(iter(r)) == "record_id"}
    own, others = {k: set(everywhere) for k in snapshots}, {k: set() for k in snapshots}  # ids by snapshot; `others`: as context
    found: dict[tuple[str, str, str, str], str] = {}
    while True:
        before = len(found), sum(map(len, own.values())), sum(map(len, others.values()))
        for key, s in snapshots.items():
            for u in s.manifest.upstream:
                own[key] |= own[u.key]
                others[key] |= others[u.key]
        for (key, table), rows in tables.items():
            for row in rows:
                values = {v for c, v in row.items() if c.endswith("_id") and c != "context_id" and isinstance(v, str)}
                values |= {v for c in ("record_ids", "item_ids") for v in row.get(c) or ()}
                values |= {v.split("#")[0] for v in values} if table == "failures" else set()
                way = (
                    "own" if values & own[key] else "context" if values & others[key] or row.get("context_id") in own[key] else ""
                )
                first = next(iter(row))
                if way:
                    short = {c: v for c, v in row.items() if c not in trace.TEXTS}
                    place = (key.asset, key.data_version, table, json.dumps(short, default=str, sort_keys=True))
                    found[place] = "own" if "own" in (way, found.get(place)) else way
                if way and first in ("record_id", "item_id", "sample_id") and row[first] not in own[key]:
                    (own if way == "own" else others)[key].add(row[first])
        if before == (len(found), sum(map(len, own.values())), sum(map(len, others.values()))):
            return {(*place, way) for place, way in found.items()}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("all_versions", [False, True])
def test_answers_are_those_of_a_reading_of_all_rows(made, monkeypatch, indexed, all_versions):
    if indexed:
        monkeypatch.setattr(trace, "INDEX_FROM_ROWS", 0)
    records = [f"reddit:t3_one{i:02}" for i in range(0, 24, 4)] + ["reddit:t3_two03", *made.without]
    reached = set()
    for kind, subject in [*(("record_id", r) for r in records), *(("user_id", f"reddit/u{i}") for i in (0, 3))]:
        found = trace.trace(made.store, **{kind: subject}, all_versions=all_versions)
        rows = {
            (h.key.asset, h.key.data_version, h.table, json.dumps(h.row, default=str, sort_keys=True), h.via) for h in found.hits
        }
        assert len(rows) == len(found.hits) and rows == oracle(made, subject, all_versions), subject
        reached |= {(r[0], r[2]) for r in rows} | {r[4] for r in rows}
    assert {
        "context",
        "own",
        ("sft_checkpoint", "consumed"),
        ("benchmark_scores", "answers"),
        ("filtered_reddit", "failures"),
    } <= reached


@pytest.mark.parametrize("indexed", [False, True])
def test_a_record_is_found_where_the_tables_beside_it_are_empty_or_gone(copy, monkeypatch, indexed):
    if indexed:
        monkeypatch.setattr(trace, "INDEX_FROM_ROWS", 0)
    copy.without = {f"reddit:t3_one{i:02}" for i in range(copy.records)}
    copy.run()
    snapshot = copy.store.published("filtered_reddit", "one")
    assert next(t.rows for t in snapshot.manifest.tables.values()) == 0, "the first table is the empty one"
    found = trace.trace(copy.store, record_id="reddit:t3_one05")
    assert {(h.key.asset, h.table) for h in found.hits} == {("filtered_reddit", "dropped")} and not found.models
    assert found.raw == [copy.store.published("raw_reddit", "one").key]
    first, *_ = sorted(copy.store.published("filtered_reddit", "two").manifest.tables)
    copy.store.published("filtered_reddit", "two").path(first).unlink()
    found = trace.trace(copy.store, record_id="reddit:t3_two05")
    assert found.hits, "other tables are read"


def test_a_sample_id_of_two_versions_is_not_taken_for_one_sample(made):
    """In the second version the record is dropped; samples that had it in their history keep their ids."""
    (gone,) = made.without
    found = trace.trace(made.store, record_id=gone, all_versions=True)
    own = [h for h in found.hits if h.via == "own"]  # replies to the record name it still
    published = {h.key.asset for h in own if h.key in found.published}
    old = {h.key.asset for h in own if h.key not in found.published}
    assert "sft_checkpoint" in old and "sft_checkpoint" not in published
    assert [h.row["reason"] for h in own if h.key in found.published and h.table == "dropped"] == ["harmful"]
    assert {k.asset for k in found.models} == {"merged_model", "benchmark_scores"}
    assert trace.trace(made.store, record_id=gone).models == []


def test_forgetting_a_user_finds_what_the_audit_finds_models_included(made):
    """The user of the test split was trained on all the same, in samples of others that show the user's record."""
    inventory, shown = take_inventory(made.graph(), made.store), set()
    for user in (f"reddit/u{n}" for n in range(6)):
        held = find_holdings(inventory, user)
        found = trace.trace(made.store, user_id=user, all_versions=True)
        rows = {h.key[:3] for h in found.hits if h.via == "own"}
        assert {h.snapshot.key[:3] for h in held if h.rows} == rows, user
        trained = {k[:3] for k in [*(h.key for h in found.hits if h.table == "consumed" and h.via == "own"), *found.models]}
        models = ("sft_checkpoint", "merged_model")
        assert {h.snapshot.key[:3] for h in held if h.item.asset in models} == {k for k in trained if k[0] in models}, user
        samples = [h.row for h in found.hits if h.table == "samples" and h.via == "own"]
        shown |= {user} if trained and all(s["user_id"] != user for s in samples if s["split"] == "train") else set()
    assert shown == {"reddit/u3"}


def test_an_unknown_record_or_user_is_one_sentence_with_near_names(made):
    with pytest.raises(AuditError, match="no row about the record `reddit:t3_one99` .* did you mean"):
        audit_record(made.home.root, "reddit:t3_one99", echo=print)
    with pytest.raises(AuditError, match="did you mean `reddit:t3_one01`"):
        audit_record(made.home.root, "forum:t3_one01", echo=print)
    with pytest.raises(AuditError, match="did you mean `reddit/u1`"):
        audit_user(made.home.root, "U1", echo=print)
    with pytest.raises(AuditError, match="^no row about the user `blogger/zoe` is in any published snapshot"):
        audit_user(made.home.root, "blogger/zoe", echo=print)


def test_every_table_that_names_records_or_users_has_its_phrase():
    declared = [v for v in vars(tables).values() if isinstance(v, tuple) and v and isinstance(v[0], Column)]
    naming = {t for t in declared if {c.name for c in t} & set(derived.ID_COLUMNS)}
    assert len(naming) > 10 and naming == set(tables.PHRASES)
    assert (
        tables.describe_rows([{"record_id": "reddit:t3_a", "user_id": "reddit/b", "reason": "too_short"}])
        == "left out: too_short"
    )
    assert tables.describe_rows([{"record_id": "reddit:t3_a", "of_old": 1}] * 2) == "2 rows", "of a table that is none of today's"


# ---- two checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_a_difference_is_said_by_field_data_and_ids(made, monkeypatch, indexed):
    if indexed:
        monkeypatch.setattr(derived, "INDEX_FROM_ROWS", 0)
    (gone,) = made.without
    current = made.store.published("sft_checkpoint", RECIPE).data_version
    (old,) = {p.name for p in (made.home.root / "snapshots" / "sft_checkpoint" / RECIPE).iterdir()} - {current}
    found = compare(made.store, f"{RECIPE}@{old}", RECIPE)
    fields = {(e["asset"], e["field"], str(e["before"]), str(e["after"])) for e in found["identity"]}
    assert fields == {
        ("filtered_reddit", "rules.min_chars", "5", "7"),
        ("filtered_reddit", "without", "[]", str([gone])),
    }
    assert ("filtered_reddit", "one") in {(u["asset"], u["partition"]) for u in found["upstream"]}
    assert ("raw_reddit", "one") not in {(u["asset"], u["partition"]) for u in found["upstream"]}
    (changed,) = [u for u in found["upstream"] if (u["asset"], u["partition"]) == ("filtered_reddit", "one")]
    kept = {s.data_version: s.manifest.counts.kept for s in made.store.all("filtered_reddit", "one")}
    assert (changed["kept_before"], changed["kept_after"]) == (kept[changed["before"]], kept[changed["after"]])
    assert changed["kept_before"] == changed["kept_after"] + 1
    sides = []
    for version in (old, current):
        snapshot = resolve(made.store, f"{RECIPE}@{version}").snapshot
        consumed = {c["sample_id"] for c in pq.read_table(snapshot.path("consumed")).to_pylist()}
        (data,) = [made.store.by_ref(u) for u in snapshot.manifest.upstream]
        rows = [s for s in pq.read_table(data.path("samples")).to_pylist() if s["sample_id"] in consumed]
        sides.append((consumed, {r for s in rows for r in s["record_ids"]}, {s["user_id"] for s in rows}))
    for i, kind in enumerate(("samples", "records", "users")):
        for side, only in (("first", sides[0][i] - sides[1][i]), ("second", sides[1][i] - sides[0][i])):
            assert found[kind][f"only_{side}"] == len(only) and found[kind][f"{side}_ids"] == sorted(only)[:5]
    assert gone in found["records"]["first_ids"] and not found["order"]["same"]
    lines: list[str] = []
    audit_diff(made.home.root, f"{RECIPE}@{old}", RECIPE, echo=lines.append)
    assert "  filtered_reddit (2 partitions): rules.min_chars 5 -> 7" in lines and max(map(len, lines)) <= 80


def test_a_checkpoint_does_not_differ_from_itself(made):
    found = compare(made.store, RECIPE, RECIPE)
    assert found["identity"] == found["upstream"] == [] and found["order"]["same"]
    assert {found[k][f"only_{s}"] for k in ("samples", "users", "records") for s in ("first", "second")} == {0}


def test_no_audit_imports_dagster():
    import subprocess
    import sys

    code = (
        "import sys, humanllm_assets.cli, humanllm_assets.commands.audit, resources.home;"
        "print(sorted(m for m in ('dagster', 'pyarrow', 'numpy', 'matplotlib', 'great_expectations') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    assert checkpoint_view.WIDTH == trace_view.WIDTH == diff.WIDTH == 80


# ---- the UI ----------------------------------------------------------------------------------------------------------


def test_lineage_complete_fails_on_a_removed_snapshot_and_lists_it(copy):
    from humanllm_assets.orchestration.lineage_check import summarise_lineage, verify_lineage

    for asset in ("sft_checkpoint", "merged_model"):
        assert verify_lineage(copy.store, asset, RECIPE, copy.profile).passed
    markdown = summarise_lineage(copy.store, copy.store.published("sft_checkpoint", RECIPE))
    assert "| writing |" in markdown and "data:image/png;base64,iVBOR" in markdown and len(markdown) < 60_000
    folder = copy.folder("user_profiles", "reddit")
    shutil.rmtree(folder)
    for asset in ("sft_checkpoint", "merged_model"):
        result = verify_lineage(copy.store, asset, RECIPE, copy.profile)
        assert not result.passed and result.metadata["manifests"].value > 0
        files = [r.data["file"] for r in result.metadata["damaged"].records]
        assert files == [f"{relative(copy, folder)}/manifest.json"]
    assert not verify_lineage(copy.store, "sft_checkpoint", "nobody", copy.profile).passed


def test_lineage_complete_is_a_partitioned_check_that_runs_on_its_own(copy):
    import dagster as dg

    from humanllm_assets.orchestration.build import build_definitions

    recipe = copy.profile.recipes["smollm2-humanllm"]
    profile = copy.profile.model_copy(update={"recipes": {RECIPE: recipe}, "contestants": {}})
    definitions = build_definitions(profile, copy.home)
    keys = {k for k in definitions.resolve_asset_graph().asset_check_keys if k.name == "lineage_complete"}
    assert {k.asset_key.to_user_string() for k in keys} == {"sft_checkpoint", "merged_model"}
    checks = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys))
    job = dg.Definitions.merge(definitions, dg.Definitions(jobs=[checks])).resolve_job_def("checks")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(tags={"dagster/partition": RECIPE}, instance=instance)  # as the UI launches it
        assert [e.passed for e in result.get_asset_check_evaluations()] == [True, True]
