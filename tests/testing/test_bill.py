"""The bill: what each request cost by the server's own count, and that it adds up."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.core.clock import chance, sleep
from fanfold.core.records import Usage
from fanfold.errors import UsageError
from fanfold.models.prices import rate
from fanfold.testing import Limits, SimulatedModel, run_virtual
from fanfold.testing.server.bill import Bill, Charge, Prices
from tests.testing.asking import ask, outcome, request

PACE = {"latency": "stream", "first_token": 1.0, "between_tokens": 0.1}


SOME = Usage(10, 5)


def charge(number=0, *, model="m", usage=SOME, prices=None, state="answered", status=200):
    made = Charge(number, model, "openai", "k", 0, 0.0, prices or Prices((1.0, 2.0)))
    made.usage, made.state, made.status = usage, state, status
    return made


class TestPrices:
    """What tokens cost."""

    def test_one_price_is_for_all_models(self):
        """USD per million input and output tokens."""
        assert charge(usage=Usage(1_000_000, 500_000)).usd == pytest.approx(2.0)

    def test_prices_go_by_name_and_else_by_the_list(self):
        """A model that is not named has its list price; one that nobody knows has none."""
        prices = Prices({"mine": (10.0, 20.0)})
        usage = Usage(1000, 1000)
        assert charge(model="mine", prices=prices).usd == pytest.approx(0.0002)
        assert charge(model="gpt-4o-mini", prices=prices, usage=usage).usd == rate("openai:gpt-4o-mini").price(usage)
        assert charge(model="nobody's", prices=prices).usd is None

    def test_recorded_models_are_priced_as_what_they_are(self):
        """The recordings of gpt-35-turbo are billed by its list price."""
        usage = Usage(1000, 1000)
        listed = rate("openai:gpt-3.5-turbo").price(usage)
        assert charge(model="gpt-35-turbo", prices=Prices(None), usage=usage).usd == listed

    def test_nothing_used_costs_nothing(self):
        """Also at a price that nobody knows."""
        assert charge(model="nobody's", prices=Prices(None), usage=Usage()).usd == 0.0

    def test_a_price_that_cannot_be_is_refused(self):
        """Prices are figures from 0 up."""
        with pytest.raises(UsageError, match="USD per million"):
            Prices((1.0, float("nan")))


class TestSums:
    """Totals."""

    def bill(self, keep=100):
        bill = Bill(Prices((1.0, 2.0)), keep)
        for number in range(10):
            bill.open(charge(number))
        bill.open(charge(10, usage=Usage(), state="refused", status=429))
        bill.open(charge(11, usage=Usage(7, 3, 0, 2), state="gone", status=None))
        return bill

    @pytest.mark.parametrize("keep", [100, 4])
    def test_sums_are_of_all_charges(self, keep):
        """However few charges are kept, the sums are whole."""
        bill = self.bill(keep)
        assert (bill.calls, bill.tokens, bill.usage) == (12, 160, Usage(107, 53, 0, 2))
        assert bill.by_state == {"answered": 10, "refused": 1, "gone": 1}
        assert bill.by_status == {200: 10, 429: 1}
        assert bill.usd == pytest.approx((107 + 2 * 53) / 1e6)
        assert bill.unpriced == 0
        assert len(bill.charges) <= max(keep, 4)
        assert repr(bill) == "Bill(calls=12, tokens=160, usd=0.000213)"

    def test_what_has_no_price_is_counted_apart(self):
        """The sum is of what is known, and says how much is not."""
        bill = Bill(Prices(None), 2)
        for number in range(5):
            bill.open(charge(number, model="nobody's", prices=bill.prices))
        assert (bill.usd, bill.unpriced) == (0.0, 5)

    def test_as_a_document_it_holds_every_charge(self):
        """Plain values under the names of the records; without the charges if so wanted."""
        document = self.bill().document()
        assert (document["calls"], document["input_tokens"], len(document["charges"])) == (12, 107, 12)
        assert document["charges"][-1]["state"] == "gone"
        assert set(document["charges"][0]) >= {"number", "model", "usd", "output_tokens", "arrived", "gone", "attempt"}
        assert "charges" not in self.bill().document(lines=False)

    def test_it_can_begin_anew(self):
        """Cleared, it is empty, with all its sums."""
        bill = self.bill(4)
        bill.clear()
        assert (bill.calls, bill.usd, bill.tokens, bill.charges) == (0, 0.0, 0, [])


class TestWhatIsBilled:
    """By whom and for what."""

    def test_each_attempt_is_a_charge_of_its_own(self):
        """Sent three times under one draw it is one key, with three attempts."""

        async def main():
            model = SimulatedModel(price=(1, 2))
            for _ in range(3):
                await ask(model, place="here")
            await ask(model, place="there")
            return model.bill.charges

        charges = run_virtual(main())
        assert [one.attempt for one in charges] == [0, 1, 2, 0]
        assert [one.number for one in charges] == [0, 1, 2, 3]
        assert len({one.key for one in charges}) == 2

    @pytest.mark.parametrize("stream", [False, True])
    def test_who_leaves_early_pays_for_what_was_made(self, stream):
        """The longer the client stays, the more is billed; never more than the whole, and the input always."""

        async def main(seconds):
            model = SimulatedModel(["one two three four five six seven eight"], price=(1, 2), reasoning=1.0, **PACE)
            call = asyncio.create_task(ask(model, stream=stream))
            await sleep(seconds)
            call.cancel()
            await asyncio.wait([call])
            return model.bill.charges[0].usage

        usages = [run_virtual(main(tenth / 10 + 0.05)) for tenth in range(20)]
        made = [usage.output_tokens for usage in usages]
        assert made == sorted(made)
        assert made[0] < made[8] < made[12] < made[-1]
        assert {usage.input_tokens for usage in usages} == {usages[-1].input_tokens}
        assert all(usage.reasoning_tokens <= usage.output_tokens for usage in usages)

    def test_reasoning_is_billed_as_output(self):
        """The same text costs more with reasoning, and the usage says how much of it that was."""

        async def main(reasoning):
            model = SimulatedModel(["one two three four five six"], price=(0, 1), reasoning=reasoning)
            return await ask(model), model.bill.usd

        (_, plain), (reply, more) = run_virtual(main(0.0)), run_virtual(main(2.0))
        assert reply.usage.reasoning_tokens > 0
        assert more == pytest.approx(plain + reply.usage.reasoning_tokens / 1e6)

    def test_it_can_be_read_while_it_runs(self):
        """Inside the loop, also where the list price of the model has yet to be looked up."""

        async def main():
            model = SimulatedModel(["hello"], name="gpt-4o-mini")
            reply = await ask(model)
            return model.bill.usd, reply.usage

        usd, usage = run_virtual(main())
        assert usd == pytest.approx(rate("openai:gpt-4o-mini").price(usage))

    def test_who_has_a_whole_reply_finds_it_on_the_bill(self):
        """At the moment at which a client knows how its request ended, so does the bill."""

        async def main(fault):
            model = SimulatedModel(faults=fault, price=(1, 2))
            for stream in (False, True):
                await outcome(model, stream=stream)
                assert model.bill.charges[-1].state != "open"
            return model.bill.by_state

        for fault, state in (((), "answered"), ("503", "refused"), ("end=1", "cut"), ("reset", "cut")):
            assert run_virtual(main(fault)) == {state: 2}

    def test_times_are_in_order(self):
        """Arrived, admitted, first, ended; and no client was gone."""

        async def main():
            model = SimulatedModel(latency=1.0, limits=Limits(at_once=1))
            await asyncio.gather(ask(model, "a"), ask(model, "b"))
            return model.bill.charges[1]

        second = run_virtual(main())
        assert second.arrived < 0.1
        assert second.admitted == pytest.approx(1, abs=0.01)
        assert second.first <= second.ended == pytest.approx(2, abs=0.01)
        assert second.gone is None

    @settings(max_examples=80, deadline=None)
    @given(
        seed=st.integers(0, 10_000),
        faults=st.lists(
            st.sampled_from(
                ["503:0.2", "cut=2:0.3", "error=1:0.3", "stall:0.1", "reset:0.2", "malformed:0.2", "reset=late:0.2"]
            ),
            max_size=3,
        ),
        reasoning=st.sampled_from([0.0, 0.5, 3.0]),
        stream=st.booleans(),
    )
    def test_the_bill_never_passes_the_worst_case(self, seed, faults, reasoning, stream):
        """Whatever goes wrong and whenever clients leave: each charge is at most its bytes of input and its ceiling,
        refusals are free, a reply's usage is its charge, and the sums are those of the charges.
        """

        async def one(model, number):
            ceiling = chance().randint(1, 40)
            try:
                async with asyncio.timeout(chance().uniform(0.01, 6)):
                    return ceiling, await outcome(model, str(number), stream=stream, max_tokens=ceiling)
            except TimeoutError:
                return ceiling, None

        async def main():
            model = SimulatedModel(faults=faults, seed=seed, reasoning=reasoning, price=(1, 2), **PACE)
            found = await asyncio.gather(*(one(model, number) for number in range(12)))
            return found, model.bill

        found, bill = run_virtual(main(), seed=seed)
        assert len(bill.charges) == 12
        for (ceiling, reply), billed in zip(found, bill.charges, strict=True):
            assert billed.state != "open"
            assert billed.usage.output_tokens <= ceiling
            assert billed.usage.input_tokens <= 16 + len(str(request("00").messages))
            assert billed.state != "refused" or billed.usage.total_tokens == 0
            if billed.state == "answered" and hasattr(reply, "usage"):
                assert reply.usage == billed.usage
        assert bill.usd == pytest.approx(sum(one.usd for one in bill.charges))
        assert bill.calls == sum(bill.by_state.values()) == 12
