"""What has a checksum or a fixed form: cards, IBANs, SSNs, addresses of networks and wallets, passports, national ids.

The pattern recognizers of `presidio-analyzer` find them, without any model or network, and only in texts that a cheap expression lets
through: they are slow, and presidio takes seconds to import."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from humanllm_assets.filtering.privacy.items import Found, Signs, squeeze

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


class Rule(NamedTuple):
    """When presidio's recognizers of a kind are asked, and which of their answers count."""

    kind: str
    may_hold: Callable[[Signs], bool]
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


def _may_hold_ip(signs: Signs) -> bool:
    return signs.n_digits >= 4 and (signs.matches(r"\.[0-9]{1,3}\.[0-9]") or signs.matches(r":[0-9a-f]{0,4}:[0-9a-f]{0,4}:"))


def _may_hold_mac(signs: Signs) -> bool:
    return max(signs.text.count(":"), signs.text.count("-")) >= 5 or signs.matches(r"\.[0-9a-f]{4}\.[0-9a-f]{4}")


RULES = (
    Rule("iban", lambda s: s.n_digits >= 8 and s.matches(r"[0-9]{2}(?:[ ./_-]?[a-z0-9]{4}){2}[ ./_-]?[a-z0-9]"), _accept),
    Rule("crypto", lambda s: s.n_digits >= 1 and s.matches(r"(?:bc1|[13])[a-z0-9]{25}"), _accept),
    Rule("mac", _may_hold_mac, _accept_mac),
    Rule("ip", _may_hold_ip, _accept_ip),
    Rule("card", lambda s: s.n_digits >= 14 and s.matches(r"[0-9](?:[ ./_-]?[0-9]){13}"), _accept_card),
    Rule("ssn", lambda s: s.n_digits >= 9 and s.matches(r"[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}|[0-9]{9}"), _accept_ssn),
    Rule("passport", lambda s: s.n_digits >= 7 and s.has("passport"), _has_before("passports?")),
    Rule(
        "national_id", lambda s: s.n_digits >= 6 and (s.has("adha", "uidai") or s.matches(r"(?:[0-9]{2} ?){3}[a-d]")),
        _accept_national_id,
    ),
)  # fmt: skip


def find_by_rule(rule: Rule, text: str) -> Iterator[Found]:
    """What presidio's recognizers of the rule's kind find and the rule accepts."""
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
                yield Found(start, end, squeeze(text[start:end]))
