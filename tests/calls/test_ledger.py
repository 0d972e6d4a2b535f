"""The ledger of leases: whoever joins, renews, falls silent or dies when, the sum of what is held passes no limit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.calls.allowance import Need, RateLimit
from fanfold.calls.amounts import NOTHING, Amount, Limit
from fanfold.calls.ledger import EXPIRY, Ledger, Money
from fanfold.core.records import Limit as Told
from fanfold.core.records import Limits

LANE = ("key", "openai:m")
ONE = Need(10, 10)

Act = tuple[str, int, int]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["join", "renew", "leave", "ask", "ask", "end", "wait", "silence", "want", "pay", "give back"]),
        st.integers(0, 3),
        st.integers(1, 40),
    ),
    max_size=120,
)


class World:
    """A ledger, and what its workers do; what they believe to hold is kept beside it."""

    def __init__(self) -> None:
        self.at = 0.0
        self.ledger = Ledger(5, RateLimit(requests=60), Limit(None, 500, None))
        self.number = 0
        self.sent: list[float] = []
        self.out: dict[str, list[int]] = {}
        self.charged: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.lost = 0
        self.used = 0

    def act(self, act: Act) -> None:
        kind, who, many = act
        name, ledger = f"w{who}", self.ledger
        getattr(self, kind.replace(" ", "_"))(name, many)
        for holder, number in ledger.serve(self.at):
            self.sent.append(self.at)
            self.out[holder].append(number)
        for loan in ledger.lend():
            self.held[loan.holder] += loan.amount.tokens
        for holder in [holder for holder in self.out if holder not in ledger.holders]:
            self.bury(holder)

    def bury(self, name: str) -> None:
        self.out.pop(name)
        self.used += self.held.pop(name)  # it may have spent all of it
        self.charged.pop(name)

    def join(self, name: str, many: int) -> None:
        if name not in self.out:
            self.ledger.join(name, self.at)
            self.out[name], self.charged[name], self.held[name] = [], 0, 0

    def renew(self, name: str, many: int) -> None:
        assert self.ledger.renew(name, self.at) == (name in self.ledger.holders)

    def leave(self, name: str, many: int) -> None:
        self.ledger.leave(name)

    def ask(self, name: str, many: int) -> None:
        for _ in range(many % 7):
            self.number += 1
            self.ledger.ask(name, self.number, LANE, ONE)

    def end(self, name: str, many: int) -> None:
        for number in self.out.get(name, [])[: many % 4]:
            self.out[name].remove(number)
            self.ledger.end(name, number, LANE, None, sent=True)

    def wait(self, name: str, many: int) -> None:
        self.at += many / 10
        for other in list(self.ledger.holders):
            if other != name:
                self.ledger.renew(other, self.at)

    def silence(self, name: str, many: int) -> None:
        self.at += EXPIRY
        self.ledger.expire(self.at)

    def say(self, name: str, **said: Any) -> None:
        if name in self.out:
            heard = self.ledger.shortage
            self.ledger.hears(name, Money(Amount(tokens=self.charged[name]), heard=heard, **said))

    def want(self, name: str, many: int) -> None:
        self.say(name, lacks=Amount(tokens=many))

    def pay(self, name: str, many: int) -> None:
        if name in self.out:
            self.charged[name] = min(self.held[name], self.charged[name] + many)
            self.say(name)

    def give_back(self, name: str, many: int) -> None:
        if name in self.out:
            idle = min(many, self.held[name] - self.charged[name])
            self.held[name] -= idle
            self.say(name, returned=Amount(tokens=idle))


@given(ACTS)
def test_live_leases_never_pass_a_limit(acts: list[Act]) -> None:
    """In any order of joins, renewals, deaths and sends: slots, rate and money of all together stay in their limits."""
    world = World()
    for act in acts:
        world.act(act)
        assert sum(map(len, world.out.values())) == world.ledger.in_use <= 5
        assert set(world.out) == set(world.ledger.holders)
        assert sum(world.held.values()) + world.used <= 500
        assert all(holder.until > world.at for holder in world.ledger.holders.values())
    for at in world.sent:
        assert sum(at <= other < at + 60 for other in world.sent) <= 60


def test_a_lease_that_is_not_renewed_is_over() -> None:
    """After `EXPIRY` seconds its slots are another's, and the worker is told to end."""
    ledger = Ledger(2)
    ledger.join("a", 0.0)
    ledger.join("b", 0.0)
    for number in range(4):
        ledger.ask("a", number, LANE, ONE)
        ledger.ask("b", number, LANE, ONE)
    assert ledger.serve(0.0) == [("a", 0), ("b", 0)]
    assert ledger.wake_at(0.0) == EXPIRY
    assert ledger.renew("b", 9.0)
    assert ledger.expire(9.9) == []
    assert ledger.expire(10.0) == ["a"]
    assert not ledger.renew("a", 10.0)
    assert ledger.serve(10.0) == [("b", 1)]
    assert (ledger.in_use, ledger.waiting) == (2, 2)
    ledger.end("a", 0, LANE, None, sent=True)  # too late to matter
    assert ledger.in_use == 2


def test_who_came_first_leaves_first() -> None:
    """Permits go by arrival, over all workers and lanes whose limits allow."""
    ledger = Ledger(3, {"openai:slow": RateLimit(requests=6)})
    slow = ("key", "openai:slow")
    ledger.join("a", 0.0)
    for number, lane in enumerate([slow, slow, LANE, LANE]):
        ledger.ask("a", number, lane, ONE)
    assert ledger.serve(0.0) == [("a", 0), ("a", 2), ("a", 3)]
    ledger.end("a", 2, LANE, None, sent=True)
    assert ledger.serve(1.0) == []
    assert 1.0 < ledger.wake_at(1.0) <= 10.0
    ledger.renew("a", 9.0)
    assert ledger.serve(11.0) == [("a", 1)]


def test_what_was_not_sent_takes_nothing() -> None:
    """A permit that is given back unused counts for no rate, and what waited is forgotten."""
    ledger = Ledger(9, RateLimit(requests=6))
    ledger.join("a", 0.0)
    for number in range(3):
        ledger.ask("a", number, LANE, ONE)
    assert ledger.serve(0.0) == [("a", 0)]
    ledger.end("a", 1, LANE, None, sent=False)
    ledger.end("a", 0, LANE, None, sent=False)
    assert ledger.serve(0.1) == [("a", 2)]
    assert ledger.limits(LANE, 0.1)[0].used == 1


def test_tokens_are_corrected_by_what_was_used() -> None:
    """What a send took beyond or below its estimate is known to all."""
    ledger = Ledger(9, RateLimit(tokens=6000))
    ledger.join("a", 0.0)
    ledger.ask("a", 1, LANE, Need(500, 1500))
    assert ledger.serve(0.0) == [("a", 1)]
    ledger.end("a", 1, LANE, Need(500, 20), sent=True)
    assert ledger.limits(LANE, 0.1)[0].used == 520


def test_one_refusal_pauses_all_of_a_key() -> None:
    """After a 429 no worker sends with that key until its time has come; other keys go on."""
    ledger = Ledger(9)
    for name in "ab":
        ledger.join(name, 0.0)
    ledger.refused(LANE, 4.0, 0.0)
    ledger.ask("a", 1, LANE, ONE)
    ledger.ask("b", 2, ("key", "openai:other"), ONE)
    ledger.ask("b", 3, ("another", "openai:m"), ONE)
    assert ledger.serve(0.1) == [("b", 3)]
    assert ledger.wake_at(0.1) == pytest.approx(4.0)
    assert ledger.serve(4.0) == [("a", 1), ("b", 2)]


def test_limits_told_to_one_hold_for_all() -> None:
    """What a server tells one worker in its headers paces the others, too."""
    ledger = Ledger(99)
    for name in "ab":
        ledger.join(name, 0.0)
    ledger.hear(LANE, Limits(requests=Told(60, 59, 60.0)), 0.0)
    for number in range(9):
        ledger.ask("ab"[number % 2], number, LANE, ONE)
    assert len(ledger.serve(0.0)) == 1


def test_money_is_lent_and_comes_back() -> None:
    """A worker is lent more than it lacks, never more than there is; what one gives back another may have."""
    ledger = Ledger(9, money=Limit(None, 100, None))
    for name in "ab":
        ledger.join(name, 0.0)
    ledger.hears("a", Money(NOTHING, lacks=Amount(tokens=20)))
    (loan,) = ledger.lend()
    assert loan.amount == Amount(tokens=30)
    ledger.hears("b", Money(NOTHING, lacks=Amount(tokens=80)))
    assert ledger.lend() == []
    assert ledger.shortage == 1
    ledger.hears("a", Money(Amount(tokens=5), Amount(tokens=25), heard=1))
    (loan,) = ledger.lend()
    assert (loan.holder, loan.amount) == ("b", Amount(tokens=80 + 15 // 8))
    ledger.leave("a", settled=True)
    ledger.leave("b")
    assert ledger.spent == Amount(tokens=5 + 81)


def test_money_is_refused_only_when_none_can_come() -> None:
    """While something is under way that may bring it, who lacks money waits; then it is told so."""
    ledger = Ledger(9, money=Limit(None, 100, None))
    for name in "ab":
        ledger.join(name, 0.0)
    ledger.hears("a", Money(NOTHING, lacks=Amount(tokens=90)))
    ledger.lend()
    ledger.hears("b", Money(NOTHING, lacks=Amount(tokens=50)))
    assert ledger.lend() == []
    ledger.hears("b", Money(NOTHING, lacks=Amount(tokens=50), heard=1))
    ledger.hears("a", Money(NOTHING, hope=True, heard=1))
    assert ledger.lend() == []
    ledger.hears("a", Money(Amount(tokens=91), heard=1))
    (loan,) = ledger.lend()
    assert (loan.holder, loan.refused, loan.spent) == ("b", True, Amount(tokens=91))


def test_no_more_is_lent_than_is_covered() -> None:
    """Dollars are lent as far as they are written down; what that would have to be is asked for once."""
    ledger = Ledger(9, money=Limit(1000, None, None), covered=0)
    ledger.join("a", 0.0)
    ledger.hears("a", Money(NOTHING, lacks=Amount(300, 7, 1)))
    assert ledger.lend() == []
    assert (ledger.uncovered, ledger.shortage) == (300, 0)
    ledger.covered = 320
    (loan,) = ledger.lend()
    assert loan.amount.picos == 305
    ledger.hears("a", Money(NOTHING, lacks=Amount(900, 7, 1)))
    assert ledger.lend() == []
    assert (ledger.uncovered, ledger.shortage) == (300, 1)  # that would not help


def test_a_dead_worker_s_money_counts_as_spent() -> None:
    """What a worker held and had not settled may have been spent when it died."""
    ledger = Ledger(9, money=Limit(None, 100, None))
    ledger.join("a", 0.0)
    ledger.hears("a", Money(NOTHING, lacks=Amount(tokens=20)))
    (loan,) = ledger.lend()
    ledger.hears("a", Money(Amount(tokens=3)))
    ledger.expire(EXPIRY)
    assert ledger.spent == loan.amount
    assert ledger.free() == Amount(tokens=100) - loan.amount
