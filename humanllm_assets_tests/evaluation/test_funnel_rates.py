"""Kept shares of stages and rules, beside the paper's and inside the profile's bands; outside a band the contract warns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.contracts.gx_runner import run_contract
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.evaluation import funnel_report
from humanllm_assets.evaluation.funnel_rates import Rate, paper_share, rate_rows, rule_rates
from humanllm_assets.graph import build_graph
from humanllm_assets.pages.page import Context
from humanllm_assets.sql import arrow_schema
from humanllm_assets.tables import FUNNEL_RATES
from resources.home import Home
from resources.profile import ProfileError, load_profile, parse_profile, profile_path
from resources.thresholds import SourceBands, Thresholds


def test_a_rule_is_judged_by_the_rows_that_reach_it() -> None:
    rates = rule_rates("reddit", 100, {"too_short": 30, "bot": 10, "unreadable": 20}, ["bot", "low_score", "too_short"])
    assert [(r.rule, r.entered, r.kept) for r in rates] == [
        ("unreadable", 100, 80),
        ("bot", 80, 70),
        ("low_score", 70, 70),
        ("too_short", 70, 40),
    ]
    assert Rate("reddit", "rules", 0, 0, "bot").share is None


def test_the_papers_shares_are_those_of_table_a1() -> None:
    found = {source: paper_share(source, "filtering") for source in ("reddit", "twitter", "blogger", "amazon", "reddit_comments")}
    assert {k: v and round(v, 4) for k, v in found.items()} == {
        "reddit": 0.0593, "twitter": 0.0076, "blogger": 0.5404, "amazon": 0.003, "reddit_comments": None,
    }  # fmt: skip
    assert paper_share("amazon", "qc_scenarios") is None and paper_share("reddit", "rules") is None
    assert round(paper_share("blogger", "qc_social_qa") or 0, 3) == 0.268


def test_the_bands_of_the_profile_paper_hold_the_papers_shares() -> None:
    thresholds = load_profile("paper").thresholds
    for source in ("reddit", "twitter", "blogger", "amazon"):
        for stage in ("filtering", "qc_users", "qc_scenarios", "qc_social_qa"):
            band, share = getattr(thresholds.bands_of(source), stage), paper_share(source, stage)
            assert (band is None) == (share is None)
            assert band is None or band[0] < share < band[1]  # type: ignore[operator]
    assert all(band == SourceBands() for band in dict(load_profile("local").thresholds.bands).values())


RATES = [
    Rate("reddit", "filtering", 100, 30),
    Rate("reddit", "rules", 100, 60),
    Rate("reddit", "rules", 80, 8, "bot"),
    Rate("reddit", "qc_users", 0, 0),
]


@pytest.mark.parametrize(
    ("bands", "outside"),
    [
        (SourceBands(), []),
        (SourceBands(filtering=(0.3, 0.3), by_rule={"bot": (0.1, 0.2)}), []),
        (SourceBands(filtering=(0.31, 0.5)), ["reddit filtering"]),
        (SourceBands(by_rule={"bot": (0.2, 1)}), ["reddit rules bot"]),
        (SourceBands(qc_users=(0, 1)), ["reddit qc_users"]),  # nothing reached it
    ],
)
def test_a_share_outside_its_band_warns_by_name_and_blocks_nothing(
    bands: SourceBands, outside: list[str], tmp_path: Path
) -> None:
    rows = rate_rows(RATES, {"reddit": bands})
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(FUNNEL_RATES)), tmp_path / "rates.parquet")
    run = run_contract(
        Contract.load("funnel_report", Thresholds()), {"rates": tmp_path / "rates.parquet"}, {}, tmp_path / "docs", "t"
    )
    [in_band] = [
        e for e in run.verdict()["expectations"] if e["expected"].endswith("every share lies in the band of the profile")
    ]
    assert run.passed and in_band["severity"] == "warning" and in_band["status"] == ("fail" if outside else "pass")
    assert all(name in str(in_band) for name in outside)
    page, _ = funnel_report.funnel_report(funnel_report.FunnelInputs([], [], [], [], [], Context("tiny", "e", "d", "now"), rows))
    assert page.count(">outside<") == len(outside) and "30.00%" in page


def test_a_band_of_a_rule_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    text = profile_path("local").read_text()
    wrong = text.replace("thresholds:\n", "thresholds:\n  bands: {reddit: {by_rule: {to_short: [0, 1]}}}\n", 1)
    with pytest.raises(ProfileError, match="`to_short`, which is no rule of reddit; its rules are deleted_account"):
        build_graph(parse_profile(wrong, "edited"), Home(tmp_path))["funnel_report"].own_identity("")
    with pytest.raises(ProfileError, match="lowest share"):
        parse_profile(text.replace("thresholds:\n", "thresholds:\n  bands: {reddit: {rules: [1, 0]}}\n", 1), "edited")
