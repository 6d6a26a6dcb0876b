"""Laws of the suites as data; nothing here imports Great Expectations."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from humanllm_assets import tables as schemas
from humanllm_assets.contracts.suite import MEASURES, SUITES, Contract, ContractError
from humanllm_assets.quality.assets import qc_lists
from humanllm_assets.quality.keeping import threshold
from humanllm_assets_tests.contracts import examples
from resources.item_kinds import ITEM_KINDS, QA
from resources.sources import RedditRules
from resources.thresholds import Gates, Rules, Thresholds

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
    assert "measures.share_within_words >= 0.9" in words


def test_the_contract_asks_of_each_kind_the_metrics_that_it_declares() -> None:
    contract = examples.load("qc_scores")
    asked = {
        (e.kwargs["row_condition"]["conditions"][1]["parameter"], e.kwargs["column"])
        for e in contract.tier("critical")
        if e.id.endswith("_answered")
    }
    assert asked == {(kind.name, metric) for kind in ITEM_KINDS for metric in kind.metrics}
    (kinds,) = [e.kwargs["value_set"] for e in contract.expectations if e.id == "scores.item_kind"]
    assert kinds == [kind.name for kind in ITEM_KINDS]
    assert "scores.leakage is never null where kept = true and item_kind = qa (Q2)" in contract.describe("critical")


def test_a_declared_metric_is_part_of_the_contracts_version() -> None:
    without_leakage = replace(QA, metrics=tuple(m for m in QA.metrics if m != "leakage"))
    changed = Contract.load("qc_scores", Thresholds(), lists=qc_lists([*ITEM_KINDS[:-1], without_leakage], Gates()))
    assert changed.version != examples.load("qc_scores").version
    assert examples.load("qc_scores").rules.keys() - changed.rules.keys() == {"scores.qa_leakage_answered"}


LISTED = """
description: A table.
tables:
  records:
    key: record_id
    expectations:
      - each: limits
        id: "{kind}_words"
        type: expect_column_values_to_be_between
        kwargs: {column: n, min_value: "{shortest}", max_value: "{longest}"}
      - each: limits
        id: "{kind}_query"
        type: unexpected_rows_expectation
        kwargs: {unexpected_rows_query: "SELECT record_id FROM {batch} WHERE kind = {kind}"}
        description: no {kind}
      - {id: kinds, type: expect_column_values_to_be_in_set, kwargs: {column: kind, value_set: {$VALUES: limits.kind}}}
"""


def test_an_expectation_is_written_once_and_repeated_for_every_row_of_its_list() -> None:
    limits = [
        {"kind": "a'b", "shortest": None, "longest": 3},
        {"kind": "c", "shortest": {"$PARAMETER": "words.profile_min"}, "longest": None},
    ]
    contract = Contract.parse("example", LISTED, Thresholds(), lists={"limits": limits})
    found = {e.id: e for e in contract.expectations}
    assert list(found) == ["records.a'b_words", "records.c_words", "records.a'b_query", "records.c_query", "records.kinds"]
    assert found["records.a'b_words"].kwargs == {"column": "n", "max_value": 3}
    assert found["records.c_words"].kwargs == {"column": "n", "min_value": 100}
    assert found["records.a'b_query"].kwargs["unexpected_rows_query"] == "SELECT record_id FROM {batch} WHERE kind = 'a''b'"
    assert found["records.c_query"].rule == "records: no c"
    assert found["records.kinds"].kwargs["value_set"] == ["a'b", "c"]


def test_a_list_that_was_not_given_is_named() -> None:
    with pytest.raises(ContractError, match="reads the list `limits`, which was not given"):
        Contract.parse("example", LISTED, Thresholds())


def test_loading_contracts_and_checks_does_not_import_great_expectations() -> None:
    code = (
        "import sys; import humanllm_assets.orchestration.checks, humanllm_assets.contracts.gx_runner;"
        "import humanllm_assets.contracts.suite as c;"
        "from resources.profile import Thresholds; c.Contract.load('raw', Thresholds());"
        "sys.exit(bool({'great_expectations', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
