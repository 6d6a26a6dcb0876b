"""What of a file's rows belongs to a slice: subreddits of a dump of all of Reddit, and a window of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import ValidationError

from humanllm_assets.filtering.rule import selection_rules
from humanllm_assets.filtering.rules.amazon import amazon_candidates
from humanllm_assets.filtering.verdicts import SliceFilter
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.tombstones import user_hash
from humanllm_assets.sources.readers import ReadReport, read_parts
from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import table, write_lines
from resources.home import Home
from resources.profile import Profile, ProfileError, Source, load_profile, parse_profile
from resources.sources import AmazonRules, RedditRules


def source(**given: Any) -> Source:
    slices = {"s": {"files": ["*"], **({"subreddits": given.pop("subreddits")} if "subreddits" in given else {})}}
    return Source.model_validate({"folder": ".", "slices": slices, **given})


def filtered(path: Path, chosen: Source, forgotten: tuple[str, ...] = ()) -> tuple[dict[str, int], list[str], list[str]]:
    """Counts by reason, ids of kept and of listed dropped posts."""
    with duckdb.connect() as con:
        rules = SliceFilter(
            con, "reddit", RedditRules(), path.parent, forgotten=forgotten, selection=selection_rules(chosen, "s")
        )
        for _ in read_parts(con, "reddit", "s", [path], path.parent / "work", ReadReport()):
            rules.take("raw_part")
        rules.gather()
        counts = rules.finish()
        kept, dropped = ([row["record_id"] for row in table(con, name)] for name in ("kept_rows", "dropped_rows"))
    return counts, [i.removeprefix("reddit:t3_") for i in kept], [i.removeprefix("reddit:t3_") for i in dropped]


def post(name: str, **given: Any) -> dict[str, Any]:
    return rows.submission(**{"id": name, "selftext": f"{name} {rows.STORY}", "subreddit": "AskDaily", **given})


def test_rows_of_other_subreddits_are_counted_first_and_belong_to_no_other_reason(tmp_path: Path) -> None:
    posts = [post("a"), post("b", subreddit="askdaily"), post("c", subreddit="worries"), post("d", subreddit=None)]
    posts += [post("e", subreddit="worries", score=0), post("f", score=0)]
    counts, kept, dropped = filtered(write_lines(tmp_path / "RS.ndjson", posts), source(subreddits=["ASKdaily"]))
    assert {k: n for k, n in counts.items() if n} == {"other_subreddit": 3, "low_score": 1}
    assert next(iter(counts)) == "other_subreddit" and sum(counts.values()) + len(kept) == len(posts)
    assert (kept, dropped) == (["a", "b"], ["f"])  # a dump of all of Reddit serves many slices: others' rows are listed nowhere


@pytest.mark.parametrize(
    ("window", "kept"),
    [
        ({}, ["a", "b", "c"]),
        ({"from": "2020-09-13"}, ["b", "c"]),
        ({"until": "2020-09-14"}, ["a", "b"]),
        ({"from": "2020-09-13T00:00:00Z", "until": "2020-09-14T02:00:00+02:00"}, ["b"]),
        ({"from": "2020-09-13T00:00:01"}, ["c"]),
    ],
)
def test_a_window_takes_its_first_moment_and_leaves_its_end(window: dict[str, str], kept: list[str], tmp_path: Path) -> None:
    days = {
        "a": 1_599_955_199,
        "b": 1_599_955_200,
        "c": 1_600_041_600,
    }  # the last second of 12 September 2020; 13th; 14th, 0:00 UTC
    path = write_lines(tmp_path / "RS.ndjson", [post(name, created_utc=time) for name, time in days.items()])
    counts, found, dropped = filtered(path, source(**window))
    assert found == kept and sorted([*found, *dropped]) == list(days)
    assert counts.get("outside_time_window", 0) == len(dropped)
    assert ("outside_time_window" in counts) == bool(window)


def test_a_forgotten_user_is_forgotten_in_every_subreddit(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "RS.ndjson", [post("a", author="alice", subreddit="worries"), post("b")])
    counts, kept, _ = filtered(path, source(subreddits=["askdaily"]), (user_hash("reddit/alice"),))
    assert {k: n for k, n in counts.items() if n} == {"forgotten": 1} and kept == ["b"]


def test_reviews_outside_the_window_hold_up_no_core(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [rows.review_2023(timestamp=1_500_000_000_000 + n * 10**11) for n in range(3)])
    with duckdb.connect() as con:
        for _ in read_parts(con, "amazon", "s", [path], tmp_path / "work", ReadReport()):
            amazon_candidates(con, AmazonRules(), "raw_part", selection_rules(source(**{"from": "2020-01-01"}), "s"))
        assert len(table(con, "candidates")) == 2


def _identities(profile: Profile, tmp_path: Path) -> dict[str, dict[str, Any]]:
    graph = build_graph(profile, Home(tmp_path))
    return {f"{n.name}[{p}]": n.own_identity(p) for n in graph.nodes.values() for p in n.partitions}


def test_a_selection_changes_the_identity_of_the_slices_that_it_is_about_and_of_nothing_else(tmp_path: Path) -> None:
    profile = load_profile("local")
    text = profile_text()
    split = text.replace(
        "askdaily: {files: [askdaily_submissions.ndjson]}",
        "askdaily: {files: [askdaily_submissions.ndjson], subreddits: [askdaily]}",
    )
    timed = text.replace("folder: resources/sample/amazon\n", "folder: resources/sample/amazon\n    from: 2010-01-01\n")
    before = _identities(profile, tmp_path)
    assert not any("selection" in identity for identity in before.values())
    for edited, changed in (
        (split, ["eligible_reddit[askdaily]"]),
        (timed, ["amazon_core[]", "eligible_amazon[Home_and_Kitchen]", "eligible_amazon[Patio_Lawn_and_Garden]"]),
    ):
        assert edited != text
        after = _identities(parse_profile(edited, "edited"), tmp_path)
        assert sorted(k for k in before if before[k] != after[k]) == changed


def profile_text() -> str:
    from resources.profile import profile_path

    return profile_path("local").read_text()


def test_a_selection_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValidationError, match="earlier"):
        source(**{"from": "2021-01-01", "until": "2021-01-01"})
    with pytest.raises(ValidationError):
        source(subreddits=["r/askdaily"])
    wrong = profile_text().replace("shard-0: {files: [shard_0.parquet]}", "shard-0: {files: [shard_0.parquet], subreddits: [x]}")
    with pytest.raises(ProfileError, match="sources.twitter.slices.shard-0 has `subreddits`, which only files of Reddit have"):
        parse_profile(wrong, "edited")
    with pytest.raises(ProfileError, match="did you mean `until`"):
        parse_profile(profile_text().replace("  reddit:\n", "  reddit:\n    untill: 2020-01-01\n", 1), "edited")
