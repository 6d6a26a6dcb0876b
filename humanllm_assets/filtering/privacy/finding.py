"""All finders in their order, and whether an item of one text still stands in another one, in whatever way it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache, partial
from importlib.metadata import version
from typing import NamedTuple

from humanllm_assets.filtering.privacy.checked_forms import RULES, find_by_rule
from humanllm_assets.filtering.privacy.emails import PROVIDER, find_emails, may_hold_email
from humanllm_assets.filtering.privacy.items import Found, PrivateItem, Signs, fold, read_signs
from humanllm_assets.filtering.privacy.phones import (
    SPOKEN,
    find_phones,
    find_spoken_phones,
    may_hold_spoken_phone,
    words_to_digits,
)
from humanllm_assets.filtering.privacy.plain_forms import find_addresses, find_names, find_user_urls, find_wallets


@cache
def detector_identity() -> dict[str, str]:
    """The versions of the libraries whose rules and tables decide what is found."""
    return {name: version(name) for name in ("phonenumbers", "presidio-analyzer", "tldextract")}


class _Finder(NamedTuple):
    kind: str
    may_hold: Callable[[Signs], bool]
    find: Callable[[str], Iterator[Found]]


_FINDERS = (
    _Finder("url_user", lambda s: "/" in s.text and s.matches(r"(?:com|tv|me|app|io|fm|net)/|://[^\s/]{1,120}@"), find_user_urls),
    _Finder("email", may_hold_email, find_emails),
    _Finder("crypto", lambda s: s.has("0x"), find_wallets),
    *(_Finder(rule.kind, rule.may_hold, partial(find_by_rule, rule)) for rule in RULES),
    _Finder("phone", lambda s: s.n_digits >= 7 and s.matches(r"[0-9](?:[^0-9a-z\n]{0,4}[0-9]){6}"), find_phones),
    _Finder("phone", may_hold_spoken_phone, find_spoken_phones),
    _Finder("address", lambda s: s.n_digits >= 1, find_addresses),
    _Finder("name", lambda s: s.has("name"), find_names),
)


def find_private(text: str | None) -> list[PrivateItem]:
    """The private items of a text in their order; none overlaps another."""
    if not text:
        return []
    plain, places = fold(text)
    signs = read_signs(plain)
    found = []
    for kind, may_hold, find in _FINDERS:
        for start, end, value in sorted(find(plain)) if may_hold(signs) else ():
            if "\0" not in plain[start:end]:
                found.append(PrivateItem(kind, places[start], places[end - 1] + 1, value))
                plain = f"{plain[:start]}{chr(0) * (end - start)}{plain[end:]}"
    return sorted(found, key=lambda item: item.start)


@lru_cache(4096)
def any_writing(kind: str, value: str) -> re.Pattern[str]:
    """What matches an item however it is grouped, bracketed or spelled out."""
    if kind == "email":
        local, _, domain = value.partition("@")
        name, *rest = domain.split(".")
        ending = "".join(rf"[\W_]*(?:dot[\W_]*)?{_spaced(part)}" for part in rest)
        if PROVIDER.fullmatch(name):
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


def read_words(text: str) -> str:
    """Folded, with spelled numbers in digits."""
    plain, _ = fold(text)
    return SPOKEN.sub(lambda m: words_to_digits(m.group()), plain)


def find_left(items: Iterable[PrivateItem], text: str | None) -> list[PrivateItem]:
    """Those items, found in another text, that still stand in this one, written in any way."""
    wanted = {(item.kind, item.value): item for item in items}
    if not wanted or not text:
        return []
    plain = read_words(text)
    return [item for key, item in wanted.items() if any_writing(*key).search(plain)]
