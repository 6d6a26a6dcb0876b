"""Laws of running a contract with Great Expectations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from humanllm_assets.contracts.gx_runner import ContractRun, run_contract
from humanllm_assets.contracts.suite import MEASURES, Contract, ContractError
from humanllm_assets.orchestration.checks import check_results, check_specs
from humanllm_assets_tests.contracts import examples
from resources.thresholds import Thresholds


def run(suite: str, tmp_path: Path, rows: Any = None, measures: Any = None, **options: Any) -> ContractRun:
    contract = examples.load(suite)
    paths = examples.write(tmp_path, suite, rows if rows is not None else examples.good_rows(suite))
    return run_contract(contract, paths, examples.good_measures(contract) if measures is None else measures, **options)


def one(expectation: str, severity: str = "critical") -> Contract:
    head = "description: x\ntables:\n  records:\n    key: record_id\n    expectations:\n"
    return Contract.parse("example", f"{head}      - {{id: one, severity: {severity}, {expectation}}}\n", Thresholds())


def records(tmp_path: Path, *rows: examples.Row) -> dict[str, Path]:
    return examples.write(tmp_path, "filtered", {"records": rows or [examples.RECORD], "dropped": []})


@pytest.mark.parametrize("suite", examples.SUITES)
def test_a_good_partition_passes(suite: str, tmp_path: Path) -> None:
    result = run(suite, tmp_path)
    assert [i for i, o in result.outcomes.items() if o.status == "error"] == []
    assert result.passed, result.verdict()["failed"]


@pytest.mark.parametrize("suite", examples.SUITES)
def test_every_critical_expectation_fails_on_its_row_and_names_it(suite: str, tmp_path: Path) -> None:
    contract = examples.load(suite)
    rows, failing = examples.broken_rows(suite, contract)
    result = run(suite, tmp_path, rows, examples.broken_measures(contract))
    assert not result.passed
    for e in contract.tier("critical"):
        outcome = result.outcomes[e.id]
        if e.table == MEASURES:
            assert outcome.status == "fail", e.id
        elif examples.is_row_wise(e):
            assert outcome.status == "fail", e.id
            ids = {row["id"] for row in outcome.sample}
            assert failing[e.id] in ids, (e.id, ids)
            assert "good" not in ids and "reddit:t3_good" not in ids, e.id
            assert outcome.unexpected


@pytest.mark.parametrize("suite", [s for s in examples.SUITES if examples.GOOD[s]])
def test_an_empty_table_does_not_pass_silently(suite: str, tmp_path: Path) -> None:
    contract = examples.load(suite)
    result = run(suite, tmp_path, {t: [] for t in examples.GOOD[suite]}, examples.good_measures(contract) | {"items": 0.0})
    assert any(o.status == "fail" for o in result.outcomes.values())
    assert all(o.status != "error" for o in result.outcomes.values())


def test_an_expectation_that_cannot_be_evaluated_is_an_error_of_any_severity(tmp_path: Path) -> None:
    contract = one("type: expect_column_values_to_not_be_null, kwargs: {column: nope}", "info")
    result = run_contract(contract, records(tmp_path))
    outcome = result.outcomes["records.one"]
    assert outcome.status == "error" and "nope" in outcome.error and not result.passed
    (check,) = check_results(result.verdict(), "a")
    assert not check.passed and check.severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize(
    "expectation",
    [
        "type: expect_column_values_to_be_nice, kwargs: {column: n_chars}",
        "type: expect_column_values_to_be_between, kwargs: {column: n_chars, minimum: 3}",
    ],
)
def test_an_unknown_type_or_argument_raises(expectation: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"records\.one"):
        run_contract(one(expectation), records(tmp_path))


def test_what_a_step_does_not_give_is_refused_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"table `records` is not given.*table `dropped` is not given.*measure `llm_failure_rate`"
    ):
        run_contract(examples.load("filtered"), {}, {"unaccounted_rows": 0})
    with pytest.raises(ContractError, match="measure `rows` is None, not a number"):
        run_contract(examples.load("raw"), {}, {"files": 1, "rows": None})  # type: ignore[dict-item]


def test_an_optional_table_may_be_absent(tmp_path: Path) -> None:
    contract = examples.load("benchmark_scores")
    paths = examples.write(tmp_path, "benchmark_scores", examples.good_rows("benchmark_scores"))
    result = run_contract(contract, {"answers": paths["answers"]}, examples.good_measures(contract))
    assert result.passed
    assert result.outcomes["application_answers.score"].observed == "no such table in this partition"


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -1.0])
def test_a_loss_that_is_no_finite_number_fails(loss: float, tmp_path: Path) -> None:
    measures = examples.good_measures(examples.load("sft_checkpoint"))
    result = run("sft_checkpoint", tmp_path, measures=measures | {"final_loss": loss})
    assert result.outcomes["measures.final_loss"].status == "fail"
    json.dumps(result.verdict(), allow_nan=False)


def test_mostly_counts_the_share_of_the_rows_that_the_condition_selects(tmp_path: Path) -> None:
    def status(short: int) -> str:
        numbers = [5] * short + [200] * (10 - short)
        rows = [examples.RECORD | {"record_id": f"r{i}", "source": "twitter", "n_chars": n} for i, n in enumerate(numbers)]
        elsewhere = [examples.RECORD | {"record_id": f"o{i}", "n_chars": 1} for i in range(20)]
        outcome = run_contract(contract, records(tmp_path, *rows, *elsewhere)).outcomes["records.one"]
        if outcome.status == "fail":
            assert [row["id"] for row in outcome.sample] == [f"r{i}" for i in range(short)]
        return outcome.status

    contract = one(
        "type: expect_column_values_to_be_between, kwargs: {column: n_chars, min_value: 100, mostly: 0.9, "
        'row_condition: {type: comparison, column: {name: source}, operator: "==", parameter: twitter}}',
        "warning",
    )
    assert [status(short) for short in (0, 1, 2)] == ["pass", "pass", "fail"]


def test_paths_and_ids_with_quotes_colons_and_markup_are_data(tmp_path: Path) -> None:
    folder = tmp_path / "it's:a=100%{x}"
    folder.mkdir()
    name = "<img src=http://x.example/a.png onerror=alert(1)>'"
    paths = records(folder, examples.RECORD | {"record_id": name, "n_chars": 0, "quality": "<script src=//x.example></script>"})
    result = run_contract(
        examples.load("filtered"), paths, {"unaccounted_rows": 0, "llm_failure_rate": 0}, tmp_path / "docs", "a/b c/../1"
    )
    assert result.outcomes["records.text_not_empty"].sample == [{"id": name, "value": "0"}]
    page = (tmp_path / "docs" / result.docs["records"]).resolve()
    assert page.is_relative_to(tmp_path / "docs")
    assert_loads_nothing(page)


def assert_loads_nothing(page: Path) -> None:
    from selectolax.lexbor import LexborHTMLParser

    text = page.read_text(encoding="utf-8")
    tree = LexborHTMLParser(text)
    assert tree.css("script, link, img, iframe, object, embed, form, svg, base") == []
    assert "url(" not in text.partition("</style>")[0] and "@import" not in text
    for node in tree.css("*"):
        for name, value in node.attributes.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "style", "action"), (name, value)
            assert name != "href" or re.fullmatch(r"(\.\./)+index\.html", value or ""), value


def test_data_docs_show_thresholds_and_failing_rows_and_load_nothing(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    bad = examples.RECORD | {"record_id": "reddit:t3_bad", "n_chars": 0}
    result = run("filtered", tmp_path, {"records": [bad], "dropped": []}, docs_root=docs, run_name="filtered_reddit/s/1")
    assert result.docs_path == "filtered/filtered_reddit/s/1/records.html"
    pages = sorted(p.relative_to(docs).as_posix() for p in docs.rglob("*") if p.is_file())
    assert pages == sorted(result.docs.values())
    assert {p.rsplit("/", 1)[1] for p in pages} == {"records.html", "dropped.html", "measures.html"}
    for page in pages:
        assert_loads_nothing(docs / page)
    text = (docs / result.docs["records"]).read_text(encoding="utf-8")
    assert "reddit:t3_bad" in text and "records.n_chars &gt;= 1" in text


def test_a_verdict_survives_json_and_gives_the_same_checks(tmp_path: Path) -> None:
    contract = examples.load("qc_scores")
    rows, _ = examples.broken_rows("qc_scores", contract)
    result = run("qc_scores", tmp_path, rows, docs_root=tmp_path / "docs", run_name="qc_scores/reddit/1")
    verdict = result.verdict()
    stored = json.loads(json.dumps(verdict, allow_nan=False))
    assert stored == verdict
    assert str(tmp_path) not in json.dumps(stored)
    specs = check_specs(contract, dg.AssetKey("qc_scores"), dg.StaticPartitionsDefinition(["reddit"]))
    checks = check_results(stored, dg.AssetKey("qc_scores"))
    assert [s.name for s in specs] == [c.check_name for c in checks] == ["qc_scores__critical", "qc_scores__warning"]
    critical, _ = checks
    assert not critical.passed and critical.severity == dg.AssetCheckSeverity.ERROR
    table = critical.metadata["failing_rows"]
    assert isinstance(table, dg.TableMetadataValue)
    assert {"expectation": "scores.overall_kept", "id": "bad:scores.overall_kept", "value": "8"} in [
        r.data for r in table.records
    ]
    outcomes = critical.metadata["outcomes"]
    assert isinstance(outcomes, dg.TableMetadataValue)
    assert set(outcomes.records[0].data) == {"status", "id", "expected", "actual"}


def test_checks_reach_dagster_partitioned_and_serialized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLLM_DOCS_URL", "http://127.0.0.1:3070/")
    contract = examples.load("user_profiles")
    profile = examples.PROFILE | {"kind": "profile", "n_words": 5}
    verdict = run("user_profiles", tmp_path, {"items": [profile]}, docs_root=tmp_path / "docs", run_name="r").verdict()
    partitions = dg.StaticPartitionsDefinition(["reddit"])

    @dg.asset(partitions_def=partitions, check_specs=check_specs(contract, "user_profiles", partitions))
    def user_profiles():
        yield from check_results(verdict, "user_profiles")
        yield dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([user_profiles], partition_key="reddit", instance=instance)
    checks = {e.check_name: e for e in done.get_asset_check_evaluations()}
    assert checks["user_profiles__critical"].passed
    assert not checks["user_profiles__warning"].passed
    assert checks["user_profiles__warning"].severity == dg.AssetCheckSeverity.WARN
    assert checks["user_profiles__info"].passed
    assert (
        checks["user_profiles__warning"].metadata["data_docs_items"].value == "http://127.0.0.1:3070/user_profiles/r/items.html"
    )
    assert {s.name: s.blocking for s in check_specs(contract, "user_profiles", partitions)} == {
        "user_profiles__critical": True,
        "user_profiles__warning": False,
        "user_profiles__info": False,
    }
