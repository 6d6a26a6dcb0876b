"""Stable randomness: every "random" choice of the task data sets and benchmarks is a hash of what it is about.

Nothing here depends on an interpreter's hash seed, on row order or on the number of rows: the same id gives the same choice in
Python and in DuckDB, on every machine. Adding a user moves no other user to another split.

What belongs here: the hash, its SQL twin, the train/test split. What does not: anything that knows a task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

T = TypeVar("T")
_DIGITS = 13  # 52 bits: exactly representable as a double, so that Python and DuckDB agree to the last bit


def stable_int(*parts: object) -> int:
    """A number in [0, 2^52) that depends on the parts alone."""
    text = "|".join(str(p) for p in parts)
    return int(hashlib.sha256(text.encode()).hexdigest()[:_DIGITS], 16)


def stable_unit(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return stable_int(*parts) / 2**52


def stable_shuffle(items: Iterable[T], *seed: object, key: Callable[[T], str] = str) -> list[T]:
    """The items in an order that depends on the seed and on each item's own key, not on the order in which they came.

    `key` turns an item into a text that identifies it; equal keys keep an arbitrary order, so keys should be distinct.
    """
    return sorted(items, key=lambda item: (stable_int(*seed, key(item)), key(item)))


MACROS = (
    "create or replace temp macro stable_int(x) as ('0x' || left(sha256(x), 13))::bigint",
    "create or replace temp macro stable_unit(x) as stable_int(x) / 4503599627370496.0",
    r"create or replace temp macro word_count(x) as coalesce(len(regexp_extract_all(x, '\S+')), 0)",
)
"""SQL twins: `stable_int('a|b')`, `stable_unit('a|b')` equal the Python functions called with the parts 'a', 'b'."""


def split_of(user_id: str, test_fraction: float) -> Literal["train", "test"]:
    """The split of a user, and with it of every sample of the user in every task and source (T7, 9:1).

    The paper splits by sample, so that a test user's persona and posts are in training; splitting by user excludes that. Comments
    and posts of one Reddit author share a user id and so a split.
    """
    return "test" if stable_unit("split", user_id) < test_fraction else "train"


def split_sql(user_id: str, test_fraction: float) -> str:
    """SQL expression equal to `split_of`, for the column or expression `user_id`."""
    return f"case when stable_unit('split|' || {user_id}) < {test_fraction!r} then 'test' else 'train' end"
