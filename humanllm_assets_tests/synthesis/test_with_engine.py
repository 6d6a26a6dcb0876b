"""The stages through the real engine and HTTP: all schemas are served, a rerun asks nothing, failures are accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from humanllm_assets.filtering.rewriting import Rules, rewrite_and_label
from humanllm_assets.quality.judge import judge_items
from humanllm_assets.synthesis.scenarios import write_scenarios
from humanllm_assets.synthesis.social_qa import REFINEMENT, write_social_qa
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets.synthesis.users import write_profiles
from humanllm_assets_tests.filtering.scripted_engine import Tables
from humanllm_assets_tests.filtering.tables import record, with_table
from humanllm_assets_tests.resources.engine_helpers import make_engine
from resources.item_kinds import ITEM_KINDS, USER_TEXTS
from resources.llm.dummy_server import DummyServer
from resources.llm.engine import Engine
from resources.profile import Role
from resources.prompting.prompts import Prompt
from resources.thresholds import GATES, Gates, Labels, Qc, Users

TEXT = "I walked to the lake with my sister, and we talked about home, work and the strange summer that was over. " * 3


def run_all(engine: Engine) -> list[dict[str, Any]]:
    """Every LLM stage over four invented records, each with its counts and rows."""
    role = Role(model="m", max_field_chars=400, max_tokens=800, attempts=2)
    rows = [record(f"r{i}", day=i, text=f"{TEXT} {i}") for i in range(4)]
    con = with_table(rows, "selected")
    con.execute("create table records as select * from selected")
    user_sets(con, Users())
    found = []

    def stage(function: Any, *arguments: Any) -> Tables:
        tables = Tables()
        found.append({"counts": function(con, engine, *arguments, tables, lambda _: None), "tables": tables})
        return tables

    filter_prompts = [(role, Prompt.load(name)) for name in ("rewrite_record", "label_record")]
    labels = Labels(keep_quality=["high", "medium", "low"], keep_harmful=["yes", "no"], min_kept=0, max_added=1)
    stage(rewrite_and_label, *filter_prompts, Rules(labels, Gates(warn=list(GATES))), "reddit")
    made = {
        "profile_items": stage(write_profiles, role, {kind.name: Prompt.load(kind.prompt) for kind in USER_TEXTS}, {}),
        "scenario_items": stage(write_scenarios, role, Prompt.load("scenario")),
        "qa_items": stage(
            write_social_qa,
            role,
            {"triplets": Prompt.load("social_qa"), "refinement": Prompt.load(REFINEMENT)},
            Users(qa_per_kind=1),
        ),
    }
    import pyarrow as pa

    for name, tables in made.items():
        con.register("rows", pa.Table.from_pylist(tables.rows("items")))
        con.execute(f"create table {name} as select * from rows")
    stage(judge_items, role, {kind.name: Prompt.load(kind.judge_prompt) for kind in ITEM_KINDS}, Qc())
    return found


@pytest.mark.timeout(120)
def test_every_stage_is_served_and_a_rerun_asks_nothing(tmp_path: Path) -> None:
    with DummyServer() as server, make_engine(tmp_path, [server.base_url]) as engine:
        first = run_all(engine)
        assert [stage["counts"].asked for stage in first][1:] == [4, 4, 8, 20]
        assert not any(stage["tables"].rows("failures") for stage in first)
        calls = engine.usage.calls
        second = run_all(engine)
        assert calls == 20 and engine.usage.calls == 0
        assert [stage["counts"] for stage in first] == [stage["counts"] for stage in second]
