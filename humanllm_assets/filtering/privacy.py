"""What in a text belongs to a private person, and what stands in its place (F5): one detector for titles, contexts and texts.

What belongs here: finding private items, replacing them, and telling whether an item of one text still stands in another one, in
whatever way it is written. What does not: rewriting and dropping records (`rewriting.py`).

Two libraries decide what is valid: `phonenumbers` for phone numbers, the pattern recognizers of `presidio-analyzer` for what has
a checksum or a fixed form (cards, IBANs, SSNs, addresses of networks and wallets, passports). They run without any model or
network, and only on texts that a cheap expression lets through, because they are slow and presidio takes seconds to import. What
neither knows is ours: how people write an e-mail address so that no machine reads it, and which of many numbers in a text is a
phone number. A number with a country code or in a form that only phone numbers have is one; any other number needs a word beside
it (`call`, `my number`), and a word such as `order` or `ISBN` speaks against it.

Kinds in `UNMEASURED` need to understand the text; they are found in their plainest forms only, and nothing is promised for them.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

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


@cache
def detector_identity() -> dict[str, str]:
    """The versions of the libraries whose rules and tables decide what is found."""
    return {name: version(name) for name in ("phonenumbers", "presidio-analyzer", "tldextract")}


# ---- one form for all characters -------------------------------------------------------------------------------------

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


def _fold(text: str) -> tuple[str, Sequence[int]]:
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


class _Signs(NamedTuple):
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


def _read_signs(text: str) -> _Signs:
    return _Signs(text, text.lower(), sum(map(text.count, "0123456789")))


class _Found(NamedTuple):
    start: int
    end: int
    value: str


# ---- e-mail addresses ------------------------------------------------------------------------------------------------

_PROVIDERS = "gmail|googlemail|yahoo|ymail|rocketmail|hotmail|outlook|live|msn|aol|icloud|protonmail|proton|gmx|comcast|fastmail"
_DOT = r"(?:\.|\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?|\sdot\s|_dot_)"
_AT = re.compile(
    r"(?:(?<=\S)@|&#64;|&commat;|%40|\s?[\[({<]\s?(?:at|@|a)\s?[\])}>]\s?|_at_|@\s|\s@\s|\s@|\sat\s)(?=[^\W_])", re.IGNORECASE
)
_LOCAL = re.compile(rf"(?<![\w+%@])[\w+%'-]{{1,64}}(?:{_DOT}[\w+%'-]{{1,64}}){{0,5}}$", re.IGNORECASE)
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:{_DOT}{_LABEL}){{1,6}}|(?:{_PROVIDERS})\b", re.IGNORECASE)
_PROVIDER = re.compile(rf"(?:{_PROVIDERS})", re.IGNORECASE)
_MAIL_CUE = re.compile(
    r"\b(?:e-?mail|mail|contact|write|reach)(?: (?:me|us|him|her|to|at|is|address))*[\s:]{1,3}$", re.IGNORECASE
)
# words before `at` in a sentence about a web site (`look at jo dot com`), which are no one's mail box
_NO_LOCAL = re.compile(
    r"me|us|him|her|them|it|you|out|in|on|up|off|over|is|are|was|were|be|been|am|look|looking|looked|here|there|now|online|"
    r"available|sale|shop|shopping|store|site|website|page|blog|found|find|buy|bought|order|ordered|check|visit|see|saw|go|"
    r"going|get|got|work|working|worked|live|living|lived|meet|met|join|back|home|account|right|down|people|register|"
    r"registered|sign|log|login|not|and|or|just|only|free|new|more|read|reading|watch|email|mail|located|hosted|posted|"
    r"listed|sold|start|started|stay|one"
)


@cache
def _split_domain() -> Callable[[str], Any]:
    """tldextract with the list of suffixes that comes with it: it would fetch a newer one."""
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None)


def _may_hold_email(signs: _Signs) -> bool:
    spelled = signs.has(
        "dot", "mail", "yahoo", "outlook", "contact", "write", "reach", "&#64;", "&commat;", "%40", "_at_", "live.", "aol"
    )
    return "@" in signs.text or spelled or signs.matches(r"[\[({<]\s?at?\s?[\])}>]")


def _find_emails(text: str) -> Iterator[_Found]:
    done = 0
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        local = _LOCAL.search(text, max(done, at.start() - 130), at.start()) if domain else None
        if domain and local and (found := _read_email(text, local, at.group(), domain)):
            done = found.end
            yield found


def _read_email(text: str, local_part: re.Match[str], at: str, domain: re.Match[str]) -> _Found | None:
    """The address of a match, cut after the last label that makes a known suffix; None when a sentence only looks like one."""
    local = re.sub(_DOT, ".", local_part.group(), flags=re.IGNORECASE).lower()
    dots = list(re.finditer(_DOT, domain.group(), re.IGNORECASE))
    starts = [0, *(d.end() for d in dots)]
    ends = [*(d.start() for d in dots), len(domain.group())]
    labels = [domain.group()[a:b].lower() for a, b in zip(starts, ends, strict=True)]
    spelled_dot = any(d.group() != "." for d in dots)
    kept = len(labels)
    while kept > 1 and not ((parts := _split_domain()(".".join(labels[:kept]))).suffix and parts.domain):
        kept -= 1
    provider = _PROVIDER.fullmatch(labels[0]) is not None
    at = re.sub(r"\s", " ", at.lower())
    if kept == 1:  # jo@gmail
        if not (provider and at == "@"):
            return None
        labels[0] += ".com"
    if at == " @" and not provider:  # a mention: `thanks @jo.smith`
        return None
    if at in (" at ", " @ ") and _NO_LOCAL.fullmatch(local):
        return None
    if at == " at ":
        named = provider or _MAIL_CUE.search(text, max(0, local_part.start() - 40), local_part.start())
        if not (spelled_dot or named):
            return None
    return _Found(local_part.start(), domain.start() + ends[kept - 1], f"{local}@{'.'.join(labels[:kept])}")


# ---- phone numbers ---------------------------------------------------------------------------------------------------

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
_SPOKEN = re.compile(rf"\b{_DIGIT_WORD}(?:[\s,.\-]{{1,3}}{_DIGIT_WORD}){{6,14}}\b", re.IGNORECASE)


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


def _find_phones(text: str) -> Iterator[_Found]:
    text = _NOT_PHONES.sub(lambda m: "\0" * len(m.group()), text).replace("[", "(").replace("]", ")")
    for run in _RUN.finditer(text):
        if sum(map(str.isdigit, run.group())) >= 7:
            yield from _phones_of_run(text, run)


def _may_part(sep: str, before: int, after: int) -> bool:
    """Whether a number may end between two groups: at a blank, and at any mark between two whole numbers."""
    return " " in sep or "\t" in sep or "(" in sep or min(before, after) >= 7


def _phones_of_run(text: str, run: re.Match[str]) -> Iterator[_Found]:
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


def _read_phone(text: str, groups: Sequence[tuple[int, int]], seps: Sequence[str], whole_run: bool) -> _Found | None:
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
    return _Found(opened, extension.end() if extension else end, national)


def _may_hold_spoken_phone(signs: _Signs) -> bool:
    return sum(map(signs.lower.count, _DIGIT_WORDS)) >= 3 and signs.matches(rf"{_WORD_ONLY}[\s,.\-]{{1,3}}{_WORD_ONLY}\b")


def _find_spoken_phones(text: str) -> Iterator[_Found]:
    """`two one two, five five five, oh one eight eight`"""
    for match in _SPOKEN.finditer(text):
        if re.search(r"[a-z]{3}", match.group(), re.IGNORECASE):
            digits = _words_to_digits(match.group())
            cue, against = _surroundings(text, *match.span())
            if len(digits) in (10, 11) and not against and (cue or _is_valid(digits[-10:], ("US",))):
                yield _Found(*match.span(), digits[-10:])


def _words_to_digits(text: str) -> str:
    words: list[str] = re.findall(_DIGIT_WORD, text.lower())
    return "".join(_DIGIT_WORDS.get(w, w) for w in words)


# ---- what presidio knows ---------------------------------------------------------------------------------------------

_WIDE_CARD = r"(?<![\d.,])(?:[456]\d{3}|2[2-7]\d\d|3[0-9]\d\d)(?:[ -]?\d){8,15}(?!\d)"


@cache
def _recognizers() -> dict[str, tuple[Any, ...]]:
    """Presidio's recognizers by our kind. Only `analyze` of single recognizers is used, which needs no language model."""
    from presidio_analyzer import Pattern
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        CryptoRecognizer,
        IbanRecognizer,
        InAadhaarRecognizer,
        IpRecognizer,
        MacAddressRecognizer,
        UkNinoRecognizer,
        UsPassportRecognizer,
        UsSsnRecognizer,
    )
    from presidio_analyzer.predefined_recognizers.country_specific.germany.de_passport_recognizer import DePassportRecognizer
    from presidio_analyzer.predefined_recognizers.country_specific.india.in_passport_recognizer import InPassportRecognizer
    from presidio_analyzer.predefined_recognizers.country_specific.uk.uk_passport_recognizer import UkPassportRecognizer

    class SsnRecognizer(UsSsnRecognizer):
        """Also the number of the Woolworth wallet, which presidio takes for a placeholder."""

        def invalidate_result(self, pattern_text: str) -> bool:
            return re.sub(r"\D", "", pattern_text) != "078051120" and super().invalidate_result(pattern_text)

    return {
        "card": (CreditCardRecognizer(patterns=[Pattern("card", _WIDE_CARD, 0.3)]),),  # presidio's own ends at 16 digits
        "iban": (IbanRecognizer(),),
        "crypto": (CryptoRecognizer(),),
        "ip": (IpRecognizer(),),
        "mac": (MacAddressRecognizer(),),
        "ssn": (SsnRecognizer(),),
        "passport": (UsPassportRecognizer(), UkPassportRecognizer(), InPassportRecognizer(), DePassportRecognizer()),
        "national_id": (UkNinoRecognizer(), InAadhaarRecognizer()),
    }


class _Rule(NamedTuple):
    """When presidio's recognizers of a kind are asked, and which of their answers count."""

    kind: str
    may_hold: Callable[[_Signs], bool]
    accepts: Callable[[str, int, int], bool]


def _has_before(words: str) -> Callable[[str, int, int], bool]:
    pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    return lambda text, start, end: pattern.search(text, max(0, start - 50), start) is not None


_SSN_CUE = _has_before(r"ssn|social security|social sec|social|ss#")
_VERSION_CUE = _has_before(
    r"v|ver|versions?|firmware|release|build|driver|chrome|firefox|windows|kernel|section|chapter|update|patch"
)
_AADHAAR_CUE = _has_before(r"aa?dhaa?r|uidai|uid")


def _accept_card(text: str, start: int, end: int) -> bool:
    groups = re.findall(r"\d+", text[start:end])
    digits = "".join(groups)
    if len(digits) > 16 and len(groups) == 1:  # an identifier
        return False
    rounded = len(groups) > 1 and math.gcd(*map(int, groups)) % 50 == 0  # 5000 5200 5400 5600
    return not rounded and re.fullmatch(r"(?:4|5|6|2[2-7]|35)\d*(?<=\d{16})|3[47]\d{13}|3[068]\d{12}", digits) is not None


def _accept_ssn(text: str, start: int, end: int) -> bool:
    written = text[start:end]
    return re.fullmatch(r"\d{3}-\d\d-\d{4}", written) is not None or _SSN_CUE(text, start, end)


def _accept_ip(text: str, start: int, end: int) -> bool:
    written = text[start:end].split("/")[0]
    if ":" in written:
        return written.count(":") >= 3 and any(map(str.isdigit, written))
    small = all(len(part) == 1 for part in written.split("."))  # 1.2.3.4 is a section or a version
    part_of_more = re.match(r"\.\d", text[end : end + 2]) is not None or text[start - 1 : start] == "."
    return not small and not part_of_more and not _VERSION_CUE(text, start, end)


def _accept_mac(text: str, start: int, end: int) -> bool:
    written = text[start:end]
    return written.count(":") == 5 or re.search(r"[a-f]", written, re.IGNORECASE) is not None


def _accept_national_id(text: str, start: int, end: int) -> bool:
    written = text[start:end]
    return written.isupper() if written[0].isalpha() else _AADHAAR_CUE(text, start, end)


def _accept(text: str, start: int, end: int) -> bool:
    return True


def _may_hold_ip(signs: _Signs) -> bool:
    return signs.n_digits >= 4 and (signs.matches(r"\.[0-9]{1,3}\.[0-9]") or signs.matches(r":[0-9a-f]{0,4}:[0-9a-f]{0,4}:"))


def _may_hold_mac(signs: _Signs) -> bool:
    return max(signs.text.count(":"), signs.text.count("-")) >= 5 or signs.matches(r"\.[0-9a-f]{4}\.[0-9a-f]{4}")


_RULES = (
    _Rule("iban", lambda s: s.n_digits >= 8 and s.matches(r"[0-9]{2}(?:[ ./_-]?[a-z0-9]{4}){2}[ ./_-]?[a-z0-9]"), _accept),
    _Rule("crypto", lambda s: s.n_digits >= 1 and s.matches(r"(?:bc1|[13])[a-z0-9]{25}"), _accept),
    _Rule("mac", _may_hold_mac, _accept_mac),
    _Rule("ip", _may_hold_ip, _accept_ip),
    _Rule("card", lambda s: s.n_digits >= 14 and s.matches(r"[0-9](?:[ ./_-]?[0-9]){13}"), _accept_card),
    _Rule("ssn", lambda s: s.n_digits >= 9 and s.matches(r"[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}|[0-9]{9}"), _accept_ssn),
    _Rule("passport", lambda s: s.n_digits >= 7 and s.has("passport"), _has_before("passports?")),
    _Rule(
        "national_id", lambda s: s.n_digits >= 6 and (s.has("adha", "uidai") or s.matches(r"(?:[0-9]{2} ?){3}[a-d]")),
        _accept_national_id,
    ),
)  # fmt: skip


def _find_by_rule(rule: _Rule, text: str) -> Iterator[_Found]:
    if rule.kind in ("card", "iban"):  # people group them by dots and slashes too
        text = re.sub(r"(?<=[^\W_]{4})[./_](?=\w)", "-", text)
    if rule.kind == "iban":  # in capitals; a word behind it must not become a group of it
        text = re.sub(r"\b[a-z]{1,4}\d\w*", lambda m: m.group().upper(), text, flags=re.ASCII)
    for recognizer in _recognizers()[rule.kind]:
        for result in recognizer.analyze(text, recognizer.supported_entities):
            start, end = result.start, result.end
            while end > start and not text[end - 1].isalnum():
                end -= 1
            if rule.accepts(text, start, end):
                yield _Found(start, end, _squeeze(text[start:end]))


def _squeeze(written: str) -> str:
    return re.sub(r"[\W_]", "", written).lower()


# ---- plain forms of our own ------------------------------------------------------------------------------------------

_WALLET = re.compile(r"\b0x[0-9a-f]{40}\b", re.IGNORECASE)
_PROFILE = re.compile(
    r"(?:https?://)?(?:www\.|m\.|mobile\.|[a-z]{2}\.)?(?:(?P<site>"
    r"(?:instagram|twitter|facebook|fb|soundcloud|venmo|patreon|onlyfans|github|flickr|myspace|pinterest)\.com|twitch\.tv"
    r"|(?:t|wa|paypal|line)\.me|cash\.app(?=/\$)|keybase\.io)/(?:people/|user/|@|\$)?"
    r"|(?P<other>reddit\.com(?=/u)|linkedin\.com(?=/in)|youtube\.com(?=/(?:@|c/|u))|(?:medium|tiktok|threads)\.(?:com|net)(?=/@)"
    r"|snapchat\.com(?=/add)|steamcommunity\.com(?=/[ip])|last\.fm(?=/u))/(?:@|(?:u|user|in|c|add|id|profiles)/))"
    r"(?P<user>\w[\w.+-]{1,40}\w)",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"\b(?:https?|ftp|ssh)://(?P<login>[^\s/@:]{1,60}(?::[^\s/@]{1,60})?@[\w.-]+)", re.IGNORECASE)
_NO_USER = re.compile(
    r"home|search|hashtag|explore|share|sharer|intent|login|help|about|groups|pages|watch|events|privacy|policy|status"
)


def _find_user_urls(text: str) -> Iterator[_Found]:
    for match in _LOGIN.finditer(text):
        yield _Found(*match.span(), match["login"].lower())
    for match in _PROFILE.finditer(text):
        if not _NO_USER.fullmatch(match["user"].lower()) and not re.match(r"\w", text[match.start() - 1 : match.start()]):
            yield _Found(*match.span(), f"{match['site'] or match['other']}/{match['user']}".lower())


def _find_wallets(text: str) -> Iterator[_Found]:
    for match in _WALLET.finditer(text):
        yield _Found(*match.span(), match.group().lower())


_STREET = re.compile(
    r"\b\d{1,5}[A-Za-z]?,? (?:(?:[NSEW]|North|South|East|West)\.? )?(?:[A-Z][\w'.-]+ |\d{1,3}(?:st|nd|rd|th) ){1,3}?"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Boulevard|Blvd|Drive|Dr|Court|Ct|Terrace|Crescent|Parkway|Pkwy|Way|Close)\b\.?"
    r"(?:,? (?:Apt|Apartment|Unit|Suite|Flat|#)\.? ?\w{1,5})?(?:, [A-Z][a-z]+(?: [A-Z][a-z]+)?,? [A-Z]{2} \d{5}(?:-\d{4})?)?"
    r"|\bP\.? ?O\.? Box \d{1,6}\b"
)
_NO_STREET = re.compile(
    r"\b(?:Minute|Hour|Day|Week|Month|Year|Mile|Star|Best|More|Man|Men|Supreme|High|District|Federal|Hurricane|Category)s?\b"
)
_NAME = re.compile(r"\b[Mm]y (?:full |real )?name(?: is|'s) (?P<name>[A-Z][a-z'-]+(?: [A-Z]\.?)?(?: [A-Z][a-z'-]+){1,2})\b")


def _find_addresses(text: str) -> Iterator[_Found]:
    for match in _STREET.finditer(text):
        if not _NO_STREET.search(match.group()):
            yield _Found(*match.span(), _squeeze(match.group()))


def _find_names(text: str) -> Iterator[_Found]:
    for match in _NAME.finditer(text):
        yield _Found(*match.span("name"), _squeeze(match["name"]))


# ---- all kinds -------------------------------------------------------------------------------------------------------


class _Finder(NamedTuple):
    kind: str
    may_hold: Callable[[_Signs], bool]
    find: Callable[[str], Iterator[_Found]]


_FINDERS = (
    _Finder(
        "url_user", lambda s: "/" in s.text and s.matches(r"(?:com|tv|me|app|io|fm|net)/|://[^\s/]{1,120}@"), _find_user_urls
    ),
    _Finder("email", _may_hold_email, _find_emails),
    _Finder("crypto", lambda s: s.has("0x"), _find_wallets),
    *(_Finder(rule.kind, rule.may_hold, partial(_find_by_rule, rule)) for rule in _RULES),
    _Finder("phone", lambda s: s.n_digits >= 7 and s.matches(r"[0-9](?:[^0-9a-z\n]{0,4}[0-9]){6}"), _find_phones),
    _Finder("phone", _may_hold_spoken_phone, _find_spoken_phones),
    _Finder("address", lambda s: s.n_digits >= 1, _find_addresses),
    _Finder("name", lambda s: s.has("name"), _find_names),
)


def find_private(text: str | None) -> list[PrivateItem]:
    """The private items of a text in their order; none overlaps another."""
    if not text:
        return []
    plain, places = _fold(text)
    signs = _read_signs(plain)
    found = []
    for kind, may_hold, find in _FINDERS:
        for start, end, value in sorted(find(plain)) if may_hold(signs) else ():
            if "\0" not in plain[start:end]:
                found.append(PrivateItem(kind, places[start], places[end - 1] + 1, value))
                plain = f"{plain[:start]}{chr(0) * (end - start)}{plain[end:]}"
    return sorted(found, key=lambda item: item.start)


# ---- any way of writing ----------------------------------------------------------------------------------------------


@lru_cache(4096)
def _any_writing(kind: str, value: str) -> re.Pattern[str]:
    """What matches an item however it is grouped, bracketed or spelled out."""
    if kind == "email":
        local, _, domain = value.partition("@")
        name, *rest = domain.split(".")
        ending = "".join(rf"[\W_]*(?:dot[\W_]*)?{_spaced(part)}" for part in rest)
        if _PROVIDER.fullmatch(name):
            ending = f"(?:{ending})?"
        first = r"[\W_]*(?:dot[\W_]*)?".join(_spaced(part) for part in local.split("."))
        return re.compile(rf"(?<![^\W_]){first}[\W_]*(?:at[\W_]*)?{_spaced(name)}{ending}(?![^\W_])", re.IGNORECASE)
    pattern = _spaced(value)
    if kind in ("name", "address", "url_user"):
        pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
    if kind == "phone" and len(value) == 10:  # without its area code too, but not behind another one
        pattern += rf"|(?<!\d)(?<!\d\W)(?<!\d\W\W){_spaced(value[3:])}(?!\d)"
    return re.compile(pattern, re.IGNORECASE)


def _spaced(value: str) -> str:
    return r"[\W_]{0,3}".join(map(re.escape, re.sub(r"[\W_]", "", value)))


def _read_words(text: str) -> str:
    """Folded, with spelled numbers in digits."""
    plain, _ = _fold(text)
    return _SPOKEN.sub(lambda m: _words_to_digits(m.group()), plain)


def find_left(items: Iterable[PrivateItem], text: str | None) -> list[PrivateItem]:
    """Those items, found in another text, that still stand in this one, written in any way."""
    wanted = {(item.kind, item.value): item for item in items}
    if not wanted or not text:
        return []
    plain = _read_words(text)
    return [item for key, item in wanted.items() if _any_writing(*key).search(plain)]


# ---- replacements ----------------------------------------------------------------------------------------------------

_INVENTED: dict[str, str] = {
    "email": "someone{:04}@example.com",
    "phone": "555-01{:02}",  # 555-0100 to 555-0199 belong to nobody
    "card": "0000 0000 0000 {:04}",
    "iban": "XX00 0000 0000 {:04}",
    "crypto": "example-wallet-{:04}",
    "mac": "00:00:5E:00:53:{:02}",  # the range of RFC 7042 for documents
    "ip": "192.0.2.{:02}",  # the one of RFC 5737
    "ssn": "000-00-{:04}",
    "passport": "X0000{:04}",
    "national_id": "X0000{:04}",
    "url_user": "example.com/user{:04}",
    "address": "{:04} Example Street",
    "name": "Example Person {:02}",
}


def _invent(item: PrivateItem, owner: str, known: Sequence[PrivateItem]) -> str:
    """An obviously invented value for an item: the same for the same owner and item, and none of the private ones.

    It is one of 100 or 10,000 by a hash, so that thousands of originals lead to it and none can be read from it.
    """
    form = _INVENTED[item.kind]
    known = [other for other in known if other.kind == item.kind]
    n_values = 100 if "{:02}" in form else 10_000
    first = int(hashlib.sha256(f"{owner}\0{item.kind}\0{item.value}".encode()).hexdigest()[:8], 16)
    values = (form.format((first + i) % n_values) for i in range(n_values))
    return next((v for v in values if not find_left(known, v)), form.format(first % n_values))


def mask(text: str, owner: str = "", known: Sequence[PrivateItem] = ()) -> str:
    """The text with every private item replaced by an invented one.

    Args:
        owner: whose record it is: equal items of one owner become equal values, those of different owners do not.
        known: items of the record's other texts, which are replaced here in any writing.
    """
    found = find_private(text)
    known = [*known, *found]
    for item in reversed(found):
        text = text[: item.start] + _invent(item, owner, known) + text[item.end :]
    for item in find_left(known, text):
        text = _any_writing(item.kind, item.value).sub(_invent(item, owner, known), _read_words(text))
    return text
