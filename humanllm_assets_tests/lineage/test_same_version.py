"""Law: the same inputs give the same data version, in any folder, process and order, with the hub switched off or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets_tests.in_process import InProcess
from resources.home import Home
from resources.model_files import normalise_model_folder
from resources.profile import PROJECT_ROOT

ELSEWHERE = """
import sys
from pathlib import Path
from humanllm_assets_tests.conftest import Project
from humanllm_assets_tests.in_process import InProcess

run = InProcess(Project(Path(sys.argv[1]), Path(sys.argv[2])))
todo, done = list(reversed(run.graph.all_partitions())), set()
while todo:
    item = next(i for i in todo if done.issuperset(run.graph[i[0]].parents(i[1])))
    todo.remove(item)
    done.add(item)
    failure = run.run(item)
    assert failure is None, failure
"""


def versions(run: InProcess, store: SnapshotStore) -> dict[str, str | None]:
    found = {}
    for asset, partition in run.graph.all_partitions():
        snapshot = store.published(asset, partition)
        found[f"{asset}[{partition}]"] = snapshot.data_version if snapshot else None
    return found


OTHER = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}


def test_every_asset_made_elsewhere_and_in_another_order_has_the_same_version(project, tmp_path):
    here = InProcess(project)
    summary = here.refresh()
    assert not summary.failed and not summary.skipped
    there = tmp_path / "elsewhere" / "deeper"
    there.mkdir(parents=True)
    command = [sys.executable, "-c", ELSEWHERE, str(there), str(project.profile_file)]
    env = {**os.environ, **OTHER, "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(command, cwd=there, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = versions(here, here.store)
    assert None not in expected.values()
    assert versions(here, SnapshotStore(Home(there / project.profile.name).root)) == expected


def test_notes_of_the_call_leave_no_trace_in_a_model_folder(tmp_path):
    settings = {"eos_token": "<|im_end|>", "model_max_length": 8192, "added_tokens_decoder": {"2": {"content": "x"}}}
    for name, notes in (
        ("one", {"local_files_only": True, "is_local": True, "name_or_path": "/one/base"}),
        ("two", {"name_or_path": "org/base", "local_files_only": False}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer_config.json").write_text(
            json.dumps({**notes, **settings} if name == "one" else {**settings, **notes})
        )
        (folder / "config.json").write_text(json.dumps({"_name_or_path": notes["name_or_path"], "hidden_size": 64}))
        (folder / "tokenizer.json").write_text('{"model": {"vocab": {"b": 0, "a": 1}}}')
        normalise_model_folder(folder)
    files = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()}
    assert json.loads(files["tokenizer_config.json"]) == settings
    assert files["tokenizer.json"] == b'{"model": {"vocab": {"b": 0, "a": 1}}}'
