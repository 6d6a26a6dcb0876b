"""`raw_*` and `eligible_*` count the same rows of every file: both cut it with the same code."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.graph import build_graph
from humanllm_assets.sources.assets import slice_files
from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.layouts import count_rows, detect_layout, load_files
from humanllm_assets_tests.sources import rows
from resources.home import Home
from resources.profile import load_profile
from resources.sources import SOURCES
from resources.thresholds import Thresholds

CSV_HEADER = b"id,gender,age,topic,sign,date,text\n"
CSV_ROW = b'7,male,26,indUnk,Virgo,"14,May,2004","a text'


def count(source: str, path: Path) -> int:
    return count_rows(path, detect_layout(load_files(source).records, path))


def read(source: str, path: Path) -> int:
    with duckdb.connect(config={"threads": 2}) as con:
        return rows.read(con, source, [path]).rows_read


@pytest.mark.parametrize(
    ("name", "content", "number"),
    [
        ("7.male.26.indUnk.Virgo.xml", b"<Blog><date>1,May,2004</date><post>one</post><date>2,May,2004</date></Blog>", 2),
        ("7.male.26.indUnk.Virgo.xml", b"<Blog><date>1,May,2004</date><post>one <post> two</post></Blog>", 1),
        ("7.male.26.indUnk.Virgo.xml", b"<Blog></Blog>", 0),
        ("b.csv", CSV_HEADER + CSV_ROW + b'"\n' + CSV_ROW + b"\n" + CSV_ROW + b'"\n', 3),  # the second row's quote stays open
        ("b.csv", CSV_HEADER + CSV_ROW + b'\n\nand on"\n', 1),
    ],
)
def test_a_blog_file_has_as_many_rows_for_counting_as_for_reading(tmp_path: Path, name: str, content: bytes, number: int) -> None:
    (tmp_path / name).write_bytes(content)
    assert count("blogger", tmp_path / name) == read("blogger", tmp_path / name) == number


def test_lines_of_json_have_as_many_rows_for_counting_as_for_reading(tmp_path: Path) -> None:
    path = rows.write_lines(tmp_path / "a.zst", [rows.submission(id="a"), b"", b"broken", b"  ", rows.submission(id="b")])
    assert count("reddit", path) == read("reddit", path) == 3


@pytest.mark.parametrize("source", SOURCES)
def test_the_sample_has_as_many_rows_for_counting_as_for_reading(source: str) -> None:
    profile = load_profile("local")
    paths = [path for name in profile.sources[source].slices for path in slice_files(profile, source, name).records]
    assert {path.name: count(source, path) for path in paths} == {path.name: read(source, path) for path in paths}


def test_a_difference_blocks_the_eligible_records() -> None:
    contract = Contract.load("eligible", Thresholds(), source="blogger")
    (rule,) = [e for e in contract.expectations if e.kwargs.get("column") == "rows_differing_from_raw"]
    assert rule.severity == "critical" and (rule.kwargs["min_value"], rule.kwargs["max_value"]) == (0, 0)


def test_raw_files_hold_no_sql_and_eligible_records_their_own_source_alone(tmp_path: Path) -> None:
    graph = build_graph(load_profile("local"), Home(tmp_path))
    of_sources = {f"humanllm_assets.{folder}.{s}" for folder in ("sources", "filtering.rules") for s in SOURCES}
    for source in SOURCES:
        raw, eligible = (set(graph[f"{asset}_{source}"].code_versions("")) for asset in ("raw", "eligible"))
        assert not raw & {*of_sources, "humanllm_assets.sources.readers", "humanllm_assets.sources.shapes"}
        assert eligible & of_sources == {f"humanllm_assets.sources.{source}", f"humanllm_assets.filtering.rules.{source}"}


def test_a_context_file_is_refused_where_the_source_has_no_context(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        detect_layout(load_files("twitter").context, rows.write_lines(tmp_path / "a.ndjson", [rows.submission()]))
