"""Errors that people can mend, and what the engine raises; importable without loading anything."""

from __future__ import annotations

BUDGET_USED_UP = "the budget is used up"  # begins the message of `BudgetReached`; a run's failure is known by its text alone


class Explained(Exception):
    """Base of every error whose cause lies outside the code: an input, a profile, a model, a server, a disk, a budget.

    The message is one sentence that names what is wrong and the remedy, so commands print it alone and runs fail with it, without
    a traceback. Anything else is a bug and shows where it happened.
    """


class EngineError(Explained):
    """No answers can be got; the message names the endpoint or server, the reason and the remedy."""


class BudgetReached(EngineError):
    """The next call would pass the limit that the run was given; it was not sent."""
