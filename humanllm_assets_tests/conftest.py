"""Fixtures that several stages share: a small profile whose models answer from our OpenAI-compatible dummy server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from humanllm_assets.lineage.snapshots import SnapshotStore
from resources.home import Home
from resources.llm.dummy_server import DummyServer
from resources.profile import PROFILES, PROJECT_ROOT, Profile, parse_profile
from resources.thresholds import GATES


@dataclass
class Project:
    """A data home with a profile of its own, driven by the command that users type."""

    root: Path
    profile_file: Path

    @property
    def profile(self) -> Profile:
        return parse_profile(self.profile_file.read_text(), str(self.profile_file))

    @property
    def home(self) -> Home:
        return Home(self.root / self.profile.name)

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.home.root)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HUMANLLM_HOME": str(self.root), "HUMANLLM_PROFILE": str(self.profile_file)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "humanllm_assets.cli", *arguments]
        return subprocess.Popen(
            command, env=self.environment(), cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=500)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def edit(self, **sections: object) -> None:
        """Replace whole sections of the profile."""
        content = yaml.safe_load(self.profile_file.read_text()) | sections
        self.profile_file.write_text(yaml.safe_dump(content, sort_keys=False))

    def versions(self, assets: Sequence[str]) -> dict[tuple[str, str], str]:
        from humanllm_assets.graph import build_graph

        graph = build_graph(self.profile, self.home)
        found = {}
        for asset in assets:
            for partition in graph[asset].partitions:
                snapshot = self.store.published(asset, partition)
                assert snapshot is not None, (asset, partition)
                found[asset, partition] = snapshot.data_version
        return found


def small_profile(server_url: str) -> dict:
    """The local profile with the dummy server in place of the model, two users a slice and no training."""
    content = yaml.safe_load((PROFILES / "local.yaml").read_text())
    content["name"] = "small"
    content["models"]["smollm2"] = {"name": "dummy", "revision": "1", "endpoints": [server_url]}
    content["thresholds"]["caps"] = {"max_users_per_slice": 3, "max_records_per_user": 5, "min_records_in_slice": 4}
    content["thresholds"]["qc"] = {"overall_above": 2, "metric_above": 1, "min_pass_rate": 0.0, "kept_bands": {}}
    content["thresholds"]["calibration"] = {"items": 0, "severity": "warning"}  # tests of the judge turn it on
    content["thresholds"]["tasks"] = {"test_fraction": 0.5}
    content["thresholds"]["labels"] |= {"min_kept": 0.0, "max_added": 1.0}  # the dummy server answers with a few words
    content["thresholds"]["gates"] = {"warn": list(GATES), "max_stopped": 0.0}  # of the prompt; tests of gates let them stop
    content["recipes"], content["contestants"] = {}, {"smollm2": {"model": "smollm2"}}
    return content


@pytest.fixture
def dummy() -> Iterator[DummyServer]:
    with DummyServer() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, dummy: DummyServer) -> Project:
    profile_file = tmp_path / "small.yaml"
    profile_file.write_text(yaml.safe_dump(small_profile(dummy.base_url), sort_keys=False))
    return Project(tmp_path / "home", profile_file)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Real engines one after the other, in one of the processes: beside each other they are several times slower."""
    for item in items:
        if item.get_closest_marker("real_engine"):
            item.add_marker(pytest.mark.xdist_group("real_engine"))
