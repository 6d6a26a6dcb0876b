"""Pieces of SQL that the shapes of several sources are written with. The macros that they call are made in `text_macros.py`."""

from __future__ import annotations


def no_time(time: str, since: str) -> str:
    """SQL: a time is not understood, or is none at which somebody can have written.

    Args:
        time: SQL of a TIMESTAMP, such as `unix_time(created_utc)`.
        since: the day on which the site opened. The other end is the year 2100 and not today: the clock is no input, and the same
            file must give the same rows tomorrow.
    """
    return f"coalesce({time} NOT BETWEEN TIMESTAMP '{since}' AND TIMESTAMP '2100-01-01', true)"


def say_problem(**checks: str) -> str:
    """SQL that names the first field that cannot be used, or NULL.

    Args:
        checks: field -> condition under which it cannot be used.
    """
    cases = " ".join(f"WHEN {condition} THEN 'no usable {name}'" for name, condition in checks.items())
    return f"CASE {cases} END"
