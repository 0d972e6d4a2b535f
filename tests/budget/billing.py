"""A model whose server keeps a bill of its own, by its own count of tokens, and answers, fails and dawdles by seed."""

from __future__ import annotations

import random
from typing import Any

from fanfold.calls.amounts import Amount
from fanfold.calls.budget import Purse
from fanfold.core.clock import sleep
from fanfold.core.records import Reply, Request, Usage
from fanfold.core.scope import current
from fanfold.errors import CallError, ConnectError, ReplyError, StatusError
from fanfold.models.prices import FlatRate

INPUT, OUTPUT = 1_000_000, 4_000_000
"""Picodollars a token, 1 and 4 dollars a million: the bill is in whole numbers, and needs no price of ours."""

OUTCOMES = ("ok", "ok", "ok", "ok", "ok", "untold", "refused", "unreached", "cut", "odd")


class Billed:
    """What it bills: the tokens that it saw and wrote, of a call whose client is gone those of the whole reply.

    `usual` is the part of `max_tokens` that its replies have; without it, anything up to all of them.
    """

    label = "test:billed"
    made_up = False
    structured = True

    def __init__(self, seed: int = 0, *, outcomes: tuple[str, ...] = ("ok",), usual: float | None = None) -> None:
        self.chance = random.Random(seed)
        self.outcomes = outcomes
        self.usual = usual
        self.given_rate: Any = FlatRate(1.0, 4.0)
        self.picos = 0
        self.tokens = 0
        self.calls = 0
        self.answered = 0
        self.bills: dict[int, Amount] = {}
        """By the purses that the call was made under, by their ids: who asks keeps them alive."""
        self.most = 0
        self.flying = 0

    async def send(self, request: Request, watch: Any) -> Reply:
        """One exchange."""
        watch.sent()
        outcome = self.chance.choice(self.outcomes)
        if outcome == "unreached":
            error = ConnectError("no server", model=self.label)
            error.reached = False
            raise error
        self.calls += 1
        self._book(Amount(calls=1))
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            return await self._answer(request, watch, outcome)
        finally:
            self.flying -= 1

    async def _answer(self, request: Request, watch: Any, outcome: str) -> Reply:
        if outcome == "refused":
            await sleep(self.chance.random() / 10)
            raise StatusError("overloaded", status=503, model=self.label)
        size = sum(len(str(message.content).encode()) for message in request.messages)
        part = self.chance.choice([0.0, 1.0, self.chance.random()]) if self.usual is None else self.usual
        usage = Usage(self.chance.randint(1, size + 3), int((request.max_tokens or 500) * part))
        self._bill(usage)  # whatever becomes of the client
        await sleep(self.chance.choice([0.0, 0.25, 0.5, self.chance.random()]))
        if outcome in {"cut", "odd"}:
            failed: CallError = ConnectError("cut", model=self.label) if outcome == "cut" else ReplyError("not JSON")
            raise failed
        if request.stream:
            watch.text("yes")
            await sleep(self.chance.choice([0.0, 0.25]))
        reply = Reply(("yes",), None if outcome == "untold" else usage)
        watch.done(reply)
        self.answered += 1
        return reply

    def _bill(self, usage: Usage) -> None:
        picos = usage.input_tokens * INPUT + usage.output_tokens * OUTPUT
        self.picos += picos
        self.tokens += usage.total_tokens
        self._book(Amount(picos, usage.total_tokens))

    def _book(self, amount: Amount) -> None:
        scope = current()
        if scope is not None and scope.purse is not None:
            for till in scope.purse.chain():
                if not isinstance(till, Purse):
                    continue  # a pocket does not live as long, and its id may become a purse's
                self.bills[id(till)] = self.bills.get(id(till), Amount()) + amount

    @property
    def usd(self) -> float:
        """The bill in dollars."""
        return self.picos / 1e12
