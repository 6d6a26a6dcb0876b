"""What happens to one request that the journal cannot answer. From the outside in, each function adds one thing:

    until_valid          asks until an answer is valid or the role's attempts are used up
    _once_per_key        one asker per question: equal questions at the same time wait for one answer
    _once_per_home       the same for all processes of the home
    _until_journalled    the answer is in the journal before another request takes its place
    _within_budget       no call beyond the budget
    Transport.send       a server's answer

What belongs here: asking again, and how often. What does not: which server answers (`transport.py`), the form of an answer
(`open_request.py`).
"""

from __future__ import annotations

import asyncio

from resources.errors import BUDGET_USED_UP, BudgetReached, EngineError
from resources.llm.budget import Budget
from resources.llm.claims import Claims
from resources.llm.journal import Answer, Journal
from resources.llm.journal_group import JournalGroup
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMReply
from resources.llm.transport import Pool, Refusal, Transport
from resources.llm.used_answers import UsedAnswers
from resources.profile import Engine as EngineConfig

_LOOK_AGAIN_S = 0.1  # at a question that another process asks


class Attempts:
    """Gets replies from servers, through the journal. All of it runs in one event loop; only `close` does not."""

    def __init__(
        self,
        config: EngineConfig,
        transport: Transport,
        journal: Journal,
        claims: Claims,
        used: UsedAnswers,
        budget: Budget | None,
    ) -> None:
        self._config, self._transport, self._claims = config, transport, claims
        self._journal = JournalGroup(journal)
        self._used, self._budget = used, budget
        self._asking: dict[str, asyncio.Event] = {}  # questions under way, by their key
        self._told: Call | None = None  # the latest that was told for whom it waits
        self._unsettled = 0  # calls that the budget holds reserved and no answer has settled

    def close(self) -> None:
        """Wait for what is being written."""
        self._journal.close()
        self._claims.close()

    async def until_valid(self, pool: Pool, open_request: OpenRequest) -> LLMReply:
        """Ask until the request has a reply.

        Raises:
            EngineError: no endpoint answers.
            BudgetReached: the next call would pass the budget's limit.
        """
        open_request.from_journal = False
        reply = None
        while reply is None:
            if open_request.attempt:
                open_request.call.usage.retries += 1
            got = await self._once_per_key(pool, open_request)
            if isinstance(got, Refusal):
                return open_request.fail(got.reason, got.text, got.doubt)
            if open_request.judge(got).row.kept:
                self._used.note(got)
            reply = open_request.take(got)
        return reply

    async def _once_per_key(self, pool: Pool, open_request: OpenRequest) -> Answer | Refusal:
        """The answer to a question from the journal, else from a server: once, however many ask it at the same time."""
        key = open_request.key()
        while key in self._asking:
            await self._asking[key].wait()
        asking = self._asking[key] = asyncio.Event()
        try:
            while True:
                async with pool.throttle:
                    if got := await self._once_per_home(pool, open_request, key):
                        return got
                self._say_for_whom(open_request.call)
                await asyncio.sleep(_LOOK_AGAIN_S)
        finally:
            del self._asking[key]
            asking.set()

    async def _once_per_home(self, pool: Pool, open_request: OpenRequest, key: str) -> Answer | Refusal | None:
        """The answer from the journal, else from a server; None while another process asks the same."""
        if not self._claims.take(key):
            return None
        try:
            # Looked up again: another process, or an equal request, may have asked it meanwhile.
            if found := await self._journal.find(key):
                open_request.call.usage.journal_hits += 1
                return found
            return await self._until_journalled(pool, open_request)
        finally:
            self._claims.give_back(key)

    def _say_for_whom(self, call: Call) -> None:
        if call is not self._told and (others := self._claims.list_others()):
            self._told = call
            call.log_lines.put(f"{call.label}: waiting for answers that another process asks for: {'; '.join(others)}")

    async def _until_journalled(self, pool: Pool, open_request: OpenRequest) -> Answer | Refusal:
        """A server's answer, in the journal where it is kept. It counts as in flight until then, so that a crash loses no more."""
        got = await self._within_budget(pool, open_request)
        if isinstance(got, Refusal):
            return got
        usage = open_request.call.usage
        usage.calls += 1
        usage.input_tokens += got.prompt_tokens
        usage.output_tokens += got.output_tokens
        if not open_request.judge(got).row.kept:
            return got  # it can be the server's settings, which are no part of the question's key
        return await self._journal.keep(got)

    async def _within_budget(self, pool: Pool, open_request: OpenRequest) -> Answer | Refusal:
        """A server's answer, paid from the budget.

        Raises:
            BudgetReached: the call would pass the limit, also after all calls under way were settled.
        """
        budget = self._budget
        if budget is None:
            return await self._transport.send(pool, open_request)
        most = open_request.most_cost(self._config)
        while not await self._journal.in_writer(budget.reserve, most):
            if not self._unsettled:
                await self._journal.in_writer(budget.refuse)
                raise BudgetReached(
                    f"{BUDGET_USED_UP} ({budget.spent()}); answered requests are kept: refresh again to go on from there"
                )
            await asyncio.sleep(0.02)  # what is under way is paid for: let it arrive, and it may cost less than was reserved
        self._unsettled += 1
        try:
            got = await self._transport.send(pool, open_request)
            if isinstance(got, Answer):
                await self._journal.in_writer(
                    budget.settle, most, self._config.cost(got.prompt_tokens, got.output_tokens, pool.model), True
                )
            else:
                await self._journal.in_writer(budget.settle, most, 0.0, False)
        except EngineError:
            await self._journal.in_writer(budget.settle, most, 0.0, False)
            raise
        finally:
            self._unsettled -= 1
        return got
