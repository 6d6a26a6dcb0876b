"""The graph as Dagster sees it: its snapshot, its mappings, and what loading it must not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from humanllm_assets.graph import GROUPS, OWNERS, build_graph
from humanllm_assets.orchestration.build import build_definitions
from resources.home import Home
from resources.profile import PROJECT_ROOT, load_profile

HEAVY = (
    "torch",
    "vllm",
    "transformers",
    "deepspeed",
    "mergekit",
    "great_expectations",
    "pandas",
    "matplotlib",
    "presidio_analyzer",
    "spacy",
)
SNAPSHOTS = Path(__file__).parent.parent / "graph_snapshots"


@pytest.fixture(params=["local", "paper"])
def profile(request):
    return load_profile(request.param)


@pytest.fixture
def definitions(profile, tmp_path):
    return build_definitions(profile, Home(tmp_path))


def describe(definitions: dg.Definitions) -> dict:
    """What a reviewer wants to see change by change: groups, owners, kinds, partitions, parents, checks."""
    graph = definitions.resolve_asset_graph()
    found = {}
    for key in sorted(graph.get_all_asset_keys(), key=lambda k: k.to_user_string()):
        node = graph.get(key)
        partitions = node.partitions_def.get_partition_keys() if node.partitions_def else []
        found[key.to_user_string()] = {
            "group": node.group_name,
            "owners": sorted(node.owners),
            "kinds": sorted(node.kinds),
            "partitions": len(partitions),
            "first_partitions": [str(p) for p in list(partitions)[:3]],
            "parents": sorted(p.to_user_string() for p in node.parent_keys),
            "checks": sorted(c.name for c in node.check_keys),
            "columns": [c.name for c in node.metadata["dagster/column_schema"].columns]
            if "dagster/column_schema" in node.metadata
            else [],
        }
    return found


def test_the_graph_is_what_was_reviewed(profile, definitions):
    """After an intended change: UPDATE_SNAPSHOTS=1 pytest humanllm_assets_tests/orchestration/test_definitions.py, and review the diff."""
    path = SNAPSHOTS / f"{profile.name}.json"
    now = json.dumps(describe(definitions), indent=1) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(now)
    assert now == path.read_text()


def test_every_asset_is_documented(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name in GROUPS and node.group_name in OWNERS
        assert node.description and len(node.description) > 40, key
        assert node.kinds and node.owners, key
        assert "dagster/column_schema" in node.metadata, key


def test_dagster_maps_partitions_as_the_planner_does(profile, definitions, tmp_path):
    """The nodes' dicts decide what a step reads; Dagster's mappings decide what the UI and the daemon launch: what a step reads,
    and of these assets and of the extra ones in `launch_deps` what is further upstream, nothing else."""
    dagster_graph, graph = definitions.resolve_asset_graph(), build_graph(profile, Home(tmp_path))
    for node in graph.nodes.values():
        for partition in node.partitions[:5] + node.partitions[-2:]:
            found = dagster_graph.get_parents_partitions(dg.AssetKey(node.name), partition or None).parent_partitions
            theirs = {(p.asset_key.to_user_string(), str(p.partition_key or "")) for p in found}
            parents = node.parents(partition)
            assert set(parents) <= theirs <= set(graph.upstream_closure(parents)), (node.name, partition)


def test_loading_the_code_location_imports_nothing_heavy():
    code = f"import sys, humanllm_assets.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    env = {**os.environ, "HUMANLLM_PROFILE": "paper"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=PROJECT_ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_validate_with_the_workspace(tmp_path):
    env = {**os.environ, "HUMANLLM_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path), "HUMANLLM_PROFILE": "local"}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=PROJECT_ROOT)
    assert done.returncode == 0 and "successful" in done.stdout + done.stderr, done.stderr[-2000:]
