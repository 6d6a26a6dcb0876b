"""The UI as `humanllm ui` starts it, on a tiny home: what a backfill would launch, and one partition materialized by clicking."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from humanllm_assets.graph import GROUPS, build_graph
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets_tests.conftest import Project, small_profile
from resources.profile import PROFILES, PROJECT_ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PREVIEW = """query ($params: AssetBackfillPreviewParams!) {
    assetBackfillPreview(params: $params) { assetKey { path } partitions { partitionKeys ranges { start end } } } }"""


@dataclass
class Ui:
    project: Project
    url: str

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            content = json.loads(reply.read())
        assert "errors" not in content, content["errors"]
        return content["data"]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    root = tmp_path_factory.mktemp("ui")
    profile_file = root / "small.yaml"
    content = small_profile("http://127.0.0.1:9")  # nothing here asks a model
    local = yaml.safe_load((PROFILES / "local.yaml").read_text())
    content |= {"recipes": local["recipes"], "contestants": local["contestants"]}
    profile_file.write_text(yaml.safe_dump(content, sort_keys=False))
    project = Project(root / "home", profile_file)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with open(root / "ui.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "humanllm_assets.cli", "ui", "--port", str(port)],
            env=project.environment(),
            cwd=PROJECT_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_served(f"http://127.0.0.1:{port}/server_info", process)
        yield Ui(project, f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)  # the daemon ends its threads one after the other
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                assert process.returncode is not None  # the whole group has ended, as it should


def _wait_until_served(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the UI ended at its start"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def _downstream(graph: Graph, item: tuple[str, str]) -> set[tuple[str, str]]:
    """The item and everything that the planner calls stale when it changes."""
    found = {item}
    for asset, partition in graph.all_partitions():
        if any(parent in found and parent[0] not in graph[asset].guards for parent in graph[asset].parents(partition)):
            found.add((asset, partition))
    return found


def test_a_backfill_of_one_partition_launches_exactly_what_depends_on_it(ui):
    graph = build_graph(ui.project.profile, ui.project.home)
    for node in graph.nodes.values():
        if not node.partitioned:
            continue
        wanted = _downstream(graph, (node.name, node.partitions[0]))
        selection = [{"path": [a]} for a in {a for a, _ in wanted}]
        key = "|".join(node.partitions[0].split("|"))
        shown = ui.ask(PREVIEW, params={"partitionNames": [key], "assetSelection": selection})["assetBackfillPreview"]
        launched = {
            (a["assetKey"]["path"][-1], p) for a in shown for p in (a["partitions"] or {"partitionKeys": [""]})["partitionKeys"]
        }
        assert launched == wanted, (node.name, launched ^ wanted)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; on Debian: apt-get install chromium")
def test_a_person_sees_the_stages_and_materializes_one_partition(ui):
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*flags, "--disable-component-update", "--disable-sync"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.goto(f"{ui.url}/asset-groups/", wait_until="domcontentloaded")
        for group in GROUPS:
            page.get_by_text(group, exact=True).first.wait_for(timeout=30_000)
        page.goto(f"{ui.url}/assets/raw_reddit", wait_until="domcontentloaded")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_text("Select a partition or create one").click()
        page.get_by_role("menuitem").filter(has_text="askdaily").first.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Launch").last.click()
        deadline = time.monotonic() + 60
        while ui.project.store.published("raw_reddit", "askdaily") is None and time.monotonic() < deadline:
            time.sleep(0.2)
        page.goto(f"{ui.url}/assets/raw_reddit?view=partitions&partition=askdaily", wait_until="domcontentloaded")
        page.get_by_text("never materialized").first.wait_for(timeout=30_000)  # why it was computed, on the partition's page
        browser.close()
    assert ui.project.store.published("raw_reddit", "askdaily") is not None
    assert ui.project.store.published("raw_reddit", "smalltownlife") is None
