"""A data home with the real tables' columns and few made-up rows: from two source files to a merged model, in both directions.

Its nodes have the names of the graph's; what they compute is drawn from a seeded generator, so that the audits are compared with a
reading of all rows and not with what somebody expected.
"""

from __future__ import annotations

import json
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb

from humanllm_assets import sql
from humanllm_assets import tables as t
from humanllm_assets.lineage.nodes import Dep, Graph, Node, Runtime, Step, every, same
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import run_step
from humanllm_assets.pages.model_card import write_lineage
from resources.files import sha256_file
from resources.home import Home
from resources.llm.journal import Answer, Journal
from resources.profile import Profile, load_profile

SLICES = ("one", "two")
RECIPE = "tiny"
EVERYTHING = (
    ("raw_reddit", "one"), ("raw_reddit", "two"), ("filtered_reddit", "one"), ("filtered_reddit", "two"), ("user_profiles", "reddit"),
    ("qc_scores", "reddit"), ("task_datasets", "writing-reddit"), ("sft_checkpoint", RECIPE), ("merged_model", RECIPE),
    ("benchmark_items", "writing"), ("benchmark_scores", "writing|tiny"),
)  # fmt: skip


class _Engine:
    """Stands in for the engine: says which journal answers were used."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.calls, self._used = journal, [], b""

    def answer(self, key: str, subject: str, content: str) -> None:
        answer = self.journal.put(Answer(key * 64, "m", "rewrite", subject, key, 1, 1, "stop", content))
        self._used += bytes.fromhex(answer.key) + answer.digest

    def used_so_far(self) -> int:
        return len(self._used)

    def used_since(self, mark: int) -> bytes:
        return self._used[mark:]


@dataclass
class Audited:
    """`without`: records that the filter drops; changing it makes a second version of everything below."""

    root: Path
    without: set[str] = field(default_factory=set)
    settings: dict[str, int] = field(default_factory=lambda: {"min_chars": 5})
    records: int = 24

    def __post_init__(self) -> None:
        self.sources = self.root / "dumps"
        self.sources.mkdir(parents=True, exist_ok=True)
        for name in SLICES:
            (self.sources / f"{name}.ndjson").write_text(f'{{"slice": "{name}"}}\n')
        prompts = self.home.root / "prompts"
        prompts.mkdir(parents=True, exist_ok=True)
        self.prompt = "## user\nSay something.\n"
        (prompts / f"{self.prompt_sha256}.md").write_text(self.prompt)

    @property
    def prompt_sha256(self) -> str:
        import hashlib

        return hashlib.sha256(self.prompt.encode()).hexdigest()

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.home.root)

    @property
    def profile(self) -> Profile:
        profile = load_profile("local")
        reddit = profile.sources["reddit"].model_copy(update={"folder": str(self.sources)})
        return profile.model_copy(update={"sources": {"reddit": reddit}})

    def run(self) -> Audited:
        """Bring everything up to date."""
        self.home.root.mkdir(exist_ok=True)
        journal = Journal(self.home.root)
        engine = _Engine(journal)

        @contextmanager
        def connect():
            with duckdb.connect() as con:
                yield con

        graph = self.graph()
        runtime = Runtime(self.profile, graph, self.home, self.store, connect, lambda: engine)
        for name, partition in EVERYTHING:
            run_step(graph[name], partition, runtime, log=lambda _: None, run_id="r" * 8, audit=lambda node, step: {})
        journal.close()
        return self

    def folder(self, asset: str, partition: str) -> Path:
        snapshot = self.store.published(asset, partition)
        assert snapshot is not None
        return snapshot.folder

    # ---- the graph ----

    def graph(self) -> Graph:
        def node(
            name: str, tables: dict[str, sql.Table], compute: Any, partitions: tuple[str, ...], *deps: Dep, **more: Any
        ) -> Node:
            return Node(name, "tasks", name, frozenset(), tables, compute, partitions, deps=deps, **more)

        pair, source = ("writing-reddit",), ("reddit",)
        return Graph([
            node("raw_reddit", {"files": t.RAW_FILES}, self._raw, SLICES, external=lambda p: {"p": p}),
            node("filtered_reddit", {"records": t.FILTERED, "dropped": t.DROPPED, "failures": t.FAILURES}, self._filtered, SLICES,
                 Dep("raw_reddit", same(SLICES)), identity=self._filter_identity),
            node("user_profiles", {"items": t.PROFILES}, self._profiles, source, Dep("filtered_reddit", every(source, SLICES))),
            node("qc_scores", {"scores": t.SCORES}, self._scores, source, Dep("user_profiles", same(source))),
            node("task_datasets", {"samples": t.SAMPLES, "dropped": t.DROPPED_SAMPLES}, self._samples, pair,
                 Dep("filtered_reddit", every(pair, SLICES)), Dep("user_profiles", every(pair, source)), Dep("qc_scores", every(pair, source))),
            node("sft_checkpoint", {"consumed": t.CONSUMED, "metrics": t.TRAINING_METRICS}, self._train, (RECIPE,),
                 Dep("task_datasets", every((RECIPE,), pair)), keeps_forever=True),
            node("merged_model", {"check": t.MERGE_CHECK}, self._merge, (RECIPE,), Dep("sft_checkpoint", same((RECIPE,))), keeps_forever=True),
            node("benchmark_items", {"items": t.BENCHMARK_ITEMS}, self._items, ("writing",), Dep("task_datasets", every(("writing",), pair))),
            node("benchmark_scores", {"answers": t.ANSWERS}, self._answers, ("writing|tiny",),
                 Dep("benchmark_items", {"writing|tiny": ("writing",)}), Dep("merged_model", {"writing|tiny": (RECIPE,)})),
        ])  # fmt: skip

    def _filter_identity(self, partition: str) -> dict[str, Any]:
        return {
            "rules": dict(self.settings),
            "without": sorted(self.without),
            "rewriter": {
                "model": {"name": "m", "revision": "1"},
                "prompts": {"say": {"name": "say", "text_sha256": self.prompt_sha256, "schema": None}},
            },
        }

    def _raw(self, step: Step) -> None:
        file = self.sources / f"{step.partition}.ndjson"
        row = {
            "file": file.name,
            "kind": "records",
            "layout": "ndjson",
            "bytes": file.stat().st_size,
            "sha256": sha256_file(file),
        }
        step.write("files", [row])
        step.count(1, 1, {})

    def _filtered(self, step: Step) -> None:
        draw, kept, dropped, failures = random.Random(step.partition), [], [], []
        for i in range(self.records):
            record_id, user = f"reddit:t3_{step.partition}{i:02}", f"reddit/u{draw.randrange(5)}"
            others = f"reddit:t3_{step.partition}{i - 1:02}" if i and draw.random() < 0.7 else None
            row = {"record_id": record_id, "source": "reddit", "slice": step.partition, "user_id": user, "text": f"text {i}",
                   "created_at": datetime(2024, 1, 1) + timedelta(hours=i), "context_id": others}  # fmt: skip
            chance = draw.random()
            if chance < 0.2 or record_id in self.without:
                dropped.append({"record_id": record_id, "user_id": user, "reason": "harmful"})
            elif chance < 0.3:
                failures.append({"item_id": record_id, "prompt": "say", "reason": "invalid", "raw": "?"})
                dropped.append({"record_id": record_id, "user_id": user, "reason": "llm_failed:invalid"})
            else:
                kept.append(row)
        key = {"one": "a", "two": "b"}[step.partition]
        step.engine.answer(key, "reddit/u0", f"answer of {step.partition}")
        for name, rows in (("records", kept), ("dropped", dropped), ("failures", failures)):
            step.write(name, rows)
        step.count(self.records, len(kept), {"left_out": len(dropped)})

    def _all(self, step: Step, asset: str, table: str) -> list[dict[str, Any]]:
        step.view("v", asset, table)
        cursor = step.con.execute("select * from v order by all")
        names = [c[0] for c in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _profiles(self, step: Step) -> None:
        by_user: dict[str, list[str]] = {}
        for r in self._all(step, "filtered_reddit", "records"):
            by_user.setdefault(r["user_id"], []).append(r["record_id"])
        step.write("items", [
            {"item_id": f"{u}#{k}", "kind": k, "user_id": u, "text": "x", "n_words": 1, "record_ids": ids[: len(ids) // 2 + 1]}
            for u, ids in by_user.items() for k in ("persona", "style")
        ])  # fmt: skip

    def _scores(self, step: Step) -> None:
        for i, item in enumerate(self._all(step, "user_profiles", "items")):
            kept = i % 3 > 0
            step.write("scores", [{"item_id": item["item_id"], "item_kind": item["kind"], "user_id": item["user_id"], "overall": 9,
                                   "kept": kept, "dropped_by": None if kept else "overall"}])  # fmt: skip

    def _samples(self, step: Step) -> None:
        draw, kept, dropped = random.Random(7), [], []
        items = {s["user_id"]: s["item_id"] for s in self._all(step, "qc_scores", "scores") if s["kept"]}
        behind = {i["item_id"]: i["record_ids"] for i in self._all(step, "user_profiles", "items")}
        records = self._all(step, "filtered_reddit", "records")
        kept_ids = {r["record_id"] for r in records}
        for r in records:
            sample, item = f"writing-reddit:topic:{r['record_id']}", items.get(r["user_id"])
            if item is None or draw.random() < 0.2:
                dropped.append(
                    {"sample_id": sample, "user_id": r["user_id"], "record_id": r["record_id"], "reason": "no_persona"}
                )
                continue
            kept.append({"sample_id": sample, "task": "writing", "source": "reddit", "subtask": "topic", "user_id": r["user_id"],
                         "split": "test" if r["user_id"] == "reddit/u3" else "train", "target_record_id": r["record_id"],
                         "record_ids": sorted({r["record_id"], *behind[item], *({r["context_id"]} & kept_ids)}),
                         "item_ids": [item], "answer": "a",
                         "conversations": json.dumps([])})  # fmt: skip
        step.write("samples", kept)
        step.write("dropped", dropped)

    def _train(self, step: Step) -> None:
        ids = [s["sample_id"] for s in self._all(step, "task_datasets", "samples") if s["split"] == "train"]
        for epoch in range(2):
            random.Random(epoch).shuffle(ids)
            at = epoch * len(ids)
            step.write("consumed", [{"position": at + i, "step": (at + i) // 4 + 1, "epoch": epoch, "rank": 0, "sample_id": s}
                                    for i, s in enumerate(ids)])  # fmt: skip
        step.measures["steps"] = (2 * len(ids) - 1) // 4 + 1
        step.count(len(ids), len(ids), {})
        self._model(step, f"weights of {len(ids)}")

    def _model(self, step: Step, weights: str) -> None:
        (step.writer.folder / "model.safetensors").write_text(weights)
        facts = SimpleNamespace(asset=step.node.name, partition=step.partition, identity=step.identity_hash)
        write_lineage(step.writer.folder, vars(facts))
        step.writer.volatile("lineage.json")

    def _merge(self, step: Step) -> None:
        tuned = step.inputs["sft_checkpoint"][RECIPE].folder / "model.safetensors"
        step.write("check", [{"tensor": "w", "elements": 1, "max_abs_error": 0.0}])
        self._model(step, f"half of {tuned.read_text()}")

    def _items(self, step: Step) -> None:
        for s in self._all(step, "task_datasets", "samples"):
            if s["split"] == "test":
                step.write("items", [{"item_id": f"writing:{s['sample_id']}", "benchmark": "writing", "user_id": s["user_id"],
                                      "control": "none", "sample_id": s["sample_id"], "record_ids": s["record_ids"]}])  # fmt: skip

    def _answers(self, step: Step) -> None:
        for i in self._all(step, "benchmark_items", "items"):
            step.write("answers", [{"item_id": i["item_id"], "benchmark": "writing", "contestant": "tiny", "user_id": i["user_id"],
                                    "is_correct": True}])  # fmt: skip
