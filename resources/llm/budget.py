"""How much one refresh may spend on LLM calls, counted exactly over all processes that work for it.

A budget is one row of `<home>/budgets.sqlite`. Before a call is sent it is reserved there, in one statement that fails when the
limit would be passed; so the limit holds whatever runs at once, fails or is killed. A run finds its budget by the tag `TAG`,
which holds the row's id.

What belongs here: counting. What does not: sending (`attempts.py`), deciding which partition starts
(`humanllm_assets/planning/refresh_plan.py`).

Table `budgets`:
    id VARCHAR, created_at VARCHAR (UTC)
    max_calls INTEGER, max_cost DOUBLE    the limits; null = none. Cost is in the currency of the profile's prices
    calls INTEGER, cost DOUBLE            reserved or spent so far
    refused INTEGER                       1 when a call was not sent because of the limit
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources.errors import Explained

TAG = "humanllm/budget"
_SCHEMA = """
create table if not exists budgets (
    id text primary key, created_at text, max_calls integer, max_cost real, calls integer, cost real, refused integer
)"""


class UnknownBudget(Explained):
    """A budget that the home does not have."""


@dataclass(frozen=True)
class Spent:
    """State of a budget: limits, what is reserved or spent, whether a call had to be refused."""

    max_calls: int | None
    max_cost: float | None
    calls: int
    cost: float
    refused: bool

    @property
    def calls_left(self) -> int | None:
        """Calls that may still be sent, None = any number."""
        return None if self.max_calls is None else self.max_calls - self.calls

    @property
    def cost_left(self) -> float | None:
        """What may still be spent, None = any amount."""
        return None if self.max_cost is None else self.max_cost - self.cost

    def __str__(self) -> str:
        parts = [] if self.max_calls is None else [f"{self.calls:,} of {self.max_calls:,} calls"]
        if self.max_cost is not None:
            parts.append(f"{self.cost:,.4f} of {self.max_cost:,.4f} money")
        return " and ".join(parts)


class Budget:
    """The budget `id` of a data home. Safe to use from several threads and processes."""

    def __init__(self, home: Path, id: str) -> None:
        self.id = id
        self._path = home / "budgets.sqlite"

    @classmethod
    def create(cls, home: Path, max_calls: int | None, max_cost: float | None) -> Budget:
        """A new budget of nothing spent; None = no limit, cost in the currency of the profile's prices."""
        budget = cls(home, uuid.uuid4().hex[:12])
        home.mkdir(parents=True, exist_ok=True)
        with closing(budget._open()) as db:
            db.execute(_SCHEMA)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            db.execute("insert into budgets values (?, ?, ?, ?, 0, 0, 0)", (budget.id, now, max_calls, max_cost))
        return budget

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=120, isolation_level=None)
        db.execute("pragma synchronous = off")  # safe against a killed process; a crashed machine ends the refresh anyway
        return db

    def reserve(self, cost: float) -> bool:
        """Take one call that costs at most `cost`; False when a limit would be passed."""
        with closing(self._open()) as db:
            done = db.execute(
                "update budgets set calls = calls + 1, cost = cost + :cost where id = :id "
                "and (max_calls is null or calls < max_calls) and (max_cost is null or cost + :cost <= max_cost)",
                {"id": self.id, "cost": cost},
            )
            return done.rowcount == 1

    def settle(self, reserved: float, cost: float, answered: bool) -> None:
        """Replace a reservation by what the call really cost; a call that no server answered is given back."""
        with closing(self._open()) as db:
            db.execute(
                "update budgets set calls = calls - ?, cost = cost + ? where id = ?",
                (int(not answered), cost - reserved, self.id),
            )

    def refuse(self) -> None:
        """Note that a call was not sent because of the limit."""
        with closing(self._open()) as db:
            db.execute("update budgets set refused = 1 where id = ?", (self.id,))

    def spent(self) -> Spent:
        """What was reserved or spent so far.

        Raises:
            UnknownBudget: the home has no such budget.
        """
        with closing(self._open()) as db:
            db.execute(_SCHEMA)
            row = db.execute("select max_calls, max_cost, calls, cost, refused from budgets where id = ?", (self.id,)).fetchone()
        if row is None:
            raise UnknownBudget(f"there is no budget `{self.id}` in {self._path}; start the refresh again")
        return Spent(*row[:4], refused=bool(row[4]))
