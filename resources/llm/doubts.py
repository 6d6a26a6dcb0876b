"""Failures that may be the set-up's fault: a server that refuses every question must stop the step, one bad question must not.

What belongs here: the decision. What does not: which failures are doubtful (`outcomes.py`).
"""

from __future__ import annotations

from resources.llm.requests import LLMReply, UsageStats
from resources.llm.responses import read_words

_OWN_TEXT = ("thoughts", "empty", "ended_otherwise")  # reasons of failures whose raw text is the model's, about a person
MOST = 20  # doubtful failures in a row, however many questions are answered otherwise


class Doubts:
    """Holds doubtful replies of one `ask` back until a server's answer shows that the questions are to blame."""

    def __init__(self, usage: UsageStats) -> None:
        self._usage = usage
        self._held: list[LLMReply] = []
        self._answered = 0  # by servers
        self._in_a_row = 0  # doubtful replies since a server answered

    def __len__(self) -> int:
        return len(self._held)

    def pass_on(self, reply: LLMReply) -> list[LLMReply]:
        """The replies that may go on to the caller after a server's: none for a doubtful one, else also those held so far."""
        if reply.doubt:
            self._held.append(reply)
            self._in_a_row += 1
            return []
        if reply.value is None:
            return [reply]
        self._answered += 1
        self._in_a_row = 0
        return [*self.release(), reply]

    def release(self) -> list[LLMReply]:
        """The replies held so far, which are failures of their questions."""
        held, self._held = self._held, []
        return held

    def explain(self) -> str | None:
        """Asked when everything under way is held: what is wrong with the set-up, or None when the questions are to blame.

        Answers from the journal speak for the questions too, but less: the server may have changed since.
        """
        known = self._usage.journal_hits
        if {r.reason for r in self._held} == {"too_long"} and (known or self._answered):
            return None
        if self._in_a_row <= min(MOST, self._answered + max(min(known, 3), known // 20)):
            return None
        last = self._held[-1]
        words = "" if last.reason in _OWN_TEXT else f" ({read_words(last.raw)})"
        return f"{self._in_a_row} questions in a row failed as `{last.reason}`{words}; {last.doubt}"
