"""What is left of a text without its markup: the person's words, and no stub of a link."""

from __future__ import annotations

import time

import pytest

from humanllm_assets.filtering.markup import clean_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a [page](https://en.example.org/wiki/Lake_(disambiguation)) here", "a page here"),
        ("a [page](https://e.org/a_(b_(c))_d) here", "a page here"),
        ('a [page](https://e.org/a "its title") here', "a page here"),
        ("a [page](<https://e.org/a b>) here", "a page here"),
        ("a [page [1]](https://e.org) here", "a page [1] here"),
        ("in [r/books](/r/books) and [below](#section)", "in r/books and below"),
        ("write [me](mailto:jo@e.org)", "write me"),
        ("see [ref][1] and [more][Two] and [three][]\n\n[1]: https://e.org/x\n[two]: <https://e.org/y> \"Y\"\n[three]: /z", "see ref and more and three"),
        ("I [think][sic] so, array[i][j] too", "I [think][sic] so, array[i][j] too"),
        ("note[1]: it was late\n[1]: a joke", "note[1]: it was late\n[1]: a joke"),
        ("<https://e.org/c> end", "end"),
        ("<HTTP://E.ORG> end", "end"),
        ("look (https://e.org/a_(b)) here", "look here"),
        ("look [https://e.org/a] here", "look here"),
        ("at https://e.org/Lake_(x), then https://e.org/y. Done!", "at, then. Done!"),
        ("![gif](giphy|abc123) yes", "yes"),
        ("![gif](giphy|abc123|downsized) yes", "yes"),
        ("![my dog](https://i.e.org/d.jpg) yes", "yes"),
        ("[![x](https://e.org/x.png)](https://e.org) yes", "yes"),
        ("[[ASIN:B000000000 A pan]] is good", "A pan is good"),
        ("[[ASIN:B000000000]] is good", "is good"),
        ("[[VIDEOID:abc]]Length:: 1:04 Mins good pan", "good pan"),
        ("[[IMAGEID:a1b2]] fine", "fine"),
        ("he >!dies!< at the end", "he dies at the end"),
        ("^I ^am ^so ^small ^(and more words)", "I am so small and more words"),
        ("x^2 and 2^(n+1) stay", "x^2 and 2^(n+1) stay"),
        ("a <b>bold</b> word<br/>and <!-- gone\n --> more", "a bold word and more"),
        ("I <3 you, 5 > 4 and a < b", "I <3 you, 5 > 4 and a < b"),
        ("(a note) [sic] [deleted scene] 1) first", "(a note) [sic] [deleted scene] 1) first"),
    ],
)  # fmt: skip
def test_what_is_left_reads_as_words(text: str, clean: str) -> None:
    assert clean_text(text, twitter=False)[0] == clean


@pytest.mark.parametrize("piece", ["[", "](", "(", "[a](http://", "<", ">!", "^(", "[[ASIN:", "[a][", "]: http://x\n", "www.("])
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    clean_text(piece * (40_000 // len(piece)), twitter=True)
    assert time.process_time() - started < 5, "a text of the longest kind, in less than it takes on a busy machine"
