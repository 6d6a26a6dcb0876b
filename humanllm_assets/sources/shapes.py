"""Pieces of SQL that the shapes of several sources are written with. The macros that they call are made in `text_macros.py`."""

from __future__ import annotations

NO_TIME = "unix_time({0}) IS NULL"  # of a field


def say_problem(**checks: str) -> str:
    """SQL that names the first field that cannot be used, or NULL.

    Args:
        checks: field -> condition under which it cannot be used.
    """
    cases = " ".join(f"WHEN {condition} THEN 'no usable {name}'" for name, condition in checks.items())
    return f"CASE {cases} END"
