"""Laws of verifying a whole data home: a change of any file is found, by a hash or by the anchor, or the file is listed as outside.

HUMANLLM_HOME_DAMAGES sets how many random changes are tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from humanllm_assets import cli
from humanllm_assets.commands.audit import audit_home
from humanllm_assets.lineage.audit.chain import resolve, walk
from humanllm_assets.lineage.audit.files_of_home import OUTSIDE, find_pattern
from humanllm_assets.lineage.audit.trace import trace
from humanllm_assets.lineage.audit.verify import Verification, verify, verify_home
from humanllm_assets.lineage.inventory import read_publications, read_retained
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import PURGED, Snapshot
from humanllm_assets.lineage.tombstones import Tombstone, edit_tombstones
from humanllm_assets_tests.lineage.audited import EVERYTHING, RECIPE, Audited
from resources.canonical import digest
from resources.llm.journal import Answer, Journal
from resources.models import package_origin
from resources.profile import PROJECT_ROOT, Model, Profile

DAMAGES = int(os.environ.get("HUMANLLM_HOME_DAMAGES", "40"))
DECLARED = frozenset(Item(*pair) for pair in EVERYTHING)
CARRIER = "carrier_of_weights"


class World(Audited):
    """The audited home with a base model that a package carries, as the shipped profile has it."""

    @property
    def profile(self) -> Profile:
        model = Model(name="m", revision="1", package=CARRIER)
        return super().profile.model_copy(update={"models": {"m": model}})

    def prepare(self) -> None:
        """Install the package and dequantize its model."""
        site = self.root / "site"
        (site / CARRIER).mkdir(parents=True)
        (site / CARRIER / "__init__.py").touch()
        (site / CARRIER / "m.gguf").write_bytes(b"quantized")
        information = site / f"{CARRIER}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {CARRIER}\nVersion: 1.0\n")
        (information / "top_level.txt").write_text(CARRIER)
        self.install()
        folder = self.home.root / "models" / "m"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer.json").write_text('{"model": "bpe"}')
        (folder / "model.safetensors").write_bytes(random.Random(1).randbytes(2000))
        (folder / "origin.json").write_text(json.dumps(package_origin(CARRIER), indent=1))

    def install(self) -> None:
        sys.path.insert(0, str(self.root / "site"))

    def verify(self) -> Verification:
        return verify_home(self.store, self.profile, None, DECLARED)

    def wrong(self) -> set[str]:
        return {d.file for d in self.verify().damage if d.altered}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    before = list(sys.path)
    world = World(tmp_path_factory.mktemp("home"))
    world.prepare()
    world.run()
    world.settings = {"min_chars": 7}  # equal rows under another identity: a second manifest in the same folders
    world.run()
    world.without = {"reddit:t3_one01"}
    world.run()
    journal = Journal(world.home.root)
    for i in range(40):
        journal.put(Answer(f"{i:064x}", "m", "judge", f"reddit/u{i % 5}", f"item {i}", 3, 2, "stop", f"unused {i} " * i))
    journal.close()
    with edit_tombstones(world.home) as tombstones:
        tombstones.append(Tombstone(site="reddit", user_sha256="0" * 64, reason="asked", forgotten_at="2024", slots={}))
    for name in ("receipts/r.json", f"snapshots/old/all/{'1' * 20}/{PURGED}"):
        (world.home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (world.home.root / name).write_text("{}")
    for pattern in OUTSIDE:
        path = world.home.root / pattern.replace("**/", "").replace("?", "x").replace("*", "x")
        if "sqlite-" not in pattern and find_pattern(pattern) == pattern and not path.exists():
            path = path if "." in path.name else path / "file.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("outside")
    yield world
    sys.path[:] = before


@pytest.fixture
def copy(made, tmp_path) -> World:
    shutil.copytree(made.root, tmp_path / "copy", symlinks=True)
    return World(tmp_path / "copy", made.without, made.settings)


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


# ---- the law ---------------------------------------------------------------------------------------------------------


def is_covered(world: World, path: Path) -> bool:
    parts = str(path.relative_to(world.home.root)).split("/")
    return not any(find_pattern("/".join(parts[: i + 1])) for i in range(len(parts)))


def needs_anchor(world: World) -> set[str]:
    """What no hash in the home binds: docs/lineage.md lists it."""
    root = world.home.root
    bound = {p.snapshot.key for p in read_publications(world.store) if p.snapshot}
    snapshots = [s for s in read_retained(world.store) if isinstance(s, Snapshot)]
    bound |= {ref.key for s in snapshots for ref in s.manifest.upstream}
    free = [s.folder / s.manifest_file for s in snapshots if s.key not in bound]
    free += [root / "tombstones.json", *root.glob("receipts/*"), *root.glob(f"snapshots/*/*/*/{PURGED}")]
    return {str(p.relative_to(root)) for p in free}


def journal_rows(world: World) -> list[tuple] | None:
    try:
        with contextlib.closing(sqlite3.connect(world.home.root / "journal" / "answers.sqlite")) as db:
            return db.execute("select * from answers not indexed order by key").fetchall()
    except sqlite3.DatabaseError:
        return None


@pytest.mark.timeout(600 + 20 * DAMAGES)
def test_any_change_of_any_file_is_found_or_the_file_is_outside(made, tmp_path_factory):
    """By the anchor every change; without it all but what `needs_anchor` lists, and bytes of the journal that hold no answer."""
    draw, root = random.Random(3), made.home.root
    before, unbound, rows = made.verify(), needs_anchor(made), journal_rows(made)
    assert before.damage == [], before.damage
    everything = sorted(p for p in root.rglob("*") if p.is_file() and "sqlite-" not in p.name)
    count = {"tried": 0, "by the anchor": 0, "by a hash": 0, "outside": 0}
    for i in range(DAMAGES):
        path = draw.choice(everything) if i % 5 else root / "journal" / "answers.sqlite"
        kind = ("flip", "delete", "add", "swap", "link")[i % 5 if i % 5 else 0]
        content, name = path.read_bytes(), str(path.relative_to(root))
        added = path.with_name(draw.choice(("other.parquet", f"manifest-{i:016x}.json", "notes.txt")))
        other = draw.choice([p for p in everything if p.read_bytes() != content])
        swapped = other.read_bytes()
        if kind == "flip" and content:
            flip(path, draw)
        elif kind == "delete":
            path.unlink()
        elif kind == "add":
            added.write_bytes(content)
            name = str(added.relative_to(root))
        elif kind == "swap":
            path.write_bytes(swapped)
            other.write_bytes(content)
        else:
            elsewhere = tmp_path_factory.mktemp("elsewhere") / path.name
            shutil.move(path, elsewhere)
            path.symlink_to(elsewhere)
        covered = is_covered(made, added if kind == "add" else path) or (kind == "swap" and is_covered(made, other))
        after = made.verify()
        count["tried"] += 1
        if covered:
            assert after.anchor != before.anchor, (kind, name)
            count["by the anchor"] += 1
            found = {d.file for d in after.damage}
            count["by a hash"] += bool(found)
            free = kind in ("flip", "delete") and name in unbound
            free |= kind == "swap" and {name, str(other.relative_to(root))} <= {*unbound, *map(str, filter(find_pattern, [name]))}
            free |= (
                kind == "swap"
                and not (is_covered(made, path) and is_covered(made, other))
                and bool({name, str(other.relative_to(root))} & unbound)
            )
            free |= kind == "add" and name.startswith(("receipts/",))
            free |= name == "journal/answers.sqlite" and kind == "flip" and journal_rows(made) == rows
            assert found or free, (kind, name, other)
        else:
            assert after.anchor == before.anchor and after.damage == [], (kind, name)
            count["outside"] += 1
        for p in (path, other, added):
            p.unlink(missing_ok=True)
        path.write_bytes(content)
        other.write_bytes(swapped)
        if added in everything:
            added.write_bytes(content)
    print(count)
    assert made.verify() == before
    assert count["by a hash"] > DAMAGES / 3 and count["outside"] > 0


def test_the_documentation_lists_what_is_outside():
    text = (PROJECT_ROOT / "docs" / "lineage.md").read_text()
    lines = [f"| `{pattern}` | {reason} |" for pattern, reason in OUTSIDE.items()]
    assert "\n".join(lines) in text


# ---- one by one ------------------------------------------------------------------------------------------------------


def test_a_flip_in_the_base_model_of_a_package_is_found(copy):
    draw, folder = random.Random(5), copy.home.root / "models" / "m"
    chain = walk(copy.store, resolve(copy.store, RECIPE).snapshot)
    assert verify(copy.store, chain, None, copy.profile).base_models == 1
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        flip(path, draw)
        found = {d.file for d in verify(copy.store, chain, None, copy.profile).damage if d.altered}
        assert found & {"models/m", "models/m/origin.json"}, path.name
        path.write_bytes(content)
    (folder / "more.bin").write_text("?")
    assert copy.wrong() == {"models/m/more.bin"}


def test_a_base_model_that_is_gone_is_a_note_and_one_that_no_step_read_is_none(copy):
    shutil.rmtree(copy.home.root / "models" / "m")
    found = copy.verify()
    assert ("m", "base model gone", False) in {(d.file, d.problem, d.altered) for d in found.damage} and found.base_models == 0
    for s in list(read_retained(copy.store)):
        content = json.loads((s.folder / s.manifest_file).read_text())
        content["weights"], content["identity"] = {}, {}
        (s.folder / s.manifest_file).write_text(json.dumps(content))
    assert "m" not in {d.file for d in copy.verify().damage}


def test_a_base_model_whose_hash_nobody_recorded_is_a_note(copy):
    for s in list(read_retained(copy.store)):
        content = json.loads((s.folder / s.manifest_file).read_text())
        content["weights"] = {}
        (s.folder / s.manifest_file).write_text(json.dumps(content))
    assert ("models/m", False) in {(d.file, d.altered) for d in copy.verify().damage}


def test_a_parents_pointer_that_was_deleted_is_found(copy):
    pointer = copy.store.pointer_file("user_profiles", "reddit")
    pointer.unlink()
    name = str(pointer.relative_to(copy.home.root))
    chain = walk(copy.store, resolve(copy.store, RECIPE).snapshot)
    assert name in {d.file for d in verify(copy.store, chain, None, copy.profile, declared=DECLARED).damage if d.altered}
    assert copy.wrong() == {name}


@pytest.mark.parametrize("change", ["identity", "files", "upstream", "name"])
def test_a_forged_manifest_beside_the_true_one_is_found(copy, change):
    snapshot = copy.store.published("user_profiles", "reddit")
    content = json.loads((snapshot.folder / snapshot.manifest_file).read_text())
    if change == "identity":
        content["identity"]["forged"] = True
    if change == "files":
        content["files"]["items.parquet"]["sha256"] = "0" * 64
    if change == "upstream":
        content["upstream"][0]["manifest_sha256"] = "0" * 64
    name = "manifest-0000000000000000.json" if change == "name" else f"manifest-{content['identity_hash'][:16]}.json"
    forged = snapshot.folder / name
    forged.write_text(json.dumps(content))
    chain = walk(copy.store, resolve(copy.store, RECIPE).snapshot)
    assert {d.file for d in verify(copy.store, chain, None, copy.profile).damage if d.altered}
    assert copy.wrong()


def test_symbolic_links_in_place_of_files_and_folders_are_found(copy, tmp_path):
    folder = copy.folder("user_profiles", "reddit")
    for path in (folder / "items.parquet", folder, folder.parent, copy.home.root / "answers", copy.home.root / "journal"):
        elsewhere = tmp_path / "elsewhere"
        shutil.move(path, elsewhere)
        path.symlink_to(elsewhere)
        name = str(path.relative_to(copy.home.root))
        chain = walk(copy.store, resolve(copy.store, RECIPE).snapshot)
        assert name in {d.file for d in verify(copy.store, chain, None, copy.profile).damage if d.altered}
        assert name in copy.wrong()
        path.unlink()
        shutil.move(elsewhere, path)


def test_an_answer_that_was_planted_changes_the_anchor_and_without_its_hash_is_named(copy):
    before = copy.verify()
    journal = Journal(copy.home.root)
    journal.put(Answer("e" * 64, "m", "judge", "reddit/u1", "item", 3, 2, "stop", "planted"))
    journal.close()
    assert copy.verify().anchor != before.anchor
    with sqlite3.connect(journal.path) as db:
        db.execute("update answers set row_sha256 = '' where key = ?", [b"\xee" * 32])
    db.close()
    assert copy.wrong() == {"journal/answers.sqlite"}


def test_an_index_of_the_journal_that_names_other_users_is_found(copy):
    with sqlite3.connect(copy.home.root / "journal" / "answers.sqlite") as db:
        (page,) = db.execute("select rootpage from sqlite_master where name = 'answers_subject'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    db.close()
    path = copy.home.root / "journal" / "answers.sqlite"
    content = bytearray(path.read_bytes())
    at = content.index(b"reddit/u1", (page - 1) * size)
    content[at : at + 9] = b"reddit/x1"
    path.write_bytes(content)
    assert copy.wrong() == {"journal/answers.sqlite"}


def test_a_parent_that_is_not_the_one_referenced_is_said_by_every_audit(copy):
    """The manifest of a superseded version's parent, whose hash only its child knows."""
    old = min(read_retained(copy.store), key=lambda s: (s.manifest.asset != "user_profiles", s.manifest.started_at))
    published = copy.store.published("user_profiles", "reddit")
    old = next(s for s in read_retained(copy.store) if s.item == published.item and s.key != published.key)
    path = old.folder / old.manifest_file
    path.write_text(path.read_text().replace('"run_id": "rrrrrrrr"', '"run_id": "forged!!"'))
    name = str(path.relative_to(copy.home.root))
    assert name in {d.file for d in trace(copy.store, user_id="reddit/u1", all_versions=True).damage}
    assert name in copy.wrong()


def test_a_rewrite_of_everything_is_found_by_the_anchor(copy, capsys):
    """Rows, hashes, references and pointers forged together agree with each other, but not with what the user kept."""
    before = copy.verify().anchor
    shutil.rmtree(copy.home.root / "snapshots")
    shutil.rmtree(copy.home.root / "published")
    copy.without = {"reddit:t3_two02"}
    copy.run()
    assert copy.verify().passed, "a forger who repeats all steps leaves a home that fits"
    lines: list[str] = []
    profile = copy.profile
    assert audit_home(copy.home.root, profile, anchor=before, echo=lines.append, warn=lines.append) == 1
    assert "not the anchor given" in lines[-1]
    assert audit_home(copy.home.root, profile, anchor=copy.verify().anchor[:16], echo=lines.append, warn=lines.append) == 0


def test_the_anchor_is_what_sha256sum_gives(copy):
    import hashlib
    import subprocess

    from humanllm_assets.lineage.audit.files_of_home import list_files

    names = sorted(str(p.relative_to(copy.home.root)) for p in list_files(copy.home.root))
    listed = subprocess.run(["sha256sum", *names], cwd=copy.home.root, capture_output=True, check=True).stdout
    assert hashlib.sha256(listed).hexdigest() == copy.verify().anchor


def test_the_command_prints_the_anchor_and_compares_it(project, monkeypatch):
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    project.home.root.mkdir(parents=True)
    shown = CliRunner().invoke(cli.app, ["audit", "--verify"])
    assert shown.exit_code == 0, shown.output
    anchor = shown.output.split()[-1]
    assert CliRunner().invoke(cli.app, ["audit", "--verify", "--anchor", anchor]).exit_code == 0
    (project.home.root / "notes.txt").write_text("?")
    again = CliRunner().invoke(cli.app, ["audit", "--verify", "--anchor", anchor])
    assert again.exit_code == 1 and "WRONG  notes.txt" in again.output
    assert CliRunner().invoke(cli.app, ["audit"]).exit_code == 2
    assert digest(OUTSIDE) and set(map(find_pattern, OUTSIDE))
