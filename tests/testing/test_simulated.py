"""The model service without sockets, in virtual time: limits, faults, and what clients make of them."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold import Session, prompt
from fanfold.core.clock import now, sleep
from fanfold.core.records import Reply
from fanfold.errors import (
    AccessError,
    BillingError,
    ConnectError,
    NotRecorded,
    ReplyError,
    StatusError,
    StreamCut,
    UsageError,
)
from fanfold.testing import Fault, Limits, SimulatedModel, no_leaks, run_virtual
from tests.testing.asking import Heard, ask, outcome, request

TEXT = "Grüße an alle, die da sind und hier stehen, mit Öl und Äpfeln!"
WORDS = len(TEXT.split())
PACE = {"latency": "stream", "first_token": 1.0, "between_tokens": 0.1}

BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


def met(fault, dialect="openai", *, stream=False, seconds=60.0, **options):
    """What one request meets, at which moment it ended, and its charge."""

    async def main():
        model = SimulatedModel([TEXT], dialect=dialect, faults=fault, price=(1.0, 2.0), **{**PACE, **options})
        async with no_leaks():
            try:
                async with asyncio.timeout(seconds):
                    found = await outcome(model, stream=stream)
            except TimeoutError as error:
                found = error
            return found, now(), model.bill.charges[0], model

    found, at, charge, model = run_virtual(main())
    assert model.statistics().in_flight == 0
    return found, at, charge


class TestWithoutFaults:
    """It is a model like any other."""

    @BOTH
    @WAYS
    def test_it_answers_through_the_real_wire(self, dialect, stream):
        """The text arrives whole after its time, and the reply's usage is what the bill says."""
        found, at, charge = met((), dialect, stream=stream)
        assert isinstance(found, Reply)
        assert (found.text, found.usage, found.made_up) == (TEXT, charge.usage, True)
        assert at == pytest.approx(1.0 + 0.1 * (WORDS - 1), abs=0.01)
        assert (charge.state, charge.status) == ("answered", 200)

    def test_it_is_a_model_for_a_session(self):
        """Steps run on it, and their cost is the bill's."""

        async def main():
            model = SimulatedModel(price=(1.0, 2.0))
            async with Session(model=model) as session:
                run = await prompt("{input}").run("hello", session=session)
            return run, model

        run, model = run_virtual(main())
        assert run.cost.usd == pytest.approx(model.bill.usd)
        assert run.cost.usd > 0
        assert repr(model).startswith("SimulatedModel('openai:m', Bill(calls=1, ")

    def test_pieces_come_at_their_times(self):
        """The first word comes after the first token's time, the others one pause after another."""

        async def main():
            model, times = SimulatedModel(["a b c"], **PACE), []
            heard = Heard()
            heard.text = lambda piece: times.append((piece, round(now(), 2)))
            await model.send(request(stream=True), heard)
            return times

        assert run_virtual(main()) == [("a ", 1.0), ("b ", 1.1), ("c", 1.2)]

    def test_recorded_answers_are_served_too(self):
        """What was never recorded is refused as over a socket."""
        found = run_virtual(outcome(SimulatedModel("recorded", name="gpt-4")))
        assert isinstance(found, NotRecorded)

    @pytest.mark.parametrize(
        "wrong", [{"reasoning": -1}, {"price": (-1, 2)}, {"faults": ["often"]}, {"latency": "soon"}]
    )
    def test_conditions_that_cannot_be_are_refused(self, wrong):
        """At once, when the model is made."""
        with pytest.raises(UsageError):
            SimulatedModel(**wrong)


class TestFaults:
    """What each fault looks like to a client."""

    @BOTH
    @WAYS
    @pytest.mark.parametrize(
        ("fault", "kind", "words"),
        [
            ("503", StatusError, "503"),
            ("529", StatusError, "529"),
            ("429=7", StatusError, "429"),
            ("401", AccessError, "401"),
            ("outage", StatusError, "out of service"),
            ("outage=529", StatusError, "529"),
            ("outage=reset", ConnectError, "reset"),
            ("quota", BillingError, "billing"),
            ("credit", BillingError, "credit balance"),
            ("spend", BillingError, "limit"),
            ("reset", ConnectError, "reset"),
        ],
    )
    def test_refusals_are_the_errors_of_the_wire_and_cost_nothing(self, dialect, stream, fault, kind, words):
        """Statuses, billing and early resets are raised as over a socket, at once, and nothing is billed."""
        found, at, charge = met(fault, dialect, stream=stream)
        assert type(found) is kind
        assert words in str(found)
        assert at < 0.01
        assert (charge.usage.total_tokens, charge.usd) == (0, 0.0)
        assert charge.state == ("cut" if kind is ConnectError else "refused")

    def test_a_status_may_say_when_to_come_back(self):
        """The value of a status is its Retry-After."""
        found, _, _ = met("429=7")
        assert (found.status, found.retry_after) == (429, 7.0)

    @BOTH
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("reset=late", ConnectError),
            ("reset=0", ConnectError),
            ("cut=0", ConnectError),
            ("error=0", ReplyError),
            ("malformed=0", ReplyError),
            ("empty", ReplyError),
        ],
    )
    def test_what_goes_wrong_before_the_first_word_may_be_tried_again(self, dialect, fault, kind):
        """No text came, so the error is a retryable one."""
        found, at, _ = met(fault, dialect, stream=True)
        assert type(found) is kind
        assert found.retryable
        assert at == pytest.approx(1.0, abs=0.01)

    @BOTH
    @pytest.mark.parametrize("fault", ["reset=3", "cut=3", "end=3", "error=3", "malformed=3"])
    def test_what_goes_wrong_after_it_carries_the_text(self, dialect, fault):
        """Three words had come: the error has them, and what was made until then is billed."""
        found, _, charge = met(fault, dialect, stream=True)
        assert type(found) is StreamCut
        assert found.text == "Grüße an alle, "
        assert 0 < charge.usage.output_tokens < 16

    @BOTH
    @pytest.mark.parametrize("fault", ["cut", "end"])
    def test_a_stream_can_be_cut_between_any_two_pieces(self, dialect, fault):
        """At each boundary the client gets so many words and an error; never a short reply that looks whole."""
        for pieces in range(WORDS + 1):
            found, _, charge = met(f"{fault}={pieces}", dialect, stream=True)
            said = " ".join(TEXT.split()[:pieces])
            assert isinstance(found, StreamCut if pieces else ReplyError | ConnectError), pieces
            assert getattr(found, "text", "").strip() == said
            assert charge.state == "cut"

    @BOTH
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_reply_can_be_cut_at_any_byte(self, dialect, stream):
        """However many bytes came, the client raises an error, or has all of the text."""
        for count in range(0, 6000, 97 if stream else 41):
            found, _, charge = met(f"cut={count}b", dialect, stream=stream)
            if isinstance(found, Reply):
                assert found.text == TEXT
                break
            assert isinstance(found, ConnectError | StreamCut), count
            assert TEXT.startswith(getattr(found, "text", ""))
            assert charge.usage.output_tokens <= 16
        else:
            raise AssertionError("its last byte was never reached")

    @BOTH
    @WAYS
    @pytest.mark.parametrize("fault", ["dribble", "split"])
    def test_odd_chunks_bring_the_whole_text(self, dialect, stream, fault):
        """Single bytes, and characters in halves, are put together again."""
        found, _, charge = met(fault, dialect, stream=stream)
        assert found.text == TEXT
        assert charge.state == "answered"

    @pytest.mark.parametrize(("fault", "sizes"), [("dribble", {1}), ("split", None)])
    def test_odd_chunks_are_what_they_say(self, fault, sizes):
        """One byte each; or parts that no decoder can read alone."""
        chunks = []

        async def main():
            model = SimulatedModel([TEXT], faults=fault)
            feed = model._wire.incoming

            def incoming(request):
                made = feed(request)
                take = made.feed
                made.feed = lambda chunk: (chunks.append(chunk), take(chunk))[1]
                return made

            model._wire.incoming = incoming
            await ask(model, stream=True)

        run_virtual(main())
        if sizes:
            assert {len(chunk) for chunk in chunks} == sizes
        else:
            assert any(chunk[0] & 0xC0 == 0x80 for chunk in chunks)

    @BOTH
    def test_a_stream_without_its_end(self, dialect):
        """Only the event that closes the stream is missing; all that came before is there."""
        found, _, charge = met("no-done", dialect, stream=True)
        assert getattr(found, "text", None) == TEXT
        assert charge.usage.output_tokens == 16

    @BOTH
    @pytest.mark.parametrize("fault", ["malformed", "error", "empty", "end=3", "reset=3", "cut=100b"])
    def test_a_plain_reply_can_be_broken(self, dialect, fault):
        """Broken JSON, an error in a 200, nothing at all, and half a body are errors; the model did its work."""
        found, _, charge = met(fault, dialect)
        assert type(found) is (ConnectError if fault[0] in "rc" else ReplyError)
        assert charge.usage.output_tokens == 16

    @BOTH
    @WAYS
    @pytest.mark.parametrize("fault", ["stall", "stall=3"])
    def test_a_stall_lasts_until_the_client_leaves(self, dialect, stream, fault):
        """Nothing more comes; the client is seen to go, and pays what was made, which is all of it."""
        found, at, charge = met(fault, dialect, stream=stream)
        assert isinstance(found, TimeoutError)
        assert at == pytest.approx(60, abs=0.01)
        assert (charge.state, charge.gone) == ("gone", pytest.approx(60, abs=0.01))
        assert charge.usage.output_tokens == 16

    def test_slow_headers_come_later(self):
        """By so many seconds, and all the rest with them."""
        assert met("slow=2.5")[1] - met(())[1] == pytest.approx(2.5, abs=0.01)
        assert met("slow=2.5", stream=True)[1] - met((), stream=True)[1] == pytest.approx(2.5, abs=0.01)

    def test_stragglers_wait_longer_for_their_first_word(self):
        """Ten times as long for the first word, no longer between the others."""
        assert met("stragglers:1x10", stream=True)[1] == pytest.approx(10 + 0.1 * (WORDS - 1), abs=0.01)

    @pytest.mark.parametrize("refused", ["503", "quota", "outage"])
    def test_a_refusal_is_slow_too(self, refused):
        """Faults add up: headers that come later do so whatever they say, and a refusal costs nothing."""
        found, at, charge = met(["slow=2.5", refused])
        assert isinstance(found, StatusError | BillingError)
        assert at == pytest.approx(2.5, abs=0.01)
        assert (charge.state, charge.usd) == ("refused", 0.0)

    @pytest.mark.parametrize("mild", ["reset=3", "reset=late"])
    def test_an_outage_is_one_for_those_whose_connection_breaks_later(self, mild):
        """A fault on the way out takes nothing from one before any work, in whichever order they are given."""
        for faults in ([mild, "outage"], ["outage", mild]):
            found, _, charge = met(faults)
            assert (type(found), charge.status, charge.usd) == (StatusError, 503, 0.0)
        _, _, charge = met([mild, "reset"])
        assert (charge.state, charge.usd) == ("cut", 0.0)

    def test_a_stall_without_an_answer_is_one_beside_a_later_one(self):
        """Who never answers says nothing of the pieces, either."""
        assert met(["stall=3", "stall"], seconds=30)[2].status is None

    def test_a_hedge_escapes_a_straggler_but_not_a_slow_request(self):
        """Of requests that were slow once, the second sending is as fast as any; where it is inherent, none is."""

        async def slow(text):
            model = SimulatedModel(faults=text, latency=1.0)
            both = 0
            for number in range(60):
                times = []
                for _ in range(2):
                    began = now()
                    await ask(model, place=str(number))
                    times.append(now() - began > 2)
                both += all(times)
                assert times[0] == times[1] or "inherent" not in text
            return both

        assert run_virtual(slow("stragglers:0.3x10")) < 12
        assert run_virtual(slow("stragglers=inherent:0.3x10")) > 12

    def test_an_outage_begins_and_ends(self):
        """From second 5 for 20 seconds after the first request, everything is refused, and nothing else."""

        async def main():
            model, refused = SimulatedModel(faults="outage:5+20"), []
            await sleep(3)
            for second in range(30):
                if isinstance(await outcome(model, str(second)), StatusError):
                    refused.append(second)
                await sleep(1)
            return refused

        assert run_virtual(main()) == list(range(5, 25))

    def test_a_run_repeats(self):
        """With the same seed the same requests fail, also when they come in another order."""

        async def main(order, seed):
            model = SimulatedModel(faults=["503:0.2", "cut=1:0.2"], seed=seed, latency="uniform:0,1")
            found = await asyncio.gather(*(outcome(model, str(number), stream=True) for number in order))
            return {number: type(one).__name__ for number, one in zip(order, found, strict=True)}

        first = run_virtual(main(list(range(60)), 1))
        assert first == run_virtual(main(list(reversed(range(60))), 1))
        assert len(set(first.values())) == 3
        assert first != run_virtual(main(list(range(60)), 2))

    def test_a_function_may_look_at_what_is_asked(self):
        """It sees model, request, number and attempt; its bugs are not swallowed."""

        async def main():
            def choose(asking):
                return "503" if "bad" in asking.request.messages[0].content and asking.model == "m" else None

            model = SimulatedModel(faults=choose)
            return [type(await outcome(model, text)) for text in ("good", "bad")]

        assert run_virtual(main()) == [Reply, StatusError]
        with pytest.raises(ZeroDivisionError):
            run_virtual(ask(SimulatedModel(faults=lambda _: 1 / 0)))


class TestLimits:
    """Windows as a client meets them."""

    @BOTH
    def test_a_client_that_waits_as_told_gets_through(self, dialect):
        """One that sleeps Retry-After after each 429 is never refused twice in a row, whatever the window."""

        async def main(window):
            model = SimulatedModel(dialect=dialect, limits=Limits(rpm=10, window=window, retry_after="float"))
            got, refused = 0, 0
            while got < 35:
                found = await outcome(model, str(got))
                if isinstance(found, Reply):
                    got, refused = got + 1, 0
                else:
                    refused += 1
                    assert (found.status, refused) == (429, 1)
                    await sleep(found.retry_after)
            return now(), model.bill

        for window in ("bucket", "fixed", "sliding"):
            at, bill = run_virtual(main(window))
            assert at == pytest.approx(150 if window == "bucket" else 180, abs=0.1)
            assert bill.by_status[200] == 35

    def test_keys_have_windows_of_their_own(self):
        """Another key is not refused for what the first one did; with by=server it is."""

        async def main(by):
            model = SimulatedModel(limits=Limits(rpm=1, by=by))
            others = [model, model.beside(key="another"), model.beside("other"), model.beside("other", key="another")]
            return [isinstance(await outcome(one), Reply) for one in others]

        assert run_virtual(main("key")) == [True, True, False, False]
        assert run_virtual(main("model")) == [True, False, True, False]
        assert run_virtual(main("key+model")) == [True, True, True, True]
        assert run_virtual(main("server")) == [True, False, False, False]

    def test_tokens_are_limited_by_what_might_be_written(self):
        """A request with a large ceiling is refused, the same with a small one is not."""

        async def main():
            model = SimulatedModel(limits=Limits(tpm=500))
            large = await outcome(model, max_tokens=1000)
            return large, await outcome(model, max_tokens=100), model.bill.by_status

        large, small, statuses = run_virtual(main())
        assert "on tokens: limit 500" in str(large)
        assert large.retry_after is None
        assert isinstance(small, Reply)
        assert statuses == {429: 1, 200: 1}

    @pytest.mark.parametrize("window", ["bucket", "fixed", "sliding"])
    def test_limits_change_while_it_runs(self, window):
        """Halved and doubled in the middle, the admitted requests of the next whole minute are half and double."""

        async def main():
            model = SimulatedModel(limits=Limits(rpm=60, window=window, burst=1 if window == "bucket" else None))
            counts = []
            for rpm in (60, 30, 120):
                model.limits = model.limits.but(rpm=rpm)
                for minute in range(2):
                    admitted = 0
                    for _ in range(240):
                        admitted += isinstance(await outcome(model), Reply)
                        await sleep(0.25)
                    if minute:
                        counts.append(admitted)
            return counts

        assert run_virtual(main()) == pytest.approx([60, 30, 120], abs=2)

    def test_hammering_a_window_that_counts_rejections_gets_nothing(self):
        """On a sliding window that counts rejected requests, who never pauses starves."""

        async def main(counts):
            model = SimulatedModel(limits=Limits(rpm=10, window="sliding", count_rejected=counts))
            got = 0
            for _ in range(600):
                got += isinstance(await outcome(model), Reply)
                await sleep(1)
            return got

        assert run_virtual(main(False)) == pytest.approx(100, abs=10)
        assert run_virtual(main(True)) == 10

    def test_only_so_many_are_served_at_once(self):
        """With a queue ten requests at two at a time take five turns, in order; without one the others are refused."""

        async def main(over):
            model = SimulatedModel(latency=1.0, limits=Limits(at_once=2, over=over))
            found = await asyncio.gather(*(outcome(model, str(number)) for number in range(10)))
            return now(), Counter(getattr(one, "status", 200) for one in found), model.bill.charges

        at, statuses, charges = run_virtual(main("queue"))
        assert (round(at, 2), statuses) == (5.0, {200: 10})
        assert [round(charge.admitted) for charge in charges] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        for over in ("503", "529"):
            at, statuses, _ = run_virtual(main(over))
            assert (round(at, 2), statuses) == (1.0, {200: 2, int(over): 8})

    def test_more_may_come_in_when_the_limit_is_raised(self):
        """Those who wait are let in at once."""

        async def main():
            model = SimulatedModel(latency=1.0, limits=Limits(at_once=1))
            calls = [asyncio.create_task(ask(model, str(number))) for number in range(4)]
            await sleep(0.5)
            model.limits = Limits()
            await asyncio.gather(*calls)
            return now()

        assert run_virtual(main()) == pytest.approx(1.5, abs=0.01)

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 4)), min_size=1, max_size=12), st.integers(1, 3))
    def test_no_place_is_lost_when_clients_leave(self, clients, at_once):
        """Whenever clients leave, in the queue or in service, all places are free again in the end."""

        async def client(model, start, patience):
            await sleep(start)
            try:
                async with asyncio.timeout(patience):
                    await ask(model, str(start))
            except TimeoutError:
                pass

        async def main():
            model = SimulatedModel(latency=1.0, limits=Limits(at_once=at_once))
            async with no_leaks():
                await asyncio.gather(*(client(model, *one) for one in clients))
            return model.service.desk

        desk = run_virtual(main())
        assert (desk.taken, len(desk.waiting)) == (0, 0)


class TestLeaving:
    """A client that goes away."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_seen_at_once(self, stream):
        """A cancelled call ends the work for it in the same moment, and is on the bill as gone."""

        async def main():
            model = SimulatedModel([TEXT], **PACE)
            call = asyncio.create_task(ask(model, stream=stream))
            await sleep(1.25)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return model.bill.charges[0], model.seen[0], model.statistics()

        charge, seen, counts = run_virtual(main())
        assert charge.gone == pytest.approx(1.25, abs=0.001)
        assert seen.disconnected == pytest.approx(1.25, abs=0.001)
        assert (counts.disconnected, counts.in_flight, charge.state) == (1, 0, "gone")
        assert 0 < charge.usage.output_tokens < 16

    def test_a_cancellation_of_the_caller_is_not_swallowed(self):
        """Cancelled at any moment, the call ends cancelled, and nothing is left."""

        async def main(at):
            model = SimulatedModel([TEXT], **PACE)
            async with no_leaks():
                call = asyncio.create_task(outcome(model, stream=True))
                await sleep(at)
                call.cancel()
                await asyncio.wait([call])
            return call.cancelled()

        whole = 1.0 + 0.1 * (WORDS - 1)
        assert [run_virtual(main(number * 0.037)) for number in range(64)] == [
            number * 0.037 < whole for number in range(64)
        ]

    def test_who_leaves_the_queue_pays_nothing(self):
        """Before its turn came, no work was done."""

        async def main():
            model = SimulatedModel(latency=10.0, limits=Limits(at_once=1), price=(1, 2))
            first = asyncio.create_task(ask(model, "first"))
            await sleep(0.1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await ask(model, "second")
            await first
            return model.bill.charges

        first, second = run_virtual(main())
        assert (second.state, second.admitted, second.usd) == ("gone", None, 0.0)
        assert first.usd > 0


def test_it_can_begin_anew():
    """Faults may change, and after a reset windows, bill, and request numbers are new."""

    async def main():
        model = SimulatedModel(limits=Limits(rpm=1), faults="503@0")
        found = [type(await outcome(model)) for _ in range(3)]
        model.reset()
        model.faults = []
        return found, type(await outcome(model)), model.bill.calls

    found, then, calls = run_virtual(main())
    assert found == [StatusError, StatusError, StatusError]
    assert (then, calls) == (Reply, 1)


def test_faults_may_be_given_in_every_form():
    """A text, a record, and lists of both."""
    for given_as in ("503", Fault("503"), ["503"], [Fault("503"), "stall:0.1"]):
        assert isinstance(run_virtual(outcome(SimulatedModel(faults=given_as))), StatusError)


def test_a_dialect_that_it_does_not_speak_is_refused():
    """It names those that it does; any other was taken for Anthropic's."""
    with pytest.raises(UsageError, match="dialect='gemini': take one of openai, anthropic"):
        SimulatedModel(dialect="gemini")
