"""`read_records`: every row of every layout ends in `raw_records` or in `quarantine`, with its quirks understood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.sources import files, readers, staging
from humanllm_assets.sources.files import SourceError
from humanllm_assets.sources.readers import ReadReport
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
    monkeypatch.setattr(staging, "CHUNK_BYTES", 1)  # a chunk per block of 1 MiB
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
        ("b", 2),
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


def test_comments_name_the_post_they_answer_and_hold_nothing_of_it(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    comments = write_lines(
        tmp_path / "RC.zst",
        [
            rows.comment(id="a"),
            rows.comment(id="b", link_id="p2"),
            rows.comment(id="c", link_id=None),
        ],
    )
    report = read(con, "reddit_comments", [comments])
    assert (report.rows_read, report.context_rows, report.context_unreadable) == (3, 0, 0)
    found = {row["record_id"]: row for row in table(con, "raw_records")}
    assert found["reddit_comments:t1_a"]["user_id"] == "reddit/someone"
    assert {r: row["context_id"] for r, row in found.items()} == {
        "reddit_comments:t1_a": "reddit:t3_p1",
        "reddit_comments:t1_b": "reddit:t3_p2",
    }
    assert all(row["context_title"] is row["context_text"] is None for row in found.values())
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
        b'3,male,40,Arts,Leo,"03,listopad,2004",x\n'
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
        b"<date>10,listopad,2004</date><post>November or October</post>"
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


# ---- lines of JSON ---------------------------------------------------------------------------------------------------


def test_a_line_is_read_the_same_whatever_stands_beside_it(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONG_LINE_BYTES", 1 << 20)
    post = json.dumps(rows.submission())
    given: list[dict[str, Any] | bytes] = [
        post.replace('"score": 5', '"score": 5, "score": 99, "title": "Later"').encode(),
        post.replace('"title": "A day"', '"title": null, "title": "Second"').encode(),
        rows.submission(title="\ud83d", score=1),
        rows.submission(author="NaN", score=float("inf")),
        rows.submission(author=float("nan")),
        post.replace('"score": 5', f'"score": {"9" * 5000}').encode(),
        post.replace('"score": 5', '"score": 1e400').encode(),
        rows.submission(awards=[[[]]] * 10),
        post.replace('"score": 5', f'"unread": {"[" * 100_000}{"]" * 100_000}').encode(),
        post.replace('"A day"', f'"&#{"1" * 5000};"').encode(),
    ]
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in given]
    lines = [line.replace(b'"p1"', b'"p%d"' % number) for number, line in enumerate(lines)]
    plain, surrogate, long = (
        rows.submission(id="o"),
        rows.submission(id="s", title="\ud83d"),
        rows.submission(id="l", title="x" * 2**21),
    )
    found = []
    for beside in ([plain, *lines], [plain, b"", *lines, b"  "], [b"broken", surrogate, *lines], [long, *lines]):
        for name in ("a.ndjson", "a.ndjson.gz"):
            read(con, "reddit", [write_lines(tmp_path / name, beside)])
            of_lines = [row for row in table(con, "raw_records", "record_id") if row["record_id"].startswith("reddit:t3_p")]
            found.append([{**row, "line": 0, "row_no": 0} for row in of_lines])
    assert len(found[0]) == len(lines) and all(rows_found == found[0] for rows_found in found)


def test_a_key_that_stands_twice_has_its_first_value(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    line = json.dumps(rows.submission(selftext="\ud83d")).replace('"score": 5', '"score": 5, "score": 99')
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", [line.encode(), line.replace("\\ud83d", "x").encode()])])
    assert [row["score"] for row in table(con, "raw_records")] == [5, 5]


def test_no_number_is_no_value_and_no_person(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    nan = float("nan")
    given = [
        rows.submission(id="a", author=nan, selftext=nan, score=float("-inf")),
        rows.submission(id="b", author="NaN"),
        rows.submission(id=nan),
        rows.submission(id="c", created_utc=nan),
    ]
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", given)])
    found = {row["record_id"][10:]: row for row in table(con, "raw_records")}
    assert (found["a"]["user_id"], found["a"]["text"], found["a"]["score"]) == ("reddit/[deleted]", "A day", None)
    assert found["b"]["user_id"] == "reddit/NaN"  # the name of a person, in quotes
    assert {row["line"]: row["reason"] for row in table(con, "quarantine")} == {3: "no usable id", 4: "no usable created_utc"}


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.bz2", "a.xz", "a.zst"])
def test_bad_rows_are_named_by_their_line_among_blank_and_long_ones(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(files, "LONG_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 3 << 20)
    size = 33 << 20 if name == "a.ndjson" else 4 << 20  # DuckDB, which reads files that are not packed, has a limit of its own
    endless = json.dumps(rows.submission(id="e", selftext="x" * size)).encode()
    deep = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b', "title": "\\ud83d"}'
    lines = [
        b"\xef\xbb\xbf" + json.dumps(rows.submission(id="a")).encode(),
        b"",
        b"bad",
        b" \t",
        endless,
        b" " * size,
        deep,
        b'{"id": 1}',
    ]
    report = read(con, "reddit", [write_lines(tmp_path / name, [*lines, rows.submission(id="b")])])
    assert {row["line"]: row["reason"].split(":")[0] for row in table(con, "quarantine")} == {
        3: "not JSON",
        5: f"a line of {len(endless):,} bytes",
        7: "nested too deeply",
        8: "no usable created_utc",
    }
    assert [row["record_id"] for row in table(con, "raw_records")] == ["reddit:t3_a", "reddit:t3_b"]
    assert report.rows_by_file == {tmp_path / name: 6}


def test_long_files_are_read_in_parts(tmp_path: Path, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PART_ROWS", 10)
    lines: list[dict[str, Any] | bytes] = [
        rows.submission(id=f"x{i}", created_utc="?" if i % 9 == 0 else 1_600_000_000) for i in range(95)
    ]
    lines[33:33] = [b"", b"bad", rows.submission(id="s", title="\ud83d")]
    path = write_lines(tmp_path / "a.ndjson", lines)
    parts = [0]
    for _ in readers.read_parts(con, "reddit", "s", [path], tmp_path / "work", ReadReport()):
        parts.append(con.execute("SELECT count(*) FROM raw_part").fetchall()[0][0])
    assert len(parts) == 11 and sum(parts) == 85
    quarantined = [row["line"] for row in table(con, "quarantine", "line")]
    assert quarantined == [1, 10, 19, 28, 35, *(i + 4 for i in range(36, 95, 9))]


def test_many_small_files_are_read_together(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    for i in range(40):
        post = f"<date>{1 + i % 28},May,2004</date><post>number {i}</post>"
        (tmp_path / f"{100 + i}.male.26.indUnk.Virgo.xml").write_text(f"<Blog>{post}<date></date><post>no date</post></Blog>")
    paths, parts, report = sorted(tmp_path.glob("*.xml")), 0, ReadReport()
    for _ in readers.read_parts(con, "blogger", "s", paths, tmp_path / "work", report):
        assert con.execute("SELECT count(*), count(DISTINCT user_id) FROM raw_part").fetchall() == [(40, 40)]
        parts += 1
    assert parts == 1 and report.rows_by_file == dict.fromkeys(paths, 2)
    assert {(row["file"], row["line"]) for row in table(con, "quarantine")} == {(path.name, 2) for path in paths}


# ---- Parquet ---------------------------------------------------------------------------------------------------------


def write_typed(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    base = {"id": ["a"], "author": ["someone"], "title": ["A day"], "created_utc": [1_600_000_000], "selftext": ["It was"]}
    pq.write_table(pa.table(base | columns), path)
    return path


STAMP = datetime(2020, 1, 1, 12, 30, 15)


@pytest.mark.parametrize(
    ("column", "values", "wanted"),
    [
        ("created_utc", pa.array([STAMP], pa.timestamp("s")), STAMP),
        ("created_utc", pa.array([STAMP], pa.timestamp("ms")), STAMP),
        ("created_utc", pa.array([STAMP], pa.timestamp("us", tz="Asia/Kathmandu")), STAMP),
        ("created_utc", pa.array([STAMP.replace(microsecond=7)], pa.timestamp("ns")), STAMP.replace(microsecond=7)),
        ("created_utc", pa.array([STAMP.date()]), datetime(2020, 1, 1)),
        ("created_utc", pa.array([Decimal("1577881815.00")]), STAMP),
        ("created_utc", pa.array([1577881815.0]), STAMP),
        ("created_utc", pa.array([1577881815], pa.uint32()), STAMP),
        ("created_utc", pa.array([b"1577881815"]), STAMP),
        ("selftext", pa.array(['it\'s "a"\ncaf\xe9'.encode()]), 'it\'s "a"\ncaf\xe9'),
        ("selftext", pa.array(["caf\xe9".encode()], pa.large_binary()), "caf\xe9"),
        ("selftext", pa.array(["caf\xe9"]).dictionary_encode(), "caf\xe9"),
        ("selftext", pa.array([["one", "two"]]), '["one","two"]'),
        ("selftext", pa.array([None], pa.null()), None),
        ("score", pa.array([Decimal("12.0")]), 12),
        ("score", pa.array([float("nan")]), None),
        ("score", pa.array([True]), None),
    ],
)
def test_parquet_columns_mean_what_they_would_in_json(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, column: str, values: Any, wanted: Any
) -> None:
    con.execute("SET TimeZone = 'Asia/Kathmandu'")
    read(con, "reddit", [write_typed(tmp_path / "a.parquet", **{column: values})])
    (row,) = table(con, "raw_records")
    found = {
        "created_utc": row["created_at"],
        "score": row["score"],
        "selftext": row["text"].removeprefix("A day").strip() or None,
    }
    assert found[column] == wanted


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("title", pa.array([STAMP]), "TIMESTAMP"),
        ("created_utc", pa.array([1.6e9], pa.float32()), "FLOAT"),
        ("created_utc", pa.array([STAMP.time()]), "TIME"),
        ("title", pa.array([[b"x"]]), r"BLOB\[\]"),
        ("author", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "MAP"),
    ],
)
def test_a_type_that_a_field_cannot_have_is_refused(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, column: str, values: Any, kind: str
) -> None:
    path = write_typed(tmp_path / "a.parquet", **{column: values})
    with pytest.raises(SourceError, match=f"a.parquet cannot be read: its column {column} has the type {kind}"):
        read(con, "reddit", [path])


def test_a_row_of_parquet_that_is_not_utf8_is_quarantined(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    base = {"author": ["x", "x"], "title": ["A", "B"], "created_utc": [1_600_000_000, 1_600_000_001]}
    read(con, "reddit", [write_typed(tmp_path / "a.parquet", id=["a", "b"], selftext=[b"caf\xe9", b"caf\xc3\xa9"], **base)])
    assert [row["text"] for row in table(con, "raw_records")] == ["B\n\ncaf\xe9"]
    assert [(row["line"], row["reason"]) for row in table(con, "quarantine")] == [(1, "not UTF-8: selftext")]


def test_names_of_files_and_folders_mean_nothing(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    folder = tmp_path / "author=x" / "created_utc=2024-01-01" / "[ab]*?{c}"
    paths = [
        write_typed(folder / "a[1]*.parquet", id=["one"]),
        write_typed(folder / "a1.parquet", id=["other"]),
        write_lines(folder / "b[1]?.ndjson", [rows.submission(id="two")]),
        write_lines(folder / "b10.ndjson", [rows.submission(id="another")]),
    ]
    for path, record in ((paths[0], "one"), (paths[2], "two")):
        read(con, "reddit", [path])
        (row,) = table(con, "raw_records")
        assert (row["record_id"], row["user_id"], row["created_at"].year) == (f"reddit:t3_{record}", "reddit/someone", 2020)
