"""Phone numbers, and which of many numbers in a text is one.

`phonenumbers` says which exist. A number with a country code or in a form that only phone numbers have is one; any other number needs a
word beside it (`call`, `my number`), and a word such as `order` or `ISBN` speaks against it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from humanllm_assets.filtering.privacy.items import Found, Signs

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_BETWEEN_GROUPS = r"(?:[ \t]{1,3}|[ \t]?(?:\)[ \t]?[.\-/]?|[.\-/_][ \t]?\(?|\()[ \t]?)"
_RUN = re.compile(rf"\d+(?:{_BETWEEN_GROUPS}\d+)*")
_NOT_PHONES = re.compile(
    r"(?:https?://|www\.)(?!\S*\btel:)\S+"
    r"|(?<![-/.\d])(?:1[6-9]|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])(?![-/.]?\d)"
    r"|(?<![-/.\d])\d{1,2}[-/.]\d{1,2}[-/.](?:(?:1[6-9]|20)\d\d|\d\d)(?![-/.]?\d)"
    r"|[$£€¥₹]\s?\d[\d,. ]*",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"(?P<against>\b(?:order|invoice|item|model|part|serial|tracking|ticket|case|claim|confirmation|reference|ref"
    r"|isbn(?:-1[03])?|issn|upc|ean|asin|sku|ids?|version|build|lottery|population|patent|product|parcel|flight|lot|batch|tweet"
    r"|status|bug|issue|doi|book)"
    r"(?:\s(?:numbers?|nos?|codes?|ids?))?\b)"
    r"|(?P<phone>(?:\b|(?<=_))(?:call(?:ing)?|phones?|ph|mob|tel|telephone|cell|mobile|whats?app|text(?:ing)?|txt|sms"
    r"|ring|dial(?:ing)?"
    r"|fax|contact|reach|hotline|helpline|landline|viber|hmu|phn|voicemail"
    r"|(?:my|your|his|her|our|their|this|new|old|work|home)\s(?:\w+\s)?(?:numbers?|num|no)|numbers?(?=\s(?:is|are)\b|\s?[:=])"
    r"|#s?(?=\s?:))"
    r"(?![a-z]))",
    re.IGNORECASE,
)
_CUE_AFTER = re.compile(
    r"[\s,.:!-]{0,3}(?:(?:is|was|it's|that's)\s(?:\w+\s){0,2}(?:cell|mobile|number|phone|landline|whatsapp)\b"
    r"|(?:\(|-\s?)?(?:cell|mobile|home|work|office|whatsapp|call|text)\b)",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\s?(?:%|(?:people|users|views|visitors|bytes|rupees|dollars|euros|pounds|steps|years|miles|km|times)\b)", re.I
)
_EXTENSION = re.compile(r"\s?,?\s?(?:x|ext\.?|extension)\s?\d{1,5}\b", re.IGNORECASE)
_WITH_TRUNK_ZERO = ("GB", "DE", "FR", "IN", "AU", "IE", "NL", "IT", "ZA", "SE", "CH", "AT", "BE", "PK", "PH", "NZ", "NP")
_WITHOUT_TRUNK_ZERO = ("IN", "ES", "PT", "PL", "SG", "MX", "NO", "DK", "CZ", "NP")
_DIGIT_WORDS = {
    "zero": "0", "oh": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9",
}  # fmt: skip
_WORD_ONLY = f"(?:{'|'.join(_DIGIT_WORDS)})"
_DIGIT_WORD = rf"(?:{'|'.join(_DIGIT_WORDS)}|\d)"
SPOKEN = re.compile(rf"\b{_DIGIT_WORD}(?:[\s,.\-]{{1,3}}{_DIGIT_WORD}){{6,14}}\b", re.IGNORECASE)


class _Number(NamedTuple):
    """Groups of digits that stand side by side, and what their surroundings say."""

    digits: str
    sizes: tuple[int, ...]
    seps: tuple[str, ...]
    in_brackets: bool
    cue: bool
    against: bool
    alone: bool

    @property
    def blanks_only(self) -> bool:
        return all(not s.strip() for s in self.seps)

    @property
    def even_seps(self) -> bool:
        """One kind of separator, but for the one behind an area code."""
        return len({s.strip() for s in self.seps[1:]}) <= 1

    @property
    def is_plain(self) -> bool:
        """Beside a word, or alone and no list."""
        return self.cue or (self.alone and not (self.blanks_only and self.is_list))

    @property
    def is_list(self) -> bool:
        """Amounts in a row: round numbers share a divisor, lottery numbers ascend; the groups of a phone number do neither."""
        ends = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes))]
        groups = [int(self.digits[e - n : e]) for e, n in zip(ends, self.sizes, strict=True)]
        ascending = len(groups) >= 5 and all(a < b for a, b in pairwise(groups))
        amounts = self.digits[0] != "0" or len(set(self.sizes)) == 1  # 0600 1400 are hours, 07700 900730 is a phone number
        parts = len(groups) > 1 and all(len(str(g)) < n for g, n in zip(groups, self.sizes, strict=True))  # 021 023 025
        shared = math.gcd(*groups) if amounts and len(groups) > 1 else 1
        return ascending or parts or shared % 5 == 0 or shared % 8 == 0


def _parse(digits: str, region: str | None) -> PhoneNumber | None:
    import phonenumbers

    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


def _is_valid(digits: str, regions: Iterable[str]) -> bool:
    import phonenumbers

    return any((n := _parse(digits, r)) is not None and phonenumbers.is_valid_number_for_region(n, r) for r in regions)


def _read_international(written: str, valid: bool = False) -> str | None:
    """The national number of what begins with `+`, when its country has numbers of this length; `valid`: that begin so, too."""
    import phonenumbers

    number = _parse(re.sub(r"\+\s", "+", written.lstrip("(")), None)
    possible = phonenumbers.ValidationResult.IS_POSSIBLE
    if number is None or phonenumbers.is_possible_number_with_reason(number) != possible:
        return None
    if valid and not phonenumbers.is_valid_number(number):
        return None
    national = phonenumbers.national_significant_number(number).lstrip("0")
    return national if len(national) >= 7 else None


def _read_national(n: _Number) -> str | None:
    """The national number, when the form is one that only phone numbers have or the surroundings speak of a phone."""
    if n.against or not n.even_seps:
        return None
    return _read_local(n) or _read_with_trunk_zero(n) or _read_american(n) or _read_other(n)


def _read_local(n: _Number) -> str | None:
    """`(555) 0188`, or `555-0188` and `5550188` beside a word."""
    if n.sizes == (3, 4):
        return n.digits if n.in_brackets or (n.cue and (n.alone or not n.blanks_only)) else None
    return n.digits if n.sizes == (7,) and n.cue and n.digits[0] in "23456789" and not n.digits.endswith("000") else None


def _read_with_trunk_zero(n: _Number) -> str | None:
    """`07700 900123`, `030 1234567`, `06 12 34 56 78`, without the zero."""
    digits = n.digits
    if (
        digits[0] != "0"
        or not 9 <= len(digits) <= 12
        or not n.is_plain
        or (not n.cue and (min(n.sizes) < 2 or n.sizes == (5, 4)))
    ):
        return None  # 5 and 4: a zip code
    # numbers kept free for stories lie in no valid range: 11 British digits, French pairs
    told = (len(digits) == 11 and digits[1] in "1237") or (n.sizes == (2,) * 5 and digits[1] != "0")
    if n.cue:
        return digits[1:] if told or _is_valid(digits, _WITH_TRUNK_ZERO) else None
    return digits[1:] if told or (not _is_isbn(n) and _is_valid(digits, _WITH_TRUNK_ZERO[:6])) else None


def _read_american(n: _Number) -> str | None:
    """`212-555-0188`, `(212) 5550188`, `1 212 555 0188`, `2125550188`: ten digits without the leading 1."""
    digits = n.digits[1:] if len(n.digits) == 11 and n.digits[0] == "1" else n.digits
    if len(digits) != 10 or (digits[0] in "01" and (not n.cue or (n.blanks_only and n.is_list))):
        return None
    sizes = n.sizes[1:] if sum(n.sizes) == 11 and n.sizes[0] == 1 else n.sizes
    if (sizes in ((3, 3, 4), (4, 3, 4)) and not n.blanks_only) or (n.in_brackets and sizes in ((3, 7), (3, 3, 4))):
        return digits
    if sizes not in ((3, 3, 4), (3, 7), (6, 4), (10,), (11,), (4, 3, 3), (4, 3, 4)) and not (n.cue and set(n.sizes) == {1}):
        return None
    return digits if n.cue or (n.is_plain and _is_valid(digits, ("US", "CA"))) else None


def _read_other(n: _Number) -> str | None:
    """Indian mobile numbers, and beside a word what is valid in a country without trunk zero, or with a country code."""
    if len(n.digits) == 10 and n.digits[0] in "6789" and (n.sizes == (10,) or (n.sizes == (5, 5) and n.cue)):
        return n.digits if n.is_plain else None
    if not n.cue or not n.alone or n.is_list or min(n.sizes) < 2:
        return None
    if 8 <= len(n.digits) <= 10:
        return n.digits if _is_valid(n.digits, _WITHOUT_TRUNK_ZERO) else None
    return _read_international(f"+{n.digits}", valid=True) if 11 <= len(n.digits) <= 13 else None


def _is_isbn(n: _Number) -> bool:
    """A book's number of ten digits in one group, by its check digit."""
    return n.sizes == (10,) and sum(i * int(d) for i, d in enumerate(reversed(n.digits), 1)) % 11 == 0


def _surroundings(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether the words beside a number speak of a phone, and whether they speak against one; the nearest word before it wins."""
    before = text[max(0, start - 45) : start]
    sentence = re.split(r"[!?\n]|\.\s", before)[-1]
    last = next(reversed(list(_CUE.finditer(sentence))), None)
    if last and last["against"]:
        return False, True
    if last or _CUE_AFTER.match(text, end):
        return True, False
    return False, before.rstrip()[-1:] in ("$", "£", "€", "₹", "#") or _COUNTED.match(text, end) is not None


def find_phones(text: str) -> Iterator[Found]:
    """Phone numbers in digits, as the national number."""
    text = _NOT_PHONES.sub(lambda m: "\0" * len(m.group()), text).replace("[", "(").replace("]", ")")
    for run in _RUN.finditer(text):
        if sum(map(str.isdigit, run.group())) >= 7:
            yield from _phones_of_run(text, run)


def _may_part(sep: str, before: int, after: int) -> bool:
    """Whether a number may end between two groups: at a blank, and at any mark between two whole numbers."""
    return " " in sep or "\t" in sep or "(" in sep or min(before, after) >= 7


def _phones_of_run(text: str, run: re.Match[str]) -> Iterator[Found]:
    """The numbers of a run of groups. A number ends at the run's edges or where groups may part."""
    groups = [(m.start(), m.end()) for m in re.compile(r"\d+").finditer(text, run.start(), run.end())]
    seps = [text[a[1] : b[0]] for a, b in pairwise(groups)]
    breaks = [True, *(_may_part(s, b - a, d - c) for s, (a, b), (c, d) in zip(seps, groups, groups[1:], strict=False)), True]
    i = 0
    while i < len(groups):
        found = None
        if breaks[i] and (i > 0 or _may_start(text, groups[i][0])):
            for j in range(min(len(groups), i + 11), i, -1):
                if breaks[j] and (found := _read_phone(text, groups[i:j], seps[i : j - 1], i == 0 and j == len(groups))):
                    break
        if found:
            yield found
            i = next((k for k, g in enumerate(groups) if g[0] >= found.end), len(groups))
        else:
            i += 1


def _may_start(text: str, start: int) -> bool:
    """False inside a word or a decimal; a word that speaks of a phone may be glued to the number (`Mob9876543210`)."""
    before = text[max(0, start - 12) : start]
    if before.endswith(("+", "+ ", "(")):
        before = before.rstrip("+( ") if before.endswith(("(", "+")) and before[-2:-1] != " " else ""
    if not before or before[-1].isspace():
        return True
    if before[-1].isalpha():
        cues = [m.end() for m in _CUE.finditer(before) if m["phone"]]
        return bool(cues) and cues[-1] == len(before)
    return not (before[-1] in "#$£€@_\0" or (before[-1] in ".,:" and (len(before) == 1 or not before[-2].isalpha())))


def _read_phone(text: str, groups: Sequence[tuple[int, int]], seps: Sequence[str], whole_run: bool) -> Found | None:
    start, end = groups[0][0], groups[-1][1]
    digits = "".join(text[a:b] for a, b in groups)
    one_by_one = len(groups) == len(digits)
    if not 7 <= len(digits) <= 16 or (one_by_one and len(digits) not in (10, 11)) or (not one_by_one and len(groups) > 7):
        return None
    if re.match(r"[a-z_]|[,.:]\d", text[end : end + 2], re.IGNORECASE):
        return None
    lead = re.search(r"(\+\s?\(?|\(\+?)$", text[max(0, start - 3) : start])
    opened = start - len(lead[0]) if lead else start
    national = None
    if lead and "+" in lead[0]:
        national = _read_international(text[opened:end].lstrip("("))
    elif digits.startswith("00") and len(digits) >= 10:
        national = _read_international("+" + text[start:end].replace("00", "", 1).lstrip(" .-/)"))
    if national is None:
        cue, against = _surroundings(text, opened, end)
        sizes = tuple(b - a for a, b in groups)
        national = _read_national(_Number(digits, sizes, tuple(seps), bool(lead and "(" in lead[0]), cue, against, whole_run))
    if national is None:
        return None
    extension = _EXTENSION.match(text, end)
    return Found(opened, extension.end() if extension else end, national)


def may_hold_spoken_phone(signs: Signs) -> bool:
    """False only where no number is spelled in words."""
    return sum(map(signs.lower.count, _DIGIT_WORDS)) >= 3 and signs.matches(rf"{_WORD_ONLY}[\s,.\-]{{1,3}}{_WORD_ONLY}\b")


def find_spoken_phones(text: str) -> Iterator[Found]:
    """`two one two, five five five, oh one eight eight`"""
    for match in SPOKEN.finditer(text):
        if re.search(r"[a-z]{3}", match.group(), re.IGNORECASE):
            digits = words_to_digits(match.group())
            cue, against = _surroundings(text, *match.span())
            if len(digits) in (10, 11) and not against and (cue or _is_valid(digits[-10:], ("US",))):
                yield Found(*match.span(), digits[-10:])


def words_to_digits(text: str) -> str:
    """The digits of words such as `five five one`."""
    words: list[str] = re.findall(_DIGIT_WORD, text.lower())
    return "".join(_DIGIT_WORDS.get(w, w) for w in words)
