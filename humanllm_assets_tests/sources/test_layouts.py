"""Every official layout is recognised; anything else is refused with what was found and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.layouts import detect_layout, load_files
from humanllm_assets_tests.sources import rows

ITEM_2018 = {"asin": "P1", "title": "A pan", "category": ["Kitchen"], "description": ["Round"]}
ITEM_2023 = {"parent_asin": "P1", "title": "A pan", "main_category": "Kitchen", "description": ["Round"]}


def detect(source: str, path: Path) -> str:
    return str(detect_layout(load_files(source).records, path))


@pytest.mark.parametrize(
    ("source", "name", "row", "layout"),
    [
        ("reddit", "a.ndjson", rows.submission(), "pushshift-ndjson"),
        ("reddit", "a.json", rows.submission(), "pushshift-ndjson"),
        ("reddit", "a_submissions", rows.submission(), "pushshift-ndjson"),
        ("reddit", "a.ndjson.gz", rows.submission(), "pushshift-ndjson.gz"),
        ("reddit", "a.zst", rows.submission(), "pushshift-zst"),
        ("reddit_comments", "a.ndjson", rows.comment(), "pushshift-ndjson"),
        ("reddit_comments", "a.zst", rows.comment(), "pushshift-zst"),
        ("amazon", "a.jsonl", rows.review_2023(), "amazon-2023-jsonl"),
        ("amazon", "a.jsonl.gz", rows.review_2023(), "amazon-2023-jsonl.gz"),
        ("amazon", "a.json", rows.review_2018(), "amazon-2018-json"),
        ("amazon", "a.json.gz", rows.review_2018(), "amazon-2018-json.gz"),
    ],
)
def test_lines_of_json_are_told_by_their_fields(tmp_path: Path, source: str, name: str, row: dict[str, Any], layout: str) -> None:
    broken_first = [b'{"id": "cut', {"note": "another object"}, row]
    assert detect(source, rows.write_lines(tmp_path / name, broken_first)) == layout


@pytest.mark.parametrize(
    ("name", "row", "layout"),
    [("a.jsonl.gz", ITEM_2023, "amazon-2023-items-jsonl.gz"), ("a.json.gz", ITEM_2018, "amazon-2018-items-json.gz")],
)
def test_context_files_have_layouts_of_their_own(tmp_path: Path, name: str, row: dict[str, Any], layout: str) -> None:
    broken_first = [b'{"id": "cut', {"note": "another object"}, row]
    assert str(detect_layout(load_files("amazon").context, rows.write_lines(tmp_path / name, broken_first))) == layout


def test_parquet_csv_and_xml_are_told_by_their_columns_or_name(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([rows.submission()]), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist([rows.tweet()]), tmp_path / "t.parquet")
    (tmp_path / "b.csv").write_text("id,gender,age,topic,sign,date,text\n")
    (tmp_path / "7.male.26.indUnk.Virgo.xml").write_text("<Blog>\n</Blog>")
    assert detect("reddit", tmp_path / "a.parquet") == "pushshift-parquet"
    assert detect("twitter", tmp_path / "t.parquet") == "twitter100m-parquet"
    assert detect("blogger", tmp_path / "b.csv") == "blogtext-csv"
    assert detect("blogger", tmp_path / "7.male.26.indUnk.Virgo.xml") == "blog-xml"
    with pytest.raises(SourceError, match=r"found the columns author, created_utc.* expected parquet with user, id, tweet, date"):
        detect("twitter", tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("source", "name", "content", "message"),
    [
        ("blogger", "b.csv", b"id,words\n", "found the columns id, words; expected csv/csv.gz with id, gender"),
        ("reddit", "c.csv", b"id,words\n", "found the columns id, words; expected ndjson"),
        (
            "reddit",
            "c.ndjson",
            b'{"id": 1, "body": "x"}\n',
            "no row with all needed fields; the widest row has the fields body, id",
        ),
        ("reddit", "c.ndjson", b"hello\n", "none of its first 1 lines is a JSON object"),
        ("reddit", "c.ndjson", b"", "is empty"),
        ("reddit", "c.json", b'[{"id": 1},\n{"id": 2},\n{"id": 3}]\n', "it is a JSON array; expected one object per line"),
        ("reddit", "c.json", b'[\n{"id": 1},\n{"id": 2},\n{"id": 3}\n]\n', "it is a JSON array"),
        ("reddit", "c.json", b'[{"id": 1}, {"id": 2}]', "it is a JSON array"),
        ("reddit", "c.ndjson", b"[" * 100_000, "it is a JSON array"),
        (
            "twitter",
            "t.jsonl",
            b'{"user": "a", "id": 1, "tweet": "x", "date": "y"}\n',
            "found lines of JSON .* expected parquet with user",
        ),
        ("blogger", "b.jsonl", b'{"id": 1}\n', "found lines of JSON"),
        ("twitter", "t.parquet", b"no parquet", "not a Parquet file as its name says"),
        ("blogger", "my.xml", b"<Blog>", "give it its original name"),
        ("blogger", "7.male.26.indUnk.Virgo.xml", b"<rss>", "found no <Blog>"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path: Path, source: str, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        detect(source, tmp_path / name)
    assert name in str(error.value)


def test_posts_are_not_taken_for_comments(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="body"):
        detect("reddit_comments", rows.write_lines(tmp_path / "RS.ndjson", [rows.submission()]))
