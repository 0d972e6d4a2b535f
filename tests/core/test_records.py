"""The records: money that is never guessed, usage that adds up, requests that are equal or not, draws as headers."""

import json
import math
import pickle
from typing import Any

import genai_prices
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.calls.pricing import PER_MESSAGE, input_bound, price_of
from fanfold.core.clock import today
from fanfold.core.records import (
    UNKNOWN_COST,
    Arrival,
    Branch,
    Call,
    Cost,
    Draw,
    Event,
    Go,
    Message,
    Reply,
    Request,
    Usage,
)
from fanfold.errors import AccessError, BillingError, ConnectError, StatusError
from fanfold.models.prices import VENDORS, FlatRate, ListRate, rate
from fanfold.runs.run import Saved

# Eighths add up exactly, so that sums can be compared.
money = st.integers(0, 10_000).map(lambda eighths: eighths / 8)
costs = st.one_of(
    money.map(lambda usd: Cost(usd, usd)),
    st.tuples(money, money).map(lambda both: Cost(min(both), max(both))),
    money.map(lambda usd: Cost(usd, None)),
)
tokens = st.integers(0, 10**9)
usages = st.builds(Usage, tokens, tokens, tokens, tokens)


# -- cost ---------------------------------------------------------------------------------------------------------


@given(costs, costs, costs)
@settings(max_examples=40)
def test_costs_add_up_in_any_order(a: Cost, b: Cost, c: Cost) -> None:
    """Addition is associative and commutative, and nothing is its zero."""
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost() == a


@given(st.lists(costs, max_size=5))
@settings(max_examples=40)
def test_unknown_is_never_zero(parts: list[Cost]) -> None:
    """One unknown price makes a sum unknown above, whatever else is in it; its known part stays as a lower bound."""
    total = sum(parts, UNKNOWN_COST)
    assert total.at_most is None
    assert total.usd is None
    assert total.at_least == sum(part.at_least for part in parts)


@given(st.lists(costs, max_size=5))
@settings(max_examples=40)
def test_a_sum_lies_between_its_bounds(parts: list[Cost]) -> None:
    """Bounds add up; the sum is exact only if every part is."""
    total = sum(parts, Cost())
    assert total.at_most is None or total.at_least <= total.at_most
    assert (total.usd is not None) == all(part.usd is not None for part in parts)


def test_a_cost_says_how_well_it_is_known() -> None:
    """Exact, a range, a lower bound, or unknown: never a zero that is none."""
    shown = {
        Cost(): "$0.000000",
        Cost(0.25, 0.25): "$0.250000",
        Cost(0.25, 0.5): "$0.250000 to $0.500000",
        Cost(0.0, 0.5): "$0.000000 to $0.500000",
        Cost(0.25, None): "at least $0.250000",
        UNKNOWN_COST: "unknown",
    }
    assert {cost: str(cost) for cost in shown} == shown
    assert (Cost().usd, Cost(0.25, 0.5).usd, UNKNOWN_COST.usd) == (0.0, None, None)


# -- usage --------------------------------------------------------------------------------------------------------


@given(usages, usages)
@settings(max_examples=40)
def test_usages_add_up(a: Usage, b: Usage) -> None:
    """Every kind of token adds up by itself; input and output are the total."""
    total = a + b
    for field in Usage.__struct_fields__:
        assert getattr(total, field) == getattr(a, field) + getattr(b, field)
    assert total.total_tokens == a.total_tokens + b.total_tokens
    assert a + Usage() == a


# -- prices -------------------------------------------------------------------------------------------------------


def test_what_a_request_costs_beside_its_tokens_is_part_of_its_price() -> None:
    """Perplexity takes 12 dollars for a thousand requests to `sonar`, and one for a million tokens."""
    found = rate("perplexity:sonar")
    assert found is not None
    assert found.price(Usage(1000, 500)) == pytest.approx(0.012 + 1500 / 1e6)


RATE = FlatRate(2.0, 10.0)
ASKED = Request((Message("user", "x" * 100),), max_tokens=50)
OPEN = Request((Message("user", "x" * 100),))


@pytest.mark.parametrize(
    ("request_", "state", "usage", "error", "cost"),
    [
        (ASKED, "unsent", None, None, Cost()),
        (ASKED, "queued", None, None, Cost()),
        (ASKED, "sent", None, None, Cost()),
        (ASKED, "ok", Usage(1000, 100), None, Cost(0.003, 0.003)),
        (ASKED, "error", None, StatusError("no", status=500), Cost()),
        (ASKED, "error", None, AccessError("no"), Cost()),
        (ASKED, "error", None, BillingError("no"), Cost()),
        (OPEN, "cancelled", None, None, UNKNOWN_COST),
        (OPEN, "error", None, ConnectError("cut"), UNKNOWN_COST),
    ],
)
def test_a_call_costs_what_is_known_of_it(
    request_: Request, state: Any, usage: Usage | None, error: BaseException | None, cost: Cost
) -> None:
    """Unsent or refused is free, answered goes by its usage, cut off is a range or unknown."""
    assert price_of(RATE, request_, state, usage, error) == cost


@pytest.mark.parametrize("state", ["cancelled", "error"])
def test_a_call_cut_off_costs_at_most_the_whole_of_it(state: Any) -> None:
    """With a ceiling of tokens the range goes from nothing to the whole request."""
    cost = price_of(RATE, ASKED, state, None, None)
    assert cost.at_least == 0
    assert cost.at_most == RATE.price(Usage(input_bound(ASKED), 50))


@pytest.mark.parametrize("state", ["ok", "cancelled", "error"])
def test_a_call_to_a_free_model_costs_nothing_whoever_counts(state: Any) -> None:
    """Servers on one's own machine tell no usage, or zeros: at a price of nothing there is nothing to count."""
    assert price_of(FlatRate(0.0, 0.0), OPEN, state, None, None) == Cost()
    assert price_of(FlatRate(0.0, 0.1), OPEN, state, None, None) == UNKNOWN_COST


def test_without_a_price_a_call_that_was_sent_costs_the_unknown() -> None:
    """No price list, no figure: also where the usage is known."""
    assert price_of(None, ASKED, "ok", Usage(1, 1), None) == UNKNOWN_COST
    assert price_of(None, ASKED, "unsent", None, None) == Cost()


@given(st.lists(st.text(), min_size=1, max_size=4))
@settings(max_examples=40)
def test_the_input_bound_is_above_a_token_a_byte(texts: list[str]) -> None:
    """No tokenizer makes more tokens than there are bytes, and a chat format adds a few a message."""
    messages = [Message("user", text) for text in texts]
    assert input_bound(Request(messages)) >= sum(len(text.encode()) for text in texts) + PER_MESSAGE * len(texts)


def test_cached_tokens_have_their_own_price() -> None:
    """What the server took from its cache is priced as such, where there is such a price."""
    usage = Usage(1000, 0, cached_tokens=400)
    assert FlatRate(1.0, 1.0, 0.1).price(usage) == pytest.approx(0.00064)
    assert FlatRate(1.0, 1.0).price(usage) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ((), 1000),  # as any input
        ((1.25,), 500 + 500 * 1.25),
        ((1.25, 2.0), 500 + 300 * 1.25 + 200 * 2.0),
        ((None, 2.0), 800 + 200 * 2.0),
    ],
)
def test_what_is_written_to_a_cache_has_its_own_price(prices: tuple[float | None, ...], cost: float) -> None:
    """For minutes or for an hour, where the vendor has such prices."""
    usage = Usage(1000, 0, cache_write_tokens=500, cache_write_1h_tokens=200)
    assert FlatRate(1.0, 1.0, 0.1, *prices).price(usage) == pytest.approx(cost / 1e6)


LISTED = (
    "anthropic:claude-haiku-4-5",
    "anthropic:claude-sonnet-4-5",
    "openai:gpt-4o-mini",
    "openai:gpt-5.6-sol",
    "gemini:gemini-2.5-pro",
    "openrouter:anthropic/claude-haiku-4.5",
)


@pytest.mark.parametrize("label", LISTED)
@given(st.sampled_from([1, 1000, 200_000, 200_001, 272_001, 10**6]), st.integers(0, 5000), st.data())
@settings(max_examples=30)
def test_a_rate_is_the_price_of_the_list(label: str, length: int, output: int, data: st.DataObject) -> None:
    """Whatever was cached or written, in whichever tier: as genai-prices works it out."""
    cached, written = data.draw(st.integers(0, length // 2)), data.draw(st.integers(0, length // 2))
    hour = data.draw(st.integers(0, written))
    provider, _, name = label.partition(":")
    billed = genai_prices.Usage(
        input_tokens=length,
        output_tokens=output,
        cache_read_tokens=cached or None,
        cache_write_tokens=written or None,
        cache_write_1h_tokens=hour or None,
    )
    vendor = VENDORS.get(provider, provider)
    listed = genai_prices.calc_price(billed, name, provider_id=vendor, genai_request_timestamp=today())
    found = rate(label)
    assert found is not None
    assert not isinstance(found, ListRate)
    usage = Usage(length, output, cached, 0, written, hour)
    assert found.price(usage) == pytest.approx(float(listed.total_price))


# -- draws --------------------------------------------------------------------------------------------------------


@example("half a character \ud800", 0, 0)
@given(st.text(), st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_draw_is_an_ascii_header_for_any_name(place: str, nth: int, ordinal: int) -> None:
    """Whatever characters a place has, the header is printable ASCII without a space, and ends with the ordinal."""
    header = Draw(place, nth, ordinal).header()
    assert header.isascii()
    assert header.isprintable()
    assert " " not in header
    assert header.rsplit("/", 2)[1:] == [str(nth), str(ordinal)]


@given(st.text(), st.text())
@settings(max_examples=40)
def test_different_places_have_different_headers(a: str, b: str) -> None:
    """A header tells places apart."""
    assert (Draw(a).header() == Draw(b).header()) == (a == b)


# -- requests -----------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
mappings = st.none() | st.dictionaries(st.text(max_size=3), values, max_size=3)
requests = st.builds(
    Request,
    messages=st.lists(st.builds(Message, st.sampled_from(["user", "system"]), st.text(max_size=9)), max_size=3).map(
        tuple
    ),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 99),
    schema=mappings,
    schema_name=st.sampled_from(["answer", "report"]),
    structured=st.none() | st.booleans(),
    extra_body=mappings,
    n=st.integers(1, 3),
)


@given(requests, st.booleans(), st.text(max_size=9), st.integers(0, 9))
@settings(max_examples=40)
def test_a_requests_key_leaves_out_draw_and_delivery(request_: Request, stream: bool, place: str, nth: int) -> None:
    """The same question has the same key, whichever sample it asks for and however it is delivered."""
    again = msgspec.structs.replace(request_, stream=stream, draw=Draw(place, nth, nth))
    assert again.key() == request_.key()
    assert again.mark() == request_.mark()


@given(requests)
@settings(max_examples=40)
def test_a_request_has_the_same_key_in_another_process(request_: Request) -> None:
    """What a worker asks is found in the journal by whoever asks it here, and the other way around."""
    assert pickle.loads(pickle.dumps(request_)).key() == request_.key()


@given(requests, requests)
@settings(max_examples=40)
def test_different_requests_have_different_keys(a: Request, b: Request) -> None:
    """Two requests have the same key only if they ask for the same thing."""
    plain = [json.dumps(msgspec.to_builtins(one), sort_keys=True) for one in (a, b)]
    assert (a.key() == b.key()) == (plain[0] == plain[1])
    assert (a.mark() == b.mark()) == (a.key() == b.key())


@pytest.mark.parametrize("content", ["\ud800", [{"type": "text", "text": "\ud800"}]])
def test_half_a_surrogate_pair_has_neither_a_key_nor_a_mark(content: Any) -> None:
    """What no UTF-8 can hold is refused before anything is sent, with a journal and without."""
    asked = Request((Message("user", content),))
    for name in (asked.key, asked.mark):
        with pytest.raises(UnicodeEncodeError):
            name()


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("user", "other"),)},
        {"messages": (Message("system", "x"),)},
        {"temperature": 0.0},
        {"max_tokens": 7},
        {"schema": {"type": "object"}},
        {"schema_name": "report"},
        {"structured": False},
        {"extra_body": {"seed": 1}},
        {"n": 2},
    ],
)
def test_every_field_but_the_draw_and_the_stream_is_in_the_key(change: dict[str, Any]) -> None:
    """A change of any field that the model could see is another request."""
    base = Request((Message("user", "x"),))
    other = msgspec.structs.replace(base, **change)
    assert other.key() != base.key()
    assert other.mark() != base.mark()


def test_the_order_of_a_mapping_is_not_in_the_key() -> None:
    """Bodies and schemas that are equal as mappings are one request."""
    one = Request((), extra_body={"a": 1, "b": {"c": 1, "d": 2}})
    other = Request((), extra_body={"b": {"d": 2, "c": 1}, "a": 1})
    assert one.key() == other.key()


# -- what records are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        Branch("a", print),
        Arrival(0, "a", 1, None, 0.0, 1.0),
        Go(),
        Draw(),
        Usage(),
        Cost(),
        Message("user", "x"),
        Request(()),
        Reply(("x",), Usage()),
        Event(0, 0.0, "run.started", "run"),
        Call(0, "run", "fake:", Draw(), "ok", 0.0, 1.0, None, 3.0, None, Cost()),
        Saved(),
    ],
)
def test_records_are_frozen(record: Any) -> None:
    """No record changes once it is made."""
    with pytest.raises(AttributeError, match="immutable"):
        setattr(record, record.__struct_fields__[0], None)


def test_records_that_mean_a_number_are_no_truth_values() -> None:
    """`Saved` refuses to be true or false, and names what to compare."""
    with pytest.raises(TypeError, match=r"\.calls"):
        bool(Saved(1, 2))
    assert Saved(1, 2).calls == 3


def test_a_calls_seconds_are_those_on_the_wire() -> None:
    """A call that was never sent took none."""
    call = Call(0, "run", "fake:", Draw(), "ok", 0.0, 1.0, None, 3.0, None, Cost())
    assert call.seconds == 2.0
    assert msgspec.structs.replace(call, sent=None, state="unsent").seconds == 0.0


def test_a_replys_text_is_its_first_sample() -> None:
    """Of several samples the first is the reply's text."""
    assert Reply(("a", "b"), Usage()).text == "a"
    assert math.isclose(RATE.price(Usage(10**6, 10**6)), 12.0)
