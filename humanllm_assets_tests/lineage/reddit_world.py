"""The real graph up to the task data sets over two tiny subreddits, driven step by step without Dagster.

Every text names its author in most sentences and the server copies what it is told to clean, so that a request shows whom it is
about.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import yaml

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.nodes import Graph, Runtime
from humanllm_assets.lineage.step import run_step
from humanllm_assets_tests.conftest import Project, small_profile
from resources.llm import dummy_server
from resources.llm.dummy_server import DummyServer
from resources.llm.engine import Engine

USERS = {"one": ("alice", "bella", "carol", "doris"), "two": ("elena", "fiona")}
NAMES = tuple(name for names in USERS.values() for name in names)
CAP = 3  # users of a slice that are asked about: one of slice `one` is not
RECORDS = 5
_RECORD = re.compile(r"<record>\n(.*)\n</record>", re.S)
_answer = dummy_server.answer_to


def copying_answer(body: dict[str, Any]) -> tuple[str, list[tuple[str, float]]]:
    """As the dummy server answers, but a record to be cleaned comes back unchanged."""
    named = body.get("response_format", {}).get("json_schema", {}).get("name")
    if named == "Rewritten":
        found = _RECORD.search(body["messages"][-1]["content"])
        assert found
        return json.dumps({"text": found[1]}), [("{", 0.0)]
    return _answer(body)


def submission(name: str, number: int, extra: str = "") -> dict[str, Any]:
    """The user's record of that number, one day after the one before."""
    text = " ".join(
        f"On day {number} I told {who} that {name} had {what}{extra}."
        for who, what in (("my sister", "fixed the kitchen door"), ("a friend", "walked home in the rain"))
        for _ in range(3)
    )
    return {
        "id": f"{name}{number}",
        "author": name,
        "title": f"Day {number} of {name}",
        "selftext": text,
        "created_utc": 1_600_000_000 + 86_400 * number,
        "score": 5,
        "num_comments": 4,
        "distinguished": None,
    }


@dataclass
class RedditWorld:
    """Files, profile and home below one folder; `run` brings everything up to date and tells what was asked."""

    root: Path
    server: DummyServer
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    computed: list[tuple[str, str]] = field(default_factory=list)  # partitions that the latest run computed

    def __post_init__(self) -> None:
        self.rows = self.rows or {
            name: [submission(user, n) for user in users for n in range(RECORDS)] for name, users in USERS.items()
        }
        profile = small_profile(self.server.base_url)
        slices = {name: {"files": [f"{name}.ndjson"]} for name in USERS}
        profile["sources"] = {"reddit": {"folder": str(self.root / "reddit"), "slices": slices}}
        profile["benchmarks"], profile["contestants"] = {}, {}
        profile["thresholds"]["caps"] = {"max_users_per_slice": CAP}
        profile["thresholds"]["users"] = {}
        profile["thresholds"]["labels"] |= {"keep_quality": ["high", "medium", "low"], "keep_harmful": ["no", "yes"]}
        profile["thresholds"]["qc"] = {"overall_above": 0, "metric_above": 0, "min_pass_rate": 0.0, "kept_bands": {}}
        self.root.mkdir(exist_ok=True)
        self.project = Project(self.root / "home", self.root / "small.yaml")
        self.project.profile_file.write_text(yaml.safe_dump(profile, sort_keys=False))

    def copy_to(self, root: Path) -> RedditWorld:
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return RedditWorld(root, self.server, {name: list(rows) for name, rows in self.rows.items()})

    @property
    def graph(self) -> Graph:
        return build_graph(self.project.profile, self.project.home)

    def run(self) -> list[dict[str, Any]]:
        """Write the files and run every partition, parents first; returns the bodies that the server got."""
        return self.run_to(("qc_scores", "task_datasets"))

    def run_to(self, assets: Sequence[str]) -> list[dict[str, Any]]:
        """The same up to some assets."""
        folder = self.root / "reddit"
        folder.mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            content = "".join(json.dumps(row) + "\n" for row in rows)
            if not (folder / f"{name}.ndjson").exists() or (folder / f"{name}.ndjson").read_text() != content:
                (folder / f"{name}.ndjson").write_text(content)
        before = self.server.requests
        graph = self.graph
        self.computed = run_graph(self.project, graph, [(a, p) for a in assets for p in graph[a].partitions])
        return list(self.server.bodies)[len(self.server.bodies) - (self.server.requests - before) :]

    def published_text(self) -> str:
        return published_text(self.project, self.graph)


def run_graph(project: Project, graph: Graph, targets: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Bring the targets and what is above them up to date, without Great Expectations; returns the partitions that computed."""
    computed = []
    with Engine(project.profile, project.home.root) as engine:
        runtime = Runtime(project.profile, graph, project.home, project.store, _connect, lambda: engine)
        for asset, partition in graph.upstream_closure(targets):
            node = graph[asset]
            outcome = run_step(node, partition, runtime, log=lambda line: None, run_id="test", audit=lambda node, step: {})
            assert outcome.snapshot.manifest.counts.unaccounted == 0, (asset, partition)
            if not outcome.reused:
                computed.append((asset, partition))
    return computed


def published_text(project: Project, graph: Graph) -> str:
    """Every published table, as text."""
    parts = []
    for asset, partition in graph.all_partitions():
        snapshot = project.store.published(asset, partition)
        if snapshot is not None:
            for table in snapshot.manifest.tables:
                rows = duckdb.sql(f"select to_json(t)::varchar from read_parquet('{snapshot.path(table)}') t").fetchall()
                parts += [row for (row,) in rows]
    return "\n".join(parts)


@contextmanager
def _connect() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        yield con


def about(bodies: list[dict[str, Any]]) -> set[str]:
    """The users whom requests name."""
    text = json.dumps([b["messages"] for b in bodies])
    return {name for name in NAMES if name in text.lower()}


def kinds(bodies: list[dict[str, Any]]) -> dict[str, int]:
    """Requests by the answer they ask for."""
    names = [b["response_format"]["json_schema"]["name"] for b in bodies]
    return {name: names.count(name) for name in sorted(set(names))}
