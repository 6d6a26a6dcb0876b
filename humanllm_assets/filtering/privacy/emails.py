"""E-mail addresses, also written so that no machine reads them: `jo at gmail dot com`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from humanllm_assets.filtering.privacy.items import Found, Signs

_PROVIDERS = "gmail|googlemail|yahoo|ymail|rocketmail|hotmail|outlook|live|msn|aol|icloud|protonmail|proton|gmx|comcast|fastmail"
_DOT = r"(?:\.|\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?|\sdot\s|_dot_)"
_AT = re.compile(
    r"(?:(?<=\S)@|&#64;|&commat;|%40|\s?[\[({<]\s?(?:at|@|a)\s?[\])}>]\s?|_at_|@\s|\s@\s|\s@|\sat\s)(?=[^\W_])", re.IGNORECASE
)
_LOCAL = re.compile(rf"(?<![\w+%@])[\w+%'-]{{1,64}}(?:{_DOT}[\w+%'-]{{1,64}}){{0,5}}$", re.IGNORECASE)
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:{_DOT}{_LABEL}){{1,6}}|(?:{_PROVIDERS})\b", re.IGNORECASE)
PROVIDER = re.compile(rf"(?:{_PROVIDERS})", re.IGNORECASE)
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


def may_hold_email(signs: Signs) -> bool:
    """False only where no e-mail address stands."""
    spelled = signs.has(
        "dot", "mail", "yahoo", "outlook", "contact", "write", "reach", "&#64;", "&commat;", "%40", "_at_", "live.", "aol"
    )
    return "@" in signs.text or spelled or signs.matches(r"[\[({<]\s?at?\s?[\])}>]")


def find_emails(text: str) -> Iterator[Found]:
    """E-mail addresses in any spelling, as `local@domain`."""
    done = 0
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        local = _LOCAL.search(text, max(done, at.start() - 130), at.start()) if domain else None
        if domain and local and (found := _read_email(text, local, at.group(), domain)):
            done = found.end
            yield found


def _read_email(text: str, local_part: re.Match[str], at: str, domain: re.Match[str]) -> Found | None:
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
    provider = PROVIDER.fullmatch(labels[0]) is not None
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
    return Found(local_part.start(), domain.start() + ends[kept - 1], f"{local}@{'.'.join(labels[:kept])}")
