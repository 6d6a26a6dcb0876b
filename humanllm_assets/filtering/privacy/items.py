"""What a private item is, and a text as the finders look at it: in one form for all characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

UNMEASURED = frozenset({"address", "name"})


class PrivateItem(NamedTuple):
    """One private item of a text: where it stands, and its canonical value, equal for every way of writing it.

    Canonical: e-mail addresses as `local@domain` in lower case; phone numbers as the digits of the national number, without
    country code and trunk zero; users as `site/user`; anything else as its letters and digits in lower case.
    """

    kind: str
    start: int
    end: int
    value: str


class Found(NamedTuple):
    """Where a finder found an item in a folded text, and its canonical value."""

    start: int
    end: int
    value: str


def squeeze(written: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[\W_]", "", written).lower()


_INVISIBLE = re.compile(
    "[\u00ad\u034f\u200b-\u200f\u2060-\u2064\ufe0e\ufe0f\ufeff\u20e3]+"
)  # the last: the frame of a keycap digit


@cache
def _plain_characters() -> dict[int, str]:
    """ASCII for the digits, dashes, blanks and dots of all scripts and for wide, mathematical and circled letters, 1 to 1."""
    table = {0x3002: ".", 0xB7: ".", 0x2022: ".", 0x2219: ".", 0x2027: ".", 0x30FB: ".", 0x2212: "-", 0x2044: "/"}
    for code in range(0x80, 0x1FBFA):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            table[code] = str(unicodedata.digit(character))
        elif category == "Pd":
            table[code] = "-"
        elif category == "Zs":
            table[code] = " "
        elif len(plain := unicodedata.normalize("NFKC", character)) == 1 and plain.isascii():
            table[code] = plain
    return table


def fold(text: str) -> tuple[str, Sequence[int]]:
    """The text in plain characters, and for each of them its place in `text`."""
    if text.isascii():
        return text, range(len(text) + 1)
    places: Sequence[int] = range(len(text) + 1)
    if _INVISIBLE.search(text):
        hidden = {i for m in _INVISIBLE.finditer(text) for i in range(*m.span())}
        places = [i for i in places if i not in hidden]
        text = _INVISIBLE.sub("", text)
    table = _plain_characters()
    if any(ord(character) in table for character in set(text)):  # a tenth of the time that translating takes
        text = text.translate(table)
    return text, places


class Signs(NamedTuple):
    """A folded text, and what shows without searching whether something may stand in it: most texts hold nothing."""

    text: str
    lower: str
    n_digits: int

    def has(self, *parts: str) -> bool:
        """Whether any of these stands in the text in small letters."""
        return any(part in self.lower for part in parts)

    def matches(self, pattern: str) -> bool:
        """Whether the pattern is found in the text in small letters; quick when it begins with a rare character."""
        return re.search(pattern, self.lower) is not None


def read_signs(text: str) -> Signs:
    """The signs of a folded text."""
    return Signs(text, text.lower(), sum(map(text.count, "0123456789")))
