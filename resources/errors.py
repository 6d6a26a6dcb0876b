"""What the engine raises; importable without loading the engine."""

from __future__ import annotations

BUDGET_USED_UP = "the budget is used up"  # begins the message of `BudgetReached`; a run's failure is known by its text alone


class EngineError(RuntimeError):
    """No answers can be got; the message names the endpoint or server, the reason and the remedy."""


class BudgetReached(EngineError):
    """The next call would pass the limit that the run was given; it was not sent."""
