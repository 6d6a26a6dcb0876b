"""`read_records`: every row of every layout ends in `raw_records` or in `quarantine`, with its quirks understood."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.sources import readers
from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import read, table, write_lines


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"threads": 2})
    yield connection
    connection.close()


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.zst"])
def test_reddit_lines_with_every_quirk(tmp_path: Path, con: duckdb.DuckDBPyConnection, name: str) -> None:
    path = write_lines(
        tmp_path / name,
        [
            rows.submission(id="a", selftext="Tom &amp;amp; I\r\nwere &gt; 3\u200b&amp;#x200B; ", title=" Hi &quot;there&quot; "),
            rows.submission(id="b", created_utc="1600000000", score=None, num_comments=None),
            rows.submission(id="c", created_utc=1_600_000_000.0, author=None),
            rows.submission(id="d", selftext="[removed]"),
            rows.submission(id="e", selftext="one \ud83d two"),  # json.dumps escapes it, as the dumps do
            rows.submission(id="f", created_utc="soon"),
            b'{"id": "g", "title": "cut',
            b'{"id": "h", "title": "latin \xe9"}',
            b"[1, 2]",
            {k: v for k, v in rows.submission().items() if k != "id"},
            rows.submission(id="i", selftext="nul \x00 inside", score="7", num_comments=2.0),
            rows.submission(id="j", selftext=None),
        ],
    )
    report = read(con, "reddit", [path])
    found = {row["record_id"].removeprefix("reddit:t3_"): row for row in table(con, "raw_records")}
    assert sorted(found) == ["a", "b", "c", "d", "e", "i", "j"]
    assert found["a"]["text"] == 'Hi "there"\n\nTom & I\nwere > 3'
    assert found["a"]["n_chars"] == len(found["a"]["text"])
    assert found["a"]["title"] == 'Hi "there"'
    assert found["a"]["created_at"] == found["b"]["created_at"] == found["c"]["created_at"] == datetime(2020, 9, 13, 12, 26, 40)
    assert (found["b"]["score"], found["b"]["num_comments"]) == (None, None)
    assert (found["i"]["score"], found["i"]["num_comments"]) == (7, 2)
    assert found["c"]["user_id"] == "reddit/[deleted]"
    assert (found["d"]["removed"], found["d"]["text"], found["j"]["text"]) == (True, "A day", "A day")
    assert found["e"]["text"] == "A day\n\none \ufffd two"
    assert found["i"]["text"] == "A day\n\nnul  inside"
    problems = {row["line"]: row["reason"].split(":")[0] for row in table(con, "quarantine")}
    assert problems == {6: "no usable created_utc", 7: "not JSON", 8: "not UTF-8", 9: "not a JSON object", 10: "no usable id"}
    assert {row["file"] for row in table(con, "quarantine")} == {name}
    assert all(row["raw"] for row in table(con, "quarantine"))
    assert report.layouts[name].startswith("pushshift-")


def test_lines_keep_their_numbers_over_chunks_and_files(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_BYTES", 1)  # a chunk per block of 1 MiB
    many: list[dict[str, Any] | bytes] = [rows.submission(id=f"x{i}", selftext="long " * 300) for i in range(2500)]
    many[1700] = b"broken"
    many[2100] = rows.submission(id="late", selftext="\ud83d" + "long " * 300)
    first, second = write_lines(tmp_path / "a.ndjson", many), write_lines(tmp_path / "b.ndjson", [rows.submission(id="z")])
    assert read(con, "reddit", [first, second]).rows_read == 2501
    assert [(row["line"], row["raw"]) for row in table(con, "quarantine")] == [(1701, "broken")]
    found = {row["record_id"]: row for row in table(con, "raw_records")}
    assert [found[f"reddit:t3_{name}"]["line"] for name in ("x0", "x2499", "late", "z")] == [1, 2500, 2101, 1]
    assert not list((tmp_path / "work").iterdir())


def test_blank_and_giant_lines_are_read_one_by_one(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    giant = rows.submission(id="giant", selftext="x" * (20 << 20))
    blank = write_lines(tmp_path / "blank.ndjson", [rows.submission(id="a"), b"", b"   ", rows.submission(id="b")])
    huge = write_lines(tmp_path / "huge.ndjson", [rows.submission(id="c"), giant])
    assert read(con, "reddit", [blank, huge]).rows_read == 4
    assert {(row["record_id"][10:], row["line"]) for row in table(con, "raw_records")} == {
        ("a", 1),
        ("b", 4),
        ("c", 1),
        ("giant", 2),
    }


def test_reddit_parquet_with_and_without_optional_columns(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    full = tmp_path / "full.parquet"
    pq.write_table(pa.Table.from_pylist([rows.submission(id="a"), rows.submission(id=None)]), full)
    bare = tmp_path / "bare.parquet"
    pq.write_table(
        pa.Table.from_pylist([{k: rows.submission(id="b")[k] for k in ("id", "author", "title", "created_utc")}]), bare
    )
    read(con, "reddit", [full, bare])
    assert [(row["record_id"], row["score"]) for row in table(con, "raw_records")] == [("reddit:t3_a", 5), ("reddit:t3_b", None)]
    assert [(row["line"], row["reason"]) for row in table(con, "quarantine")] == [(2, "no usable id")]


def test_comments_get_the_post_they_answer(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    comments = write_lines(
        tmp_path / "RC.zst",
        [
            rows.comment(id="a"),
            rows.comment(id="b", link_id="t3_gone"),
            rows.comment(id="c", link_id=None),
            rows.comment(id="d", link_id="t3_p2"),
        ],
    )
    posts = write_lines(
        tmp_path / "RS.ndjson",
        [
            rows.submission(title="First &amp; best"),
            rows.submission(title="again"),
            b"broken",
            rows.submission(id="p2", selftext="[removed]"),
            rows.submission(id="p3"),
        ],
    )
    report = read(con, "reddit_comments", [comments], [posts])
    assert (report.context_rows, report.context_unreadable) == (2, 1)
    found = {row["record_id"]: row for row in table(con, "raw_records")}
    first = found["reddit_comments:t1_a"]
    assert (first["user_id"], first["context_id"], first["context_title"]) == ("reddit/someone", "reddit:t3_p1", "First & best")
    assert first["context_text"] == rows.STORY.strip() == first["text"]
    assert found["reddit_comments:t1_b"]["context_title"] is None
    assert (found["reddit_comments:t1_d"]["context_title"], found["reddit_comments:t1_d"]["context_text"]) == (None, None)
    assert [row["reason"] for row in table(con, "quarantine")] == ["no usable link_id"]


def tweets(path: Path, given: list[dict[str, Any]], id_type: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(given).set_column(1, "id", pa.array([row["id"] for row in given], id_type)), path)
    return path


def test_tweets_with_destroyed_ids_get_stable_ones(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    given = [
        rows.tweet(id="1364475471673528321"),
        rows.tweet(id="1.76555E+18", tweet="rounded"),
        rows.tweet(id=None, tweet="missing"),
        rows.tweet(id="1765550000000000000", tweet="rounded, written out"),
        rows.tweet(id="20", tweet="an early tweet"),
        rows.tweet(id="21", tweet=None),
        rows.tweet(id="22", date="soon"),
        rows.tweet(id="23", user=None),
    ]
    path = tweets(tmp_path / "a.parquet", given, pa.string())
    read(con, "twitter", [path])
    found = {row["text"]: row for row in table(con, "raw_records")}
    assert found[rows.STORY.strip()]["record_id"] == "twitter:1364475471673528321"
    assert found["an early tweet"]["record_id"] == "twitter:20"
    assert found[""]["n_chars"] == 0
    hashed = [found[text]["record_id"] for text in ("rounded", "missing", "rounded, written out")]
    assert all(len(name) == len("twitter:h") + 16 and name.startswith("twitter:h") for name in hashed)
    assert len(set(hashed)) == 3
    assert {row["reason"] for row in table(con, "quarantine")} == {"no usable date", "no usable user"}

    as_numbers = tweets(tmp_path / "b.parquet", [rows.tweet(id=1.76555e18, tweet="rounded")], pa.float64())
    read(con, "twitter", [as_numbers])
    assert table(con, "raw_records")[0]["record_id"] == hashed[0]


def test_tweet_times_are_utc_whatever_their_type(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SET TimeZone = 'Asia/Kathmandu'")
    stamp = datetime(2021, 2, 24, 7, 21, 17)
    values = {
        "a": pa.array(["2021-02-24T09:21:17+02:00"]),
        "b": pa.array(["2021-02-24 07:21:17+00:00"]),
        "c": pa.array([stamp], pa.timestamp("us", tz="UTC")),
        "d": pa.array([stamp], pa.timestamp("ms")),
    }
    paths = []
    for name, value in values.items():
        paths.append(tmp_path / f"{name}.parquet")
        pq.write_table(pa.table({"user": [name], "id": [1], "tweet": ["x"], "date": value}), paths[-1])
    read(con, "twitter", paths)
    assert [row["created_at"] for row in table(con, "raw_records")] == [stamp] * 4


def test_a_broken_csv_row_does_not_touch_its_neighbours(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    path = tmp_path / "blogtext.csv"
    path.write_bytes(
        b"id,gender,age,topic,sign,date,text\n"
        b'1,male,30,Arts,Leo,"31,May,2004","   I said ""hi""&nbsp;and left   "\n'
        b'1,male,30,Arts,Leo,"01,June,2004","never closed\n'
        b'2,female,31,Arts,Leo,"02,June,2004","two\n\nparagraphs"\n'
        b"2,female,31,Arts\n"
        b'3,male,40,Arts,Leo,"03,mai,2004",x\n'
        b'3,male,40,Arts,Leo,",,2004",x\n'
        b'3,male,40,Arts,Leo,"04,June,2004",caf\xe9\n'
    )
    read(con, "blogger", [path])
    found = table(con, "raw_records", "row_no")
    assert [(row["user_id"], row["text"], row["line"]) for row in found] == [
        ("blogger/1", 'I said "hi"\xa0and left', 2),
        ("blogger/2", "two\n\nparagraphs", 4),
        ("blogger/3", "caf\xe9", 10),
    ]
    assert found[0]["created_at"] == datetime(2004, 5, 31)
    assert found[0]["record_id"].startswith("blogger:1:") and len(found[0]["record_id"]) == len("blogger:1:") + 12
    assert {row["line"]: row["reason"].split(":")[0] for row in table(con, "quarantine")} == {
        3: "not a CSV row",
        7: "4 fields instead of 7",
        8: "no usable date",
        9: "no usable date",
    }


def test_xml_blogs_that_no_parser_takes(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    path = tmp_path / "1043569.male.26.indUnk.Virgo.xml"
    path.write_bytes(
        b"<Blog>\r\n<date>08,July,2004</date>\r\n<post>\r\n  R&B & <b>caf\xe9</b> na\x81\r\n </post>\r\n"
        b"<date>09,July,2004</date><post>with \x00NUL</post>"
        b"<date></date><post>no date</post>"
        b"<date>10,juillet,2004</date><post>French month</post>"
        b"<date>11,July,2004</date>\r\n"
        b"<date>12,July,2004</date><post>never closed\r\n<date>13,July,2004</date><post>UTF-8 caf\xc3\xa9</post></Blog>"
    )
    read(con, "blogger", [path])
    found = table(con, "raw_records", "row_no")
    assert [(row["line"], row["text"]) for row in found] == [
        (1, "R&B & <b>caf\xe9</b> na\x81"),
        (2, "with NUL"),
        (6, "never closed"),
        (7, "UTF-8 caf\xe9"),
    ]
    assert {row["user_id"] for row in found} == {"blogger/1043569"}
    assert {row["age"] for row in found} == {26}
    assert {row["line"]: row["reason"] for row in table(con, "quarantine")} == {
        3: "no usable date",
        4: "no usable date",
        5: "a date without a post",
    }


def test_amazon_reviews_of_both_years_get_their_items(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    new = write_lines(
        tmp_path / "Kitchen.jsonl.gz",
        [
            rows.review_2023(text="Fine<br />really &#34;fine&#34; \ud83d"),
            rows.review_2023(user_id="U2", parent_asin="gone"),
            rows.review_2023(user_id="U3", parent_asin=None),
            rows.review_2023(user_id=None),
            rows.review_2023(timestamp=None),
            b"<html>",
        ],
    )
    old = write_lines(
        tmp_path / "Kitchen_5.json.gz",
        [
            rows.review_2018(reviewerID="V1"),
            {k: v for k, v in rows.review_2018(reviewerID="V2", unixReviewTime="1500000000").items() if k != "reviewText"},
        ],
    )
    items_new = write_lines(
        tmp_path / "meta.jsonl",
        [
            {
                "parent_asin": "P1",
                "title": "Pan &amp; lid",
                "main_category": "Kitchen",
                "description": [],
                "features": ["Round", "Blue"],
            }
        ],
    )
    items_old = write_lines(
        tmp_path / "meta.json",
        [
            {"asin": "P1", "title": "Later in the files", "category": ["A"], "description": "x"},
            {"asin": "Q", "title": "Unwanted", "category": []},
        ],
    )
    report = read(con, "amazon", [new, old], [items_new, items_old])
    found = {row["record_id"]: row for row in table(con, "raw_records")}
    first = found["amazon:U1:P1"]
    assert first["text"] == 'Fine<br />really "fine" \ufffd'
    assert (first["rating"], first["title"], first["context_id"]) == (4.0, "Good", "P1")
    assert (first["context_title"], first["context_text"]) == ("Pan & lid", "Kitchen. Round Blue")
    assert first["created_at"] == datetime(2020, 9, 13, 12, 26, 40, 123000)
    assert found["amazon:U2:gone"]["context_title"] is None
    assert found["amazon:U3:V1"]["context_id"] == "V1"  # no parent: the item itself
    assert found["amazon:V1:P1"]["created_at"] == found["amazon:V2:P1"]["created_at"] == datetime(2017, 7, 14, 2, 40)
    assert found["amazon:V2:P1"]["text"] == ""
    assert sorted(row["reason"].split(":")[0] for row in table(con, "quarantine")) == [
        "no usable timestamp",
        "no usable user_id",
        "not JSON",
    ]
    assert report.context_rows == 1


def test_reading_again_gives_the_same_rows(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    path = write_lines(tmp_path / "a.ndjson", [rows.submission(id=f"x{i}") for i in range(50)] + [b"broken"])
    read(con, "reddit", [path])
    before = table(con, "raw_records"), table(con, "quarantine")
    read(con, "reddit", [path])
    assert (table(con, "raw_records"), table(con, "quarantine")) == before
