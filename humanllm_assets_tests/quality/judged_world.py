"""A tiny home of judged items on disk: what the human check is drawn from, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from humanllm_assets.quality.human_sample import draw_items
from humanllm_assets.quality.human_sheet import DrawnItem, HumanSample
from humanllm_assets.quality.judged_items import find_judged
from humanllm_assets.sql import Table, arrow_schema
from humanllm_assets.tables import FILTERED, PROFILES, SCENARIOS, SCORES, SOCIAL_QA
from resources.item_kinds import ITEM_KINDS

NOON = datetime(2021, 3, 4, 12)
METRICS_OF = {kind.name: kind.metrics for kind in ITEM_KINDS}


def write_table(path: Path, table: Table, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(table)
    pq.write_table(pa.Table.from_pylist([{n: r.get(n) for n in schema.names} for r in rows], schema=schema), path)
    return path


@dataclass
class JudgedWorld:
    """Users with all kinds of items; `text` decides what the items and records say."""

    folder: Path
    users: int = 6
    sources: tuple[str, ...] = ("reddit", "twitter")
    backwards: bool = False
    text: str = "{} said that the lake froze"

    def __post_init__(self) -> None:
        self.files: dict[str, dict[str, Path]] = {}
        self.records: dict[str, list[Path]] = {}
        for source in self.sources:
            self._write(source)

    def _write(self, source: str) -> None:
        users = [f"{source}/user{n}" for n in range(self.users)]
        users = users[::-1] if self.backwards else users
        of = {"user_profiles": [], "scenarios": [], "social_qa": [], "qc_scores": [], "filtered": []}
        for n, user in enumerate(sorted(users)):
            record = f"{source}:r{n}"
            base = {"user_id": user, "created_at": NOON}
            of["filtered"].append({**base, "record_id": record, "source": source, "slice": "s", "text": self.text.format(record)})
            for kind in ("persona", "profile", "stories", "style"):
                item = {"item_id": f"{user}#{kind}", "user_id": user, "kind": kind, "text": self.text.format(kind)}
                of["user_profiles"].append({**item, "record_ids": [record]})
            parts = {p: self.text.format(p) for p in ("background", "characters", "plots", "scenario", "question", "answer")}
            of["scenarios"].append({**base, **parts, "item_id": f"{record}#scenario", "record_id": record})
            of["social_qa"].append({**base, **parts, "item_id": f"{record}#qa1", "record_id": record})
            items = [(f"{user}#{k}", k, None) for k in ("persona", "profile", "stories", "style")]
            items += [(f"{record}#scenario", "scenario", record), (f"{record}#qa1", "qa", record)]
            for item_id, kind, about in items:
                kept = n % 3 != 0
                scores = dict.fromkeys(METRICS_OF[kind], 9 if kept else 3 + n % 5)
                row = {"item_id": item_id, "item_kind": kind, "user_id": user, "record_id": about, "kept": kept, **scores}
                of["qc_scores"].append({**row, "dropped_by": None if kept else METRICS_OF[kind][0]})
        tables = {
            "user_profiles": PROFILES,
            "scenarios": SCENARIOS,
            "social_qa": SOCIAL_QA,
            "qc_scores": SCORES,
            "filtered": FILTERED,
        }
        for asset, rows in of.items():
            rows = rows[::-1] if self.backwards else rows
            path = write_table(self.folder / asset / f"{source}.parquet", tables[asset], rows)
            if asset == "filtered":
                self.records[source] = [path]
            else:
                self.files.setdefault(asset, {})[source] = path

    def open(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect()
        find_judged(con, self.files)
        return con

    def draw(self, wanted: int, seed: int = 1) -> list[DrawnItem]:
        return draw_items(self.open(), self.records, wanted, seed)

    def sample(self, wanted: int = 20, seed: int = 1) -> HumanSample:
        versions = {source: f"version-{source}" for source in self.sources}
        return HumanSample("/a/home", "small", seed, versions, self.draw(wanted, seed))
