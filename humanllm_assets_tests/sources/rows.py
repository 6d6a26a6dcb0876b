"""Rows in the official layouts, and how to write and read them: for the tests of sources and filtering."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import zstandard

from humanllm_assets.sources.readers import ReadReport
from humanllm_assets_tests.whole_slice import read_records

STORY = "I met an old friend on the way home, and we talked about our families until it was dark. " * 4


def submission(**given: Any) -> dict[str, Any]:
    base = {"id": "p1", "author": "someone", "title": "A day", "selftext": STORY, "created_utc": 1_600_000_000}
    return base | {"score": 5, "num_comments": 4, "distinguished": None} | given


def comment(**given: Any) -> dict[str, Any]:
    base = {"id": "c1", "author": "someone", "body": STORY, "link_id": "t3_p1", "created_utc": 1_600_000_100}
    return base | {"score": 3, "distinguished": None} | given


def tweet(**given: Any) -> dict[str, Any]:
    base = {"user": "someone", "id": 1364475471673528321, "tweet": STORY, "replies": 0, "retweets": 0, "likes": 0, "quotes": 0}
    return base | {"date": "2021-02-24T07:21:17+00:00"} | given


def review_2023(**given: Any) -> dict[str, Any]:
    base = {"rating": 4.0, "title": "Good", "text": STORY, "asin": "V1", "parent_asin": "P1", "user_id": "U1"}
    return base | {"timestamp": 1_600_000_000_123} | given


def review_2018(**given: Any) -> dict[str, Any]:
    base = {"overall": 4.0, "reviewerID": "U1", "asin": "P1", "reviewText": STORY, "summary": "Good"}
    return base | {"unixReviewTime": 1_500_000_000, "vote": "1,024"} | given


def write_lines(path: Path, rows: Sequence[dict[str, Any] | bytes]) -> Path:
    """One row per line, packed as the name says; a row given as bytes goes in as it is."""
    data = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    if path.name.endswith(".gz"):
        data = gzip.compress(data)
    elif path.name.endswith((".bz2", ".xz")):
        data = (bz2 if path.name.endswith(".bz2") else lzma).compress(data)
    elif path.name.endswith(".zst"):
        packer = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(1, window_log=31, enable_ldm=False)
        ).compressobj()
        data = packer.compress(data) + packer.flush()
    path.write_bytes(data)
    return path


def read(
    con: duckdb.DuckDBPyConnection, source: str, files: Sequence[Path], context: Sequence[Path] = (), slice_name: str = "s"
) -> ReadReport:
    """`read_records`, with the law of conservation checked."""
    report = read_records(con, source, slice_name, files, context, files[0].parent / "work")
    raw, quarantined = (len(table(con, name)) for name in ("raw_records", "quarantine"))
    assert report.rows_read == raw + quarantined
    assert report.unreadable == quarantined
    numbers = con.execute("SELECT count(row_no), count(DISTINCT row_no) FROM raw_records").fetchall()[0]
    assert numbers == (raw, raw)
    return report


def table(con: duckdb.DuckDBPyConnection, name: str, order: str = "ALL") -> list[dict[str, Any]]:
    rows = con.execute(f"SELECT * FROM {name} ORDER BY {order}")
    names = [column[0] for column in rows.description or []]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
