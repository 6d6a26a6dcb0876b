"""What is told by its form alone: users in web addresses, wallets, and the plainest street addresses and names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from humanllm_assets.filtering.privacy.items import Found, squeeze

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


def find_user_urls(text: str) -> Iterator[Found]:
    """Users in web addresses, as `site/user`, and logins."""
    for match in _LOGIN.finditer(text):
        yield Found(*match.span(), match["login"].lower())
    for match in _PROFILE.finditer(text):
        if not _NO_USER.fullmatch(match["user"].lower()) and not re.match(r"\w", text[match.start() - 1 : match.start()]):
            yield Found(*match.span(), f"{match['site'] or match['other']}/{match['user']}".lower())


def find_wallets(text: str) -> Iterator[Found]:
    """Ethereum wallets."""
    for match in _WALLET.finditer(text):
        yield Found(*match.span(), match.group().lower())


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


def find_addresses(text: str) -> Iterator[Found]:
    """Street addresses in their plainest form; nothing is promised."""
    for match in _STREET.finditer(text):
        if not _NO_STREET.search(match.group()):
            yield Found(*match.span(), squeeze(match.group()))


def find_names(text: str) -> Iterator[Found]:
    """Names behind `my name is`; nothing is promised."""
    for match in _NAME.finditer(text):
        yield Found(*match.span("name"), squeeze(match["name"]))
