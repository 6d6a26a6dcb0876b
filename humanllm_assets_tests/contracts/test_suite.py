"""Laws of the suites as data; nothing here imports Great Expectations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from humanllm_assets import tables as schemas
from humanllm_assets.contracts.suite import MEASURES, SUITES, Contract, ContractError
from humanllm_assets.quality.judge import APPLIES
from humanllm_assets_tests.contracts import examples
from resources.sources import RedditRules
from resources.thresholds import Rules, Thresholds

STRICTER = Thresholds.model_validate(
    {
        "rules": {s: {"min_chars": 1234} for s in ("reddit", "twitter", "blogger", "amazon", "reddit_comments")},
        "labels": {"keep_quality": ["high", "medium"], "keep_harmful": ["no", "yes"]},
        "words": {"persona_max": 90, "min_share_within": 0.5},
        "qc": {"overall_above": 5, "metric_above": 4, "min_pass_rate": 0.3},
        "failures": {"max_quarantine_rate": 0.2, "max_llm_failure_rate": 0.3, "max_invalid_rate": 0.4},
    }
)
SUITE = """
description: A table.
tables:
  records:
    key: record_id
    expectations:
      - {id: overall, type: expect_column_values_to_be_between, kwargs: {column: n, min_value: {$PARAMETER: qc.overall_above}}}
"""


def parse(text: str, thresholds: Thresholds | None = None, source: str | None = None) -> Contract:
    return Contract.parse("example", text, thresholds or Thresholds(), source)


def test_every_suite_has_an_example() -> None:
    assert {p.stem for p in SUITES.glob("*.yaml")} == set(examples.SUITES)


@pytest.mark.parametrize("thresholds", [Thresholds(), STRICTER], ids=["default", "changed"])
@pytest.mark.parametrize("suite", examples.SUITES)
def test_every_suite_loads_with_all_thresholds_filled_in(suite: str, thresholds: Thresholds) -> None:
    contract = examples.load(suite, thresholds)
    assert contract.expectations
    assert "$PARAMETER" not in repr(contract) and "{source}" not in repr(contract)


@pytest.mark.parametrize("suite", examples.SUITES)
def test_every_column_of_a_suite_exists_in_its_table(suite: str) -> None:
    contract = examples.load(suite)
    assert set(contract.tables) - {MEASURES} == set(examples.GOOD[suite])
    for e in contract.expectations:
        if e.table != MEASURES:
            known = {c.name for c in examples.GOOD[suite][e.table][0]}
            named = {e.kwargs.get("column"), *e.kwargs.get("column_list", []), contract.tables[e.table].key} - {None}
            assert named <= known, e.id


@pytest.mark.parametrize("suite", [s for s in examples.SUITES if examples.GOOD[s]])
def test_ids_are_not_null_and_unique_critically(suite: str) -> None:
    contract = examples.load(suite)
    for table, content in contract.tables.items():
        if table in (MEASURES, "dropped"):
            continue
        types = {
            e.type
            for e in contract.tier("critical")
            if e.table == table and content.key in [e.kwargs.get("column"), *e.kwargs.get("column_list", [])]
        }
        assert "expect_column_values_to_not_be_null" in types
        assert any("unique" in t for t in types)


def test_rules_and_contract_read_the_same_threshold() -> None:
    for source in ("reddit", "twitter", "blogger", "amazon", "reddit_comments"):
        for thresholds in (Thresholds(), STRICTER):
            contract = Contract.load("eligible", thresholds, source)
            bound = next(e.kwargs["min_value"] for e in contract.expectations if e.id == "records.min_chars")
            assert bound == getattr(thresholds.rules, source).min_chars


def test_qc_verdict_and_contract_read_the_same_thresholds() -> None:
    from humanllm_assets.quality.judge import threshold

    for thresholds in (Thresholds(), STRICTER):
        kept = {
            e.kwargs["column"]: e.kwargs for e in examples.load("qc_scores", thresholds).expectations if e.id.endswith("_kept")
        }
        for metric in schemas.METRICS:
            assert kept[metric]["min_value"] == threshold(metric, thresholds.qc)
            assert kept[metric]["strict_min"] is True


def test_a_changed_threshold_changes_the_version_of_the_suites_that_read_it() -> None:
    changed = Thresholds(rules=Rules(reddit=RedditRules(min_chars=301)))
    assert Contract.load("eligible", changed, "reddit").version != Contract.load("eligible", Thresholds(), "reddit").version
    assert Contract.load("eligible", changed, "twitter").version == Contract.load("eligible", Thresholds(), "twitter").version
    assert examples.load("filtered", changed).version == examples.load("filtered").version


def test_comments_descriptions_and_number_spelling_do_not_change_the_version() -> None:
    described = "# a comment\n" + SUITE.replace("A table.", "Other words.").replace("}}}", "}}, description: why}")
    assert parse(described).version == parse(SUITE).version
    eight = Thresholds.model_validate({"qc": {"overall_above": 8.0}})
    assert parse(SUITE, eight).version == parse(SUITE).version


def test_severity_is_part_of_the_version() -> None:
    assert parse(SUITE.replace("{id: overall", "{id: overall, severity: warning")).version != parse(SUITE).version


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("qc.overall_above", "qc.overal_above", "known here: overall_above, metric_above"),
        ("qc.overall_above", "qc", "a group of thresholds"),
        ("qc.overall_above", "caps.max_users_per_slice", "null"),
        ("qc.overall_above", '"rules.{source}.min_chars"', "source="),
        ("id: overall,", "id: overall, severity: fatal,", "severity"),
        ("    key: record_id\n", "", "needs a `key`"),
        ("id: overall,", "idd: overall,", "idd"),
        ("type: expect_column_values_to_be_between", "type: unexpected_rows_expectation", "description"),
    ],
)
def test_a_wrong_suite_is_refused_when_it_is_loaded(old: str, new: str, message: str) -> None:
    with pytest.raises(ContractError, match=message.replace(".", r"\.")):
        parse(SUITE.replace(old, new))


def test_an_id_twice_is_refused() -> None:
    with pytest.raises(ContractError, match=r"records\.overall"):
        parse(SUITE + SUITE.splitlines()[-1])


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(ContractError, match="eligible, filtered"):
        Contract.load("eligable", Thresholds())


def test_descriptions_say_the_rules_with_their_numbers() -> None:
    assert "records.n_chars >= 300" in Contract.load("eligible", Thresholds(), "reddit").describe("critical")
    assert "scores.overall > 8 where kept = true" in examples.load("qc_scores").describe("critical")
    words = examples.load("user_profiles").describe("warning")
    assert "items.n_words >= 100 and <= 400 for at least 90% of the rows where kind = profile" in words


def test_the_answered_metrics_of_the_suite_are_those_that_the_judge_is_asked_for() -> None:
    import duckdb

    (query,) = [
        e.kwargs["unexpected_rows_query"] for e in examples.load("qc_scores").expectations if e.id == "scores.kept_answered"
    ]
    with duckdb.connect() as con:
        for kind, applies in APPLIES.items():
            for metric in schemas.METRICS:
                row: dict[str, Any] = examples.SCORE | {"item_kind": kind, metric: None}
                columns = ", ".join(f"${name} as {name}" for name in row)
                found = con.execute(query.replace("{batch}", f"(select {columns})"), row).fetchall()
                assert bool(found) == (metric in applies), f"{kind} without {metric}"


def test_loading_contracts_and_checks_does_not_import_great_expectations() -> None:
    code = (
        "import sys; import humanllm_assets.orchestration.checks, humanllm_assets.contracts.gx_runner;"
        "import humanllm_assets.contracts.suite as c;"
        "from resources.profile import Thresholds; c.Contract.load('filtered', Thresholds());"
        "sys.exit(bool({'great_expectations', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
