"""What texts and times mean: entities, characters that show nothing, times in the forms that sources write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb
import pytest

from humanllm_assets.sources.text_macros import create_macros, unescape_entities


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    create_macros(connection)
    create_macros(connection)
    return connection


def ask(con: duckdb.DuckDBPyConnection, macro: str, text: str | None) -> Any:
    return con.execute(f"SELECT {macro}(x) FROM (SELECT CAST(? AS VARCHAR) AS x)", [text]).fetchall()[0][0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("&lt;b&gt; &amp;amp; &quot;x&quot; &#39; &#x27; &nbsp;.", "<b> & \"x\" ' ' \u00a0."),
        ("&amp;amp;lt;", "&lt;"),  # twice at most
        ("&notit; &timestamp; &section; &parameters; &copy2; &notanentity;", None),
        ("a&b; AT&T &amp &lt &copy 2020 &", None),
        ("&#72;&#072;&#x48;&#X48;&#00000000072;", "HHHHH"),
        ("&#0; &#xD800; &#xDFFF; &#1114112; &#x110000; &#99999999;", "\ufffd \ufffd \ufffd \ufffd \ufffd \ufffd"),
        (f"&#{'1' * 5000}; &#x{'f' * 5000}; &#{'0' * 5000};", "\ufffd \ufffd \ufffd"),
        ("[&#7;&#27;&#xfffe;]", "[]"),
    ],
)
def test_entities(con: duckdb.DuckDBPyConnection, text: str, wanted: str | None) -> None:
    assert unescape_entities(text) == (text if wanted is None else wanted)
    assert ask(con, "unescaped", text) == (text if wanted is None else wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("", ""),
        ("as it is\n\nwritten\there", "as it is\n\nwritten\there"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\u3000\u2028\x85 text \u00a0\n\v", "text"),
        ("\ufeff\u200b", ""),
        ("a\x00b\x07c\x1bd\x7fe\u2060f\u200bg", "abcdefg"),
        (
            "caf\u00e9 \u0928\u094d\u200d\u0937 \U0001f469\u200d\U0001f467 \u2764\ufe0f",
            None,
        ),  # joiners and selectors mean something
        ("&amp;#x200B;", ""),
        ("&lt;&#13;&#10;&gt;", "<\n>"),
    ],
)
def test_clean_text(con: duckdb.DuckDBPyConnection, text: str | None, wanted: str | None) -> None:
    assert ask(con, "clean_text", text) == (text if wanted is None else wanted)


@pytest.mark.parametrize(
    "text",
    [
        "var aPageStart = (new Date()).getTime();\nvar a=b||{};",
        "(function(d){var e=d.ue=d.ue||{};})(c);",
        ".a-section { margin: 0; padding: 0 }",
    ],
)
def test_page_script_is_no_title(con: duckdb.DuckDBPyConnection, text: str) -> None:
    assert ask(con, "plain_text", text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A <b>good</b> pan<br />of steel", "A good pan of steel"),
        ('["One", "two &amp; three"]', "One two & three"),
        ("[Old] pan (10 in) {steel: brushed}", "[Old] pan (10 in) {steel: brushed}"),
        ("Multi-function (3 in 1) cable < 2 m", "Multi-function (3 in 1) cable < 2 m"),
        ("&lt;b&gt;Bold&lt;/b&gt;", "Bold"),
        (" ", None),
    ],
)
def test_plain_text(con: duckdb.DuckDBPyConnection, text: str, wanted: str | None) -> None:
    assert ask(con, "plain_text", text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2021-02-24 07:21:17", datetime(2021, 2, 24, 7, 21, 17)),
        ("2021-02-24", datetime(2021, 2, 24)),
        ("2021-02-24T07:21:17Z", datetime(2021, 2, 24, 7, 21, 17)),
        ("2021-02-24T07:21:17.123456789Z", datetime(2021, 2, 24, 7, 21, 17, 123456)),
        ("2021-02-24 07:21:17.5 UTC", datetime(2021, 2, 24, 7, 21, 17, 500000)),
        ("2021-02-24 07:21 GMT", datetime(2021, 2, 24, 7, 21)),
        ("2021-02-24T07:21:17+05:30", datetime(2021, 2, 24, 1, 51, 17)),
        ("2021-02-24T07:21:17+0530", datetime(2021, 2, 24, 1, 51, 17)),
        ("2021-02-24 07:21:17 -03:30", datetime(2021, 2, 24, 10, 51, 17)),
        ("2021-02-24 07:21:17+05", datetime(2021, 2, 24, 2, 21, 17)),
        ("Wed Oct 10 20:19:24 +0000 2018", datetime(2018, 10, 10, 20, 19, 24)),
        ("Wed Oct 10 20:19:24 +0545 2018", datetime(2018, 10, 10, 14, 34, 24)),
        ("1614151277", datetime(2021, 2, 24, 7, 21, 17)),
        ("1614151277.5", datetime(2021, 2, 24, 7, 21, 17, 500000)),
        ("1614151277123", datetime(2021, 2, 24, 7, 21, 17, 123000)),
        *(
            (f"2021-02-24 07:21:17 {zone}", None)
            for zone in ("EST", "CET", "PM", "a.m.", "GMT+2", "Europe/Berlin", "xyz", "+99:00")
        ),
        ("2021-02-24 07:21:17PM", None),
        ("2021-02-24 25:21:17", None),
        ("2021-02-30", None),
        ("24.02.2021", None),
        ("02/24/2021 07:21", None),
        ("20210224", None),
        ("20210224072117", None),
        ("Wed Oct 10 20:19:24 EST 2018", None),
        ("Wed Oct 40 20:19:24 +0000 2018", None),
        ("", None),
        (None, None),
    ],
)
def test_utc_time(con: duckdb.DuckDBPyConnection, text: str | None, wanted: datetime | None) -> None:
    assert ask(con, "utc_time", text) == wanted
