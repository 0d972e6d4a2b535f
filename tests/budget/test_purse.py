"""The purse: nothing is spent that was not leased, what comes back is given in turn, and nobody waits for nothing."""

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanfold.calls.amounts import NOTHING, Amount, Budget
from fanfold.calls.budget import Fund, Lease, Pocket, Purse, Till
from fanfold.calls.queue import Waiter
from fanfold.core.clock import sleep
from fanfold.errors import BudgetError, UsageError
from fanfold.testing import run_virtual


def tokens(count: int) -> Amount:
    """So many tokens."""
    return Amount(tokens=count)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await sleep(0)


def later(till: Till, count: int) -> "asyncio.Task[Lease]":
    """A lease of so many tokens, waited for in a task."""
    return asyncio.ensure_future(till.lease(tokens(count), "a call"))


# -- what a budget is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [{}, {"usd": 0}, {"usd": -1}, {"tokens": 0}, {"calls": 1.5}, {"usd": float("inf")}, {"usd": True}, {"tokens": "9"}],
)
def test_what_limits_nothing_is_no_budget(limits: dict[str, Any]) -> None:
    """A limit is a number above 0, whole for tokens and calls, and there is one."""
    with pytest.raises(UsageError, match="Budget"):
        Budget(**limits)


def test_a_budget_counts_only_what_it_limits() -> None:
    """Units without a limit have no figures, and are never short."""
    purse = Purse(Budget(calls=2))
    lease = purse.try_lease(Amount(10**18, 10**9, 1))
    assert lease is not None
    held = purse.statistics()
    assert (held.usd, held.tokens) == (None, None)
    assert held.calls is not None
    assert (held.calls.limit, held.calls.charged, held.calls.reserved, held.calls.remains) == (2, 0, 1, 1)


# -- one purse --------------------------------------------------------------------------------------------------------


def test_what_is_settled_is_charged_and_the_rest_comes_back() -> None:
    """The worst case is reserved, what it came to is charged, and a lease is settled once."""
    purse = Purse(Budget(tokens=100))
    lease = purse.try_lease(tokens(60))
    assert lease is not None
    assert purse.reserved == tokens(60)
    assert purse.try_lease(tokens(41)) is None
    lease.settle(tokens(10))
    assert (purse.charged, purse.reserved) == (tokens(10), NOTHING)
    with pytest.raises(RuntimeError, match="once"):
        lease.settle(NOTHING)


def test_who_cannot_be_served_now_waits_for_what_comes_back() -> None:
    """First come, first served: a small wish does not pass a large one that waits in front of it."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        first = await purse.lease(tokens(80), "a call")
        large, small = later(purse, 50), later(purse, 10)
        await settled()
        assert purse.statistics().waiting == 2
        assert purse.try_lease(tokens(5)) is None  # nor does one that would not wait
        first.settle(tokens(40))
        await settled()
        assert large.done()
        assert small.done()
        assert purse.reserved == tokens(60)

    run_virtual(main())


def test_what_can_never_fit_is_refused_at_once() -> None:
    """Even if all that is under way cost nothing, it would not fit: no waiting mends that."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        lease = await purse.lease(tokens(80), "a call")
        with pytest.raises(
            BudgetError,
            match=r"of 100 tokens cannot cover a call.* 101 tokens: 0 tokens spent, 80 tokens reserved, 20 tokens left",
        ):
            await purse.lease(tokens(101), "a call")
        lease.settle(tokens(80))
        with pytest.raises(BudgetError) as caught:
            await purse.lease(tokens(21), "a call")
        error = caught.value
        assert (error.unit, error.limit, error.spent, error.needed, error.left) == ("tokens", 100, 80, 21, 20)

    run_virtual(main())


def test_a_refusal_names_the_unit_that_will_never_do() -> None:
    """Not one that is only reserved by now, and comes back: more of that would change nothing."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100, calls=5))
        purse.charged = Amount(tokens=10, calls=1)
        under_way = purse.try_lease(Amount(tokens=80, calls=1))
        assert under_way is not None
        with pytest.raises(BudgetError, match="of 5 calls cannot cover a vote, which may take 5 calls") as caught:
            await purse.lease(Amount(tokens=50, calls=5), "a vote")
        assert (caught.value.unit, caught.value.left) == ("calls", 3)
        under_way.settle(NOTHING)

    run_virtual(main())


def test_the_refusal_is_told_as_soon_as_it_is_certain() -> None:
    """Who waits is refused in the moment in which what was under way turns out to have cost too much."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        lease = await purse.lease(tokens(80), "a call")
        waiting = later(purse, 50)
        await settled()
        assert not waiting.done()
        lease.settle(tokens(51))
        await settled()
        assert isinstance(waiting.exception(), BudgetError)
        assert purse.reserved == NOTHING

    run_virtual(main())


def test_who_is_cancelled_while_waiting_has_taken_nothing() -> None:
    """Also in the moment between the money's coming and the waiter's going on: then it gives it back."""

    async def main(at_once: bool) -> None:
        purse = Purse(Budget(tokens=100))
        lease = await purse.lease(tokens(80), "a call")
        waiting, next_one = later(purse, 50), later(purse, 60)
        await settled()
        if at_once:
            lease.settle(NOTHING)
        waiting.cancel()
        await settled()
        if not at_once:
            lease.settle(NOTHING)
            await settled()
        assert waiting.cancelled()
        assert next_one.done()
        assert (purse.reserved, purse.statistics().waiting, purse.leases) == (tokens(60), 0, 1)

    run_virtual(main(at_once=False))
    run_virtual(main(at_once=True))


# -- purses in purses -------------------------------------------------------------------------------------------------


def test_a_call_has_to_fit_into_every_purse_around_it() -> None:
    """All or nothing: where the outer one is short, the inner one is not touched."""

    async def main() -> None:
        outer = Purse(Budget(tokens=100))
        inner = Purse(Budget(tokens=80), outer)
        beside = await outer.lease(tokens(50), "a call")
        waiting = later(inner, 60)
        await settled()
        assert inner.reserved == NOTHING
        beside.settle(tokens(40))
        (await waiting).settle(tokens(20))
        assert (inner.charged, outer.charged) == (tokens(20), tokens(60))
        with pytest.raises(BudgetError, match="budget of 80 tokens"):
            await inner.lease(tokens(61), "a call")

    run_virtual(main())


def test_who_waits_for_one_purse_does_not_stop_those_who_pay_from_another() -> None:
    """A shortage inside one branch is that branch's own."""

    async def main() -> None:
        outer = Purse(Budget(tokens=1000))
        poor, rich = Purse(Budget(tokens=10), outer), Purse(Budget(tokens=500), outer)
        lease = await poor.lease(tokens(10), "a call")
        waiting = later(poor, 5)
        await settled()
        assert (await rich.lease(tokens(400), "a call")).open
        assert not waiting.done()
        lease.settle(NOTHING)
        await waiting

    run_virtual(main())


def test_the_smallest_ceiling_around_is_that_of_a_call_without_one() -> None:
    """A budget of calls sets none."""
    outer = Purse(Budget(tokens=10**6, max_tokens=500))
    assert Purse(Budget(usd=1, max_tokens=900), outer).ceiling == 500
    assert Purse(Budget(usd=1, max_tokens=100), outer).ceiling == 100
    assert Purse(Budget(calls=9), outer).ceiling == 500
    assert Purse(Budget(calls=9)).ceiling is None


# -- pockets ----------------------------------------------------------------------------------------------------------


def test_a_branch_pays_from_its_pocket_and_leaves_the_rest() -> None:
    """What a send did not cost stays in the pocket, for the branch's next, until the branch ends."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        fund = await purse.fund([tokens(40), tokens(40)], "two branches")
        assert purse.reserved == tokens(80)
        pocket = fund.open(tokens(40))
        (await pocket.lease(tokens(40), "a call")).settle(tokens(15))
        assert (purse.charged, purse.reserved) == (tokens(15), tokens(65))
        (await pocket.lease(tokens(25), "a call")).settle(NOTHING)
        pocket.close()
        assert purse.reserved == tokens(40)
        fund.close()
        assert (purse.charged, purse.reserved) == (tokens(15), NOTHING)

    run_virtual(main())


def test_who_needs_more_than_its_pocket_holds_gets_the_rest_from_outside() -> None:
    """Only the rest: an extra send does not take its whole worst case a second time."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        pocket = await purse.pocket(tokens(40), "a branch")
        lease = await pocket.lease(tokens(70), "a call")
        assert purse.reserved == tokens(70)
        lease.settle(tokens(10))
        pocket.close()
        assert (purse.charged, purse.reserved) == (tokens(10), NOTHING)

    run_virtual(main())


def test_what_has_begun_is_served_before_what_is_to_begin() -> None:
    """A retry inside a branch does not queue behind branches that wait for their first call."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        pocket = await purse.pocket(tokens(40), "a branch")
        other = await purse.lease(tokens(60), "a call")
        (await pocket.lease(tokens(40), "a call")).settle(tokens(40))
        to_begin = [asyncio.ensure_future(purse.pocket(tokens(40), "a branch")) for _ in range(3)]
        await settled()
        retry = later(pocket, 20)
        await settled()
        other.settle(tokens(15))
        await settled()
        assert retry.done()
        assert not to_begin[0].done()
        retry.result().settle(NOTHING)
        pocket.close()
        begun = await to_begin[0]
        assert not to_begin[1].done()
        (await begun.lease(tokens(40), "a call")).settle(tokens(6))
        begun.close()
        await settled()
        assert all(isinstance(one.exception(), BudgetError) for one in to_begin[1:])

    run_virtual(main())


def test_branches_that_wait_for_each_other_are_told() -> None:
    """Where all pockets are held by branches that themselves wait, no money comes back, and one is refused."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        pockets = [await purse.pocket(tokens(50), "a branch") for _ in range(2)]
        waits = [later(pocket, 60) for pocket in pockets]
        await settled()
        assert isinstance(waits[0].exception(), BudgetError)
        assert not waits[1].done()  # the other may go on with what the refused branch leaves
        pockets[0].close()
        (await waits[1]).settle(tokens(60))
        pockets[1].close()
        assert (purse.charged, purse.reserved) == (tokens(60), NOTHING)

    run_virtual(main())


def test_before_one_is_refused_who_can_go_on_goes_on() -> None:
    """A small wish behind a large one is served out of turn where the large one would else wait for ever."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        pockets = [await purse.pocket(tokens(45), "a branch") for _ in range(2)]
        large, small = later(pockets[0], 90), later(pockets[1], 50)
        await settled()
        assert small.done()
        small.result().settle(tokens(1))
        pockets[1].close()
        await settled()
        large.result().settle(tokens(1))
        pockets[0].close()
        assert (purse.charged, purse.reserved) == (tokens(2), NOTHING)

    run_virtual(main())


def test_money_kept_for_branches_that_have_not_begun_is_no_hope_for_their_siblings() -> None:
    """They begin or end with the fan, and the fan does not end while a sibling waits: it is refused."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        fund = await purse.fund([tokens(50), tokens(50)], "two branches")
        pocket = fund.open(tokens(50))
        (await pocket.lease(tokens(50), "a call")).settle(tokens(10))
        with pytest.raises(BudgetError):
            await pocket.lease(tokens(41), "a call")
        pocket.close()
        fund.close()
        assert (purse.charged, purse.reserved) == (tokens(10), NOTHING)

    run_virtual(main())


def test_a_server_that_bills_more_than_was_allowed_is_charged_as_it_says() -> None:
    """The promise is broken by the server, and the figures say so; the next call is refused."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        pocket = await purse.pocket(tokens(40), "a branch")
        (await pocket.lease(tokens(40), "a call")).settle(tokens(150))
        pocket.close()
        assert (purse.charged, purse.reserved) == (tokens(150), NOTHING)
        with pytest.raises(BudgetError):
            await purse.lease(tokens(1), "a call")

    run_virtual(main())


# -- many who wait ----------------------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that somebody was asked whether it can go on, or whether its money comes back."""
    looks: list[str] = []
    shortage, keeps = Till.shortage, Pocket.keeps

    def looked(self: Till, need: Amount) -> Any:
        looks.append("shortage")
        return shortage(self, need)

    def asked(self: Pocket) -> Amount:
        looks.append("keeps")
        return keeps(self)

    monkeypatch.setattr(Till, "shortage", looked)
    monkeypatch.setattr(Pocket, "keeps", asked)
    return looks


@pytest.mark.parametrize("pockets", [False, True], ids=["budgets", "pockets"])
def test_what_a_waiter_costs_does_not_grow_with_their_number(looks: list[str], *, pockets: bool) -> None:
    """Each with a budget or a pocket of its own inside a short one: only who may be next is looked at."""

    async def one(short: Purse) -> None:
        own = Purse(Budget(tokens=100), short)
        pocket = await own.pocket(tokens(5), "a branch") if pockets else None
        lease = await (pocket or own).lease(tokens(10), "a call")
        await sleep(1)
        lease.settle(tokens(5))
        if pocket is not None:
            pocket.close()

    async def main(count: int) -> float:
        looks.clear()
        short = Purse(Budget(tokens=5 * count + 50), Purse(Budget(tokens=10**9)))
        await asyncio.gather(*(one(short) for _ in range(count)))
        assert short.charged == tokens(5 * count)
        return len(looks) / count

    assert run_virtual(main(400)) <= run_virtual(main(100)) * 1.5


@pytest.mark.parametrize("own", [None, 55], ids=["of all", "of each"])
def test_what_a_refusal_costs_does_not_grow_with_those_that_wait(looks: list[str], own: int | None) -> None:
    """Begun branches hold all the money, of all or each of its own budget, and wait for more: each refusal looked at
    every one of them.
    """

    async def one(purse: Purse, need: int) -> bool:
        pocket = await Purse(Budget(tokens=own or 10**6), purse).pocket(tokens(50), "a branch")
        await sleep(1)
        try:
            (await pocket.lease(tokens(need), "a call")).settle(tokens(50))
        except BudgetError:
            return False
        finally:
            pocket.close()
        return True

    async def main(count: int) -> float:
        looks.clear()
        purse = Purse(Budget(tokens=50 * count))
        went = await asyncio.gather(*(one(purse, 60 if own else 25 * count) for _ in range(count)))
        assert sum(went) == (0 if own else count // 2 + 1)
        assert (purse.charged, purse.reserved, purse.keepers) == (tokens(50 * sum(went)), NOTHING, set())
        return len(looks) / count

    assert run_virtual(main(400)) <= run_virtual(main(100)) * 1.5


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "is told"])
def test_though_all_were_looked_at_before_who_can_go_on_goes_on_before_one_is_refused(*, goes_on: bool) -> None:
    """One needs less by now, for its sibling left it something; or that much is spent that it never can."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        first, second, outer = [await purse.pocket(tokens(count), "a branch") for count in (10, 37, 50)]
        fund = await outer.fund([tokens(20), tokens(30)], "its branches")
        inner = [fund.open(tokens(count)) for count in (20, 30)]
        of_first = await first.pocket(tokens(10), "a branch")
        of_second = await second.pocket(tokens(37), "a branch")
        refused, waits = later(of_first, 80), later(of_second, 80)
        sibling, last = later(inner[0], 60), later(inner[1], 52 if goes_on else 175)
        await settled()
        assert isinstance(refused.exception(), BudgetError)
        if goes_on:
            sibling.cancel()
            await settled()
            inner[0].close()
        else:
            (await of_first.lease(tokens(13), "a call")).settle(tokens(13))
        of_first.close()
        first.close()
        await settled()
        assert not waits.done()
        assert (last.exception() is None) == goes_on
        for one in (waits, sibling, last):
            one.cancel()

    run_virtual(main())


def test_who_can_never_go_on_for_what_is_spent_further_out_is_told_before_one_is_refused() -> None:
    """All in the inner budget were looked at before, and what is spent since is spent beside it."""

    async def main() -> None:
        outer = Purse(Budget(tokens=30))
        inner = Purse(Budget(tokens=10), outer)
        first, second = await inner.pocket(tokens(4), "a branch"), await inner.pocket(tokens(5), "a branch")
        of_first = await first.pocket(tokens(4), "a branch")
        never, refused = later(second, 15), later(of_first, 6)
        await settled()
        assert isinstance(refused.exception(), BudgetError)
        (await outer.lease(tokens(21), "a call beside them")).settle(tokens(21))
        waits = later(of_first, 6)
        await settled()
        assert isinstance(never.exception(), BudgetError)
        second.close()
        (await waits).settle(NOTHING)

    run_virtual(main())


def test_who_was_cancelled_in_a_line_is_not_kept_in_it() -> None:
    """Though the first of the line still waits."""

    async def main() -> None:
        purse = Purse(Budget(tokens=100))
        lease = await purse.lease(tokens(80), "a call")
        first = later(purse, 50)
        given_up = [later(purse, 10) for _ in range(500)]
        await settled()
        while given_up:
            given_up.pop().cancel()
        await settled()
        gc.collect()
        assert purse.statistics().waiting == 1
        assert sum(isinstance(thing, Waiter) for thing in gc.get_objects()) < 100
        lease.settle(NOTHING)
        await first

    run_virtual(main())


# -- any order of events ----------------------------------------------------------------------------------------------


class Purses(RuleBasedStateMachine):
    """Leases, waits, cancellations, settlements and pockets, in any order, in a tree of purses."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.leases: list[Lease] = []
        self.tasks: list[asyncio.Task[Lease]] = []
        self.opening: list[asyncio.Task[Fund]] = []
        self.funds: list[Fund] = []
        self.pockets: list[Pocket] = []
        self.bill = 0

    @initialize(outer=st.integers(1, 60), inner=st.lists(st.integers(1, 60), max_size=2))
    def open(self, outer: int, inner: list[int]) -> None:
        self.root = Purse(Budget(tokens=outer))
        self.purses = [self.root, *(Purse(Budget(tokens=limit), self.root) for limit in inner)]
        self.tills: list[Till] = list(self.purses)

    def ran(self) -> None:
        """Let everything run that can, and take up what came of it."""
        self.loop.run_until_complete(settled())
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.leases.append(task.result())
        for opening in [task for task in self.opening if task.done()]:
            self.opening.remove(opening)
            if not opening.cancelled() and opening.exception() is None:
                self.funds.append(opening.result())

    @rule(data=st.data(), count=st.integers(1, 30))
    def lease(self, data: st.DataObject, count: int) -> None:
        till = data.draw(st.sampled_from(self.tills))
        self.tasks.append(self.loop.create_task(till.lease(tokens(count), "a call")))
        self.ran()

    @rule(data=st.data(), count=st.integers(1, 30))
    def hedge(self, data: st.DataObject, count: int) -> None:
        lease = data.draw(st.sampled_from(self.tills)).try_lease(tokens(count))
        if lease is not None:
            self.leases.append(lease)
        self.ran()

    @rule(data=st.data(), counts=st.lists(st.integers(1, 15), min_size=1, max_size=3))
    def begin_fan(self, data: st.DataObject, counts: list[int]) -> None:
        till = data.draw(st.sampled_from(self.tills))
        self.opening.append(self.loop.create_task(till.fund([tokens(count) for count in counts], "a fan")))
        self.ran()

    @precondition(lambda self: any(fund.kept for fund in self.funds))
    @rule(data=st.data())
    def begin_branch(self, data: st.DataObject) -> None:
        fund = data.draw(st.sampled_from([fund for fund in self.funds if fund.kept]))
        pocket = fund.open(tokens(data.draw(st.integers(1, fund.kept.tokens))))
        self.pockets.append(pocket)
        self.tills.append(pocket)

    @precondition(lambda self: self.pockets)
    @rule(data=st.data())
    def end_branch(self, data: st.DataObject) -> None:
        idle = [one for one in self.pockets if not one.leases and not one.waiting and not self._in_use(one)]
        if idle:
            self._close(data.draw(st.sampled_from(idle)))

    @precondition(lambda self: self.funds)
    @rule(data=st.data())
    def end_fan(self, data: st.DataObject) -> None:
        ended = [fund for fund in self.funds if not any(fund in pocket.chain() for pocket in self.pockets)]
        if ended:
            fund = data.draw(st.sampled_from(ended))
            self.funds.remove(fund)
            fund.close()
            self.ran()

    def _in_use(self, pocket: Pocket) -> bool:
        return any(pocket is not other and pocket in other.chain() for other in [*self.pockets, *self.funds])

    def _close(self, pocket: Pocket) -> None:
        self.pockets.remove(pocket)
        self.tills.remove(pocket)
        pocket.close()
        self.ran()

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), part=st.floats(0, 1))
    def settle(self, data: st.DataObject, part: float) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        spent = int(lease.worst.tokens * part)
        self.bill += spent
        lease.settle(tokens(spent))
        self.ran()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), at_once=st.booleans())
    def cancel(self, data: st.DataObject, at_once: bool) -> None:
        if at_once and self.leases:  # the money comes in the same tick
            self.leases.pop().settle(NOTHING)
        data.draw(st.sampled_from(self.tasks)).cancel()
        self.ran()

    @invariant()
    def no_purse_is_overdrawn(self) -> None:
        for purse in getattr(self, "purses", []):
            assert purse.limit.passed(purse.charged + purse.reserved) is None
            assert purse.reserved.tokens >= 0

    @invariant()
    def the_outer_purse_has_seen_every_bill(self) -> None:
        if hasattr(self, "root"):
            assert self.root.charged.tokens == self.bill

    @invariant()
    def what_is_reserved_is_held_by_somebody(self) -> None:
        if hasattr(self, "root"):
            held = [pocket.held for pocket in self.pockets if pocket.depth == 1]
            kept = [fund.kept for fund in self.funds if fund.depth == 0]
            bare = [lease.worst for lease in self.leases if lease.till.depth == 0]
            assert self.root.reserved == sum([*held, *kept, *bare], NOTHING)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if (self.tasks or self.opening) and not self.leases:
            assert any(one.keeps() and not one.waiting for one in [*self.pockets, *self.funds])

    def teardown(self) -> None:
        for task in [*self.tasks, *self.opening]:
            task.cancel()
        self.ran()
        while self.leases:
            self.leases.pop().settle(NOTHING)
        for pocket in reversed(self.pockets):
            pocket.close()
        for fund in reversed(self.funds):
            fund.close()
        if hasattr(self, "root"):
            assert all(purse.reserved == NOTHING for purse in self.purses)
            assert (self.root.leases, len(self.root.waiting), len(self.root.queue)) == (0, 0, 0)
            assert not self.root.keepers
        self.loop.close()


TestPurses = Purses.TestCase
TestPurses.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
