"""What stands in place of a private item."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from humanllm_assets.filtering.privacy.finding import any_writing, find_left, find_private, read_words
from humanllm_assets.filtering.privacy.items import PrivateItem

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
        text = any_writing(item.kind, item.value).sub(_invent(item, owner, known), read_words(text))
    return text
