"""A source is an entry of `SOURCES`, two modules and the slices of a profile: a toy one is really made, in a copy of the product."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from humanllm_assets_tests.lineage.edited_copy import copy_product, replace

ENTRY = """
SOURCES["diary"] = SourceFacts(
    title="Diaries, one slice per year", label="Diary", site="diary", rules=DiaryRules, text_kind="diary entry", has_scenarios=False
)
"""
RULES_TYPE = '''
class DiaryRules(Strict):
    """Of the toy source."""

    min_chars: int = 20


'''
LAYOUTS = '''
"""Diaries: one JSON object per line."""

from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import no_time, say_problem

ENTRY = Shape(
    "writer",
    say_problem(writer="writer IS NULL", day=no_time("unix_time(day)", "1970-01-01")),
    {
        "record_id": "'diary:' || writer || ':' || day",
        "user_id": "'diary/' || writer",
        "created_at": "unix_time(day)",
        "text": "coalesce(clean_text(entry), '')",
    },
)
FILES = SourceFiles((Layout("diary", ("writer", "day", "entry"), ENTRY),))
'''
RULES = '''
"""Diaries: entries that say enough."""

from humanllm_assets.filtering.rule import Rule, RuleSet


def list_rules(rules):
    return [Rule("too_short", f"n_chars < {rules.min_chars}")]


RULES = RuleSet("toy", list_rules)
'''
LAYOUTS_FILE, RULES_FILE = "humanllm_assets/sources/diary.py", "humanllm_assets/filtering/rules/diary.py"
RUN = """
import json, sys
from pathlib import Path
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.nodes import Runtime
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import run_step
from resources.engine_resource import duckdb_resource
from resources.home import Home
from resources.profile import load_profile

profile, home = load_profile("local"), Home(Path(sys.argv[1]))
graph, store = build_graph(profile, home), SnapshotStore(home.root)
runtime = Runtime(profile, graph, home, store, duckdb_resource(profile, home).get_connection, lambda: None)
found = {"partitions": {n.name: n.partitions for n in graph.nodes.values()}}
for asset in ("raw_diary", "eligible_diary"):
    run_step(graph[asset], "2020", runtime, log=lambda line: None, audit=lambda node, step: {"passed": True})
    counts = store.published(asset, "2020").manifest.counts
    found[asset] = [counts.entered, counts.kept, counts.dropped]
path = str(store.published("eligible_diary", "2020").path("records"))
with duckdb_resource(profile, home).get_connection() as con:
    found["records"] = con.execute("select record_id, user_id, text from read_parquet(?) order by 1", [path]).fetchall()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product with a toy source: four files of the product are touched."""
    root = tmp_path_factory.mktemp("product")
    copy_product(root)
    edit(
        root / "resources/sources.py",
        lambda text: replace("@dataclass(frozen=True)", RULES_TYPE + "@dataclass(frozen=True)")(text) + ENTRY,
    )
    (root / LAYOUTS_FILE).write_text(LAYOUTS)
    (root / RULES_FILE).write_text(RULES)
    slices = "sources:\n  diary: {folder: diaries, slices: {'2020': {files: ['*.ndjson']}}}\n"
    edit(root / "resources/profiles/local.yaml", replace("\nsources:\n", "\n" + slices))
    return root


def edit(file: Path, change: Any) -> None:
    file.write_text(change(file.read_text()))


def run_python(product: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(product), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=product, env=env, capture_output=True, text=True, check=False
    )


def test_a_toy_source_goes_from_its_file_to_eligible_records(product: Path, tmp_path: Path) -> None:
    lines = [
        {"writer": "ida", "day": 1_600_000_000, "entry": "We walked along the river until it was dark."},
        {"writer": "ida", "day": 1_600_086_400, "entry": "Rain."},
        {"writer": "ole", "day": None, "entry": "Nobody knows when I wrote this entry."},
    ]
    (product / "diaries").mkdir()
    (product / "diaries/a.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run_python(product, RUN, str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["raw_diary"] == [3, 3, {}]
    assert found["eligible_diary"] == [3, 1, {"too_short": 1, "unreadable": 1}]
    assert found["records"] == [["diary:ida:1600000000", "diary/ida", "We walked along the river until it was dark."]]
    assert "diary" in found["partitions"]["user_profiles"] and "diary" not in found["partitions"]["scenarios"]
    assert "writing_imitation-diary" in found["partitions"]["task_datasets"]


BUILD = """
import sys
from pathlib import Path
from humanllm_assets.graph import build_graph
from resources.errors import Explained
from resources.home import Home
from resources.profile import load_profile

try:
    build_graph(load_profile("local"), Home(Path(sys.argv[1])))
except Explained as e:
    print(e)
"""


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (LAYOUTS_FILE, None, f"the source `diary` has no FILES; add {LAYOUTS_FILE} with `FILES = SourceFiles(...)`"),
        (RULES_FILE, None, f"the source `diary` has no RULES; add {RULES_FILE} with `RULES = RuleSet(...)`"),
        (RULES_FILE, "RULES = ()", f"the source `diary` has no RULES; define `RULES = RuleSet(...)` in {RULES_FILE}"),
    ],
)
def test_a_missing_part_is_named_when_the_graph_is_built(
    product: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    before = (product / file).read_text()
    try:
        (product / file).unlink()
        if text is not None:
            (product / file).write_text(text)
        done = run_python(product, BUILD, str(tmp_path))
    finally:
        (product / file).write_text(before)
    assert done.stdout.strip() == message, done.stderr[-3000:]
