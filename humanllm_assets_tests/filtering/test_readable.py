"""A text's length is what a person reads of it."""

from __future__ import annotations

import duckdb
import pytest

from humanllm_assets.filtering.readable import readable_chars

UNSEEN = [
    "\u2800",
    "\u3164",
    "\u115f",
    "\uffa0",
    "\u200e",
    "\u2060",
    "\u00ad",
    "\u3000",
    "\u2028",
    "\ufe0f",
    "\U000e0041",
    "\u180e",
]


def count(text: str, markup: bool = True) -> int:
    with duckdb.connect() as con:
        sql = f"SELECT {readable_chars('x', markup)} FROM (SELECT CAST(? AS VARCHAR) AS x)"
        return con.execute(sql, [text]).fetchall()[0][0]


@pytest.mark.parametrize("mark", UNSEEN)
def test_what_shows_nothing_does_not_count(mark: str) -> None:
    assert count(mark * 400) == count(mark * 400, markup=False) == 0
    assert count(f"Hi {mark * 40}there") <= len("Hi   there")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("plain words, 3 < 4 and 5 > 4, I <3 you", None),
        ("caf\u00e9 \u201cna\u00efve\u201d \u4f60\u597d", None),
        ("[note] some [brackets] (and more)", None),
        ("one\n\ntwo", None),
        ("many     blanks", "many  blanks"),
        ("a [page](https://a.example/Lake_(disambiguation)) here", "a page here"),
        ('a [page](/r/x "title") here', "a page here"),
        ("see [ref][1] and [that][]\n\n[1]: https://a.example/c\n[that]: <https://b.example> 'x'", "see ref and that"),
        ("https://a.example/b?c=d ok", "ok"),
        ("<https://a.example/c> end", "end"),
        ("www.example.com/x yes", "yes"),
        ("![gif](giphy|abc123) yes", "yes"),
        ("Good. <br /><br /><br />", "Good."),
        ('Good <a data-hook="product-link-linked" href="/A-Long-Name/dp/B0/ref=cm?ie=UTF8">Pan</a>', "Good Pan"),
        ('<div id="video-block-R1" class="a-section"></div><input type="hidden" value="https://a.example/E1.mp4">Nice', "Nice"),
        ("[[VIDEOID:abc]] [[VIDEOID:def]] ok", "ok"),
        ("[[VIDEOID:abc]]Length:: 1:04 Mins good pan", "good pan"),
        ("Length: 0:30 Mins good pan", "good pan"),
        ("[[ASIN:B000000000 A pan]] is good", "A pan is good"),
        ("<script>var a = 1;\nf(a)</script>text", "text"),
    ],
)
def test_markup_and_addresses_do_not_count(text: str, read: str | None) -> None:
    assert count(text) == len(text if read is None else read)


def test_where_texts_hold_no_markup_all_that_shows_counts() -> None:
    text = "[a](b) https://t.co/abc <x>"
    assert count(text, markup=False) == len(text)
