"""What the engine raises; importable without loading the engine."""

from __future__ import annotations


class EngineError(RuntimeError):
    """No answers can be got; the message names the endpoint or server, the reason and the remedy."""


class BudgetReached(EngineError):
    """The next call would pass the limit that the run was given; it was not sent."""
