"""A tiny good table set for every suite, and rows that break exactly one expectation each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from humanllm_assets import sql
from humanllm_assets import tables as schemas
from humanllm_assets.contracts.suite import CUSTOM_QUERY, MEASURES, Contract, Expectation, Lists
from humanllm_assets.quality.assets import qc_lists
from humanllm_assets.synthesis.assets import user_text_lists
from humanllm_assets.tasks.assets import task_lists
from resources.item_kinds import ITEM_KINDS, USER_TEXTS
from resources.profile import TASKS
from resources.thresholds import GATES, RECORD_GATES, Gates, Thresholds

Row = dict[str, Any]
NOON = datetime(2020, 1, 1, 12)

RECORD: Row = {
    "record_id": "reddit:t3_good", "source": "reddit", "slice": "s", "user_id": "reddit/u", "created_at": NOON,
    "text": "text", "n_chars": 300, "context_id": "c", "rating": 5.0, "original_chars": 300, "quality": "high", "harmful": "no",
    "private_items_left": 0, "words_kept": 1.0, "words_added": 0.0,
}  # fmt: skip
DROPPED: Row = {"record_id": "reddit:t3_out", "user_id": "reddit/u", "reason": "min_chars"}
PROFILE: Row = {
    "item_id": "good", "kind": "stories", "user_id": "reddit/u", "text": "text", "n_words": 50,
    "record_ids": ["reddit:t3_good"], "cutoff_at": NOON, "cut_records": 0,
}  # fmt: skip
SCENARIO: Row = {
    "item_id": "good", "record_id": "good", "user_id": "reddit/u", "created_at": NOON,
    "background": "b", "characters": "c", "plots": "p", "n_words": 3,
}  # fmt: skip
QA: Row = {
    "item_id": "good", "record_id": "r", "user_id": "reddit/u", "created_at": NOON,
    "kind": "next_action", "scenario": "s", "question": "q", "answer": "a",
}  # fmt: skip
TOPIC: Row = {"item_id": "good", "record_id": "r", "user_id": "reddit/u", "topic": "a day at the lake"}
SCORE: Row = {"item_id": "good", "item_kind": "qa", "user_id": "reddit/u", "record_id": "r", "kept": True} | dict.fromkeys(
    schemas.METRICS, 9
)
GATES_OF_ITEM: Row = {"item_id": "good", "item_kind": "stories", "user_id": "reddit/u", "passed": True} | dict.fromkeys(GATES, 0)
CALIBRATION_SCORE: Row = {
    "score_id": "good", "item_id": "i", "item_kind": "qa", "user_id": "reddit/u", "record_id": "r", "damage": "none",
    "metric": "overall", "score": 9,
}  # fmt: skip
FIGURE: Row = {
    "figure_id": "good",
    "metric": "overall",
    "damage": "any",
    "measure": "auc",
    "value": 0.9,
    "n": 40,
    "required": True,
}
SAMPLE: Row = {
    "sample_id": "good", "task": "social_qa", "source": "reddit", "split": "train", "user_id": "reddit/u",
    "conversations": "[]", "record_ids": ["reddit:t3_good"], "answer": "a", "options": "[]", "created_at": NOON,
}  # fmt: skip
CONTAMINATION: Row = {
    "says": "good", "held_out": "test", "task": "social_qa", "items": 100, "compared": 90, "overlapping": 3, "leaking": 1,
    "leaking_share": 0.01,
}  # fmt: skip
HELD_OUT: Row = {
    "text_id": "good", "held_out": "test", "item_id": "s", "task": "social_qa", "source": "reddit", "user_id": "reddit/u",
    "field": "answer", "passage_id": "p", "words": 40, "samples": 1, "share": 0.5, "longest": 20, "leaks": True,
}  # fmt: skip
OVERLAP: Row = {
    "overlap_id": "good", "passage_id": "p", "sample_id": "s", "split": "train", "task": "social_qa", "source": "reddit",
    "user_id": "reddit/u", "shared": 16, "grams": 32, "share": 0.5, "longest": 20, "leaks": True,
}  # fmt: skip
ITEM: Row = {
    "item_id": "good", "benchmark": "b", "distractor_set": "llm", "control": "none", "prompt": "p",
    "options": '[{"label": "A"}, {"label": "B"}]', "correct": "B",
}  # fmt: skip
ANSWER: Row = {
    "item_id": "good", "benchmark": "b", "contestant": "c", "distractor_set": "llm", "control": "none",
    "chosen": "A", "correct": "A", "is_correct": True, "rank": 1, "position": 0,
}  # fmt: skip
RATE: Row = {
    "rate": "good", "source": "reddit", "stage": "filtering", "entered": 100, "kept": 6, "share": 0.06, "paper": 0.059,
    "low": 0.03, "high": 0.12,
}  # fmt: skip
JUDGED: Row = {"item_id": "good", "benchmark": "b", "contestant": "c", "metric": "realism", "score": 10}

GOOD: dict[str, dict[str, tuple[sql.Table, Row]]] = {
    "raw": {},
    "eligible": {"records": (schemas.RECORDS, RECORD), "dropped": (schemas.DROPPED, DROPPED)},
    "filtered": {"records": (schemas.FILTERED, RECORD), "dropped": (schemas.DROPPED, DROPPED)},
    "user_profiles": {"items": (schemas.PROFILES, PROFILE)},
    "scenarios": {"items": (schemas.SCENARIOS, SCENARIO)},
    "social_qa": {"items": (schemas.SOCIAL_QA, QA)},
    "writing_topics": {"items": (schemas.TOPICS, TOPIC)},
    "judge_calibration": {
        "scores": (schemas.CALIBRATION_SCORES, CALIBRATION_SCORE),
        "figures": (schemas.CALIBRATION_FIGURES, FIGURE),
    },
    "qc_scores": {"scores": (schemas.SCORES, SCORE), "gates": (schemas.GATE_MEASURES, GATES_OF_ITEM)},
    "task_datasets": {"samples": (schemas.SAMPLES, SAMPLE)},
    "contamination": {
        "summary": (schemas.CONTAMINATION, CONTAMINATION),
        "held_out": (schemas.HELD_OUT, HELD_OUT),
        "overlaps": (schemas.OVERLAPS, OVERLAP),
    },
    "sft_checkpoint": {},
    "merged_model": {},
    "benchmark_items": {"items": (schemas.BENCHMARK_ITEMS, ITEM)},
    "benchmark_scores": {"answers": (schemas.ANSWERS, ANSWER), "application_answers": (schemas.APPLICATION_ANSWERS, JUDGED)},
    "funnel_report": {"rates": (schemas.FUNNEL_RATES, RATE)},
}
SUITES = tuple(GOOD)

# Rows that break a custom query, which cannot be derived from its arguments.
CUSTOM_BREAKS: dict[str, Row] = {
    "user_profiles:items.names_its_records": {"record_ids": []},
    "scenarios:items.parts_written": {"plots": "  "},
    "social_qa:items.parts_written": {"answer": None},
    "writing_topics:items.topic_written": {"topic": " "},
    "task_datasets:samples.names_its_records": {"record_ids": None},
    "benchmark_items:items.answer_among_options": {"correct": "C"},
    "benchmark_scores:answers.is_correct": {"chosen": None},
}


LISTS: dict[str, Lists] = {
    "user_profiles": user_text_lists(USER_TEXTS),
    "filtered": Gates().lists(RECORD_GATES),
    "qc_scores": qc_lists(ITEM_KINDS, Gates()),
    "task_datasets": task_lists(TASKS),
}


def load(suite: str, thresholds: Thresholds | None = None) -> Contract:
    source = "reddit" if suite == "eligible" else None
    return Contract.load(suite, thresholds or Thresholds(), source, LISTS.get(suite))


def good_measures(contract: Contract) -> dict[str, float]:
    values: dict[str, float] = {}
    for e in contract.expectations:
        if e.table == MEASURES:
            values[e.kwargs["column"]] = e.kwargs.get("min_value", e.kwargs.get("max_value", 0))
    return values


def write(folder: Path, suite: str, rows: Mapping[str, Sequence[Row]]) -> dict[str, Path]:
    paths = {}
    for table, (schema, _) in GOOD[suite].items():
        arrow = sql.arrow_schema(schema)
        content = [{name: row.get(name) for name in arrow.names} for row in rows[table]]
        paths[table] = folder / f"{table}.parquet"
        pq.write_table(pa.Table.from_pylist(content, schema=arrow), paths[table])
    return paths


def good_rows(suite: str) -> dict[str, list[Row]]:
    return {table: [row] for table, (_, row) in GOOD[suite].items()}


def _selected_by(condition: Mapping[str, Any]) -> Row:
    """Column values that a condition selects."""
    if condition["type"] == "and":
        return {name: value for part in condition["conditions"] for name, value in _selected_by(part).items()}
    return {condition["column"]["name"]: condition["parameter"]}


def _breaking_values(suite: str, e: Expectation) -> Row:
    """Column values that break one row-wise expectation."""
    k = e.kwargs
    if e.type == CUSTOM_QUERY:
        return CUSTOM_BREAKS[f"{suite}:{e.id}"]
    values = _selected_by(k["row_condition"]) if "row_condition" in k else {}
    match e.type:
        case "expect_column_values_to_not_be_null":
            values[k["column"]] = None
        case "expect_column_values_to_be_null":
            values[k["column"]] = "something"
        case "expect_column_values_to_be_in_set":
            values[k["column"]] = "elsewhere"
        case "expect_column_values_to_be_between" if "min_value" in k:
            values[k["column"]] = k["min_value"] - (0 if k.get("strict_min") else 1)
        case "expect_column_values_to_be_between":
            values[k["column"]] = k["max_value"] + 1
        case _:
            raise AssertionError(f"no example breaks {e.type}; add one")
    return values


def is_row_wise(e: Expectation) -> bool:
    return e.table != MEASURES and e.type != "expect_table_row_count_to_be_between"


def broken_rows(suite: str, contract: Contract) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The good row and, for every critical row-wise expectation, rows that break it; and expectation id -> failing row's id."""
    rows, failing = good_rows(suite), {}
    for e in contract.expectations:
        if e.severity != "critical" or not is_row_wise(e):
            continue
        key, good = contract.tables[e.table].key, GOOD[suite][e.table][1]
        assert key is not None
        name = f"bad:{e.id}"
        failing[e.id] = name
        if "unique" in e.type:
            columns = e.kwargs.get("column_list") or [e.kwargs["column"]]
            shared = {c: name if c in (key, e.kwargs.get("column")) else good[c] for c in columns}
            own = {c: name for c in (key, "record_id") if c in good}
            rows[e.table] += [good | own | shared] * 2
            continue
        values = _breaking_values(suite, e)
        own = {c: name for c in (key, "record_id") if c in good}
        rows[e.table].append(good | own | values)
        if values.get(key, name) is None:
            failing[e.id] = f"{key}=None"  # a row without its key is named by its columns
    return rows, failing


def broken_measures(contract: Contract) -> dict[str, float]:
    values = good_measures(contract)
    for e in contract.expectations:
        if e.table == MEASURES:
            k = e.kwargs
            values[k["column"]] = k["min_value"] - 1 if "max_value" not in k or k["max_value"] == 1 else k["max_value"] + 0.01
    return values
