"""The server's own tokenizer, and how a reply is settled within its ceiling."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.testing.server import tokens


def settled(*texts, told=False, reasoning=0.0, key="k", usage=None, finish="stop", **request):
    asked = Request((Message("user", "hello"),), **request)
    reply, short = tokens.settled(Reply(texts, usage, finish), asked, told=told, reasoning=reasoning, key=key)
    return msgspec.structs.replace(reply, finish=tokens.finished(reply, [None] * len(texts), short)[0])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("   ", 0),
        ("hello", 1),
        ("hello, world!", 4),
        ("internationalization", 4),
        ("a b c", 3),
        ("...", 3),
        ("Grüße 你好", 2),
        ("👍🏽", 2),
    ],
)
def test_a_token_is_a_piece_of_a_word_or_a_mark(text, count):
    """Up to six letters are one token, each mark another; white space is none."""
    assert tokens.count(text) == count


@given(st.text(max_size=200))
def test_tokens_are_never_more_than_bytes(text):
    """A client that counts bytes has an upper bound."""
    assert tokens.count(text) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.text(max_size=200), st.integers(0, 40))
def test_the_start_of_a_text_has_so_many_tokens(text, count):
    """The first n tokens are a beginning of the text, and are n, or all of it."""
    start = tokens.start(text, count)
    assert text.startswith(start)
    assert tokens.count(start) == min(count, tokens.count(text))


@given(st.lists(st.text(max_size=40), max_size=4))
def test_input_is_below_what_a_client_may_reckon_with(texts):
    """Input tokens stay below the bytes of the messages as JSON and sixteen more for each."""
    messages = [Message("user", text.encode("utf-8", "replace").decode()) for text in texts]
    assert tokens.given(messages) <= len(msgspec.json.encode(messages)) + 16 * max(1, len(messages))


def test_parts_are_counted_by_kind():
    """Text parts by their text, images by a figure of their own."""
    parts = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:…"}}]
    text = tokens.given([Message("user", "what is this?")])
    assert tokens.given([Message("user", parts)]) == text + tokens.PER_IMAGE


def test_a_reply_is_counted_by_the_server():
    """Usage is the server's own count, whatever the answering model said."""
    reply = settled("hello, world!", usage=Usage(999, 999))
    assert reply.usage == Usage(tokens.given([Message("user", "hello")]), 4)
    assert (reply.text, reply.finish) == ("hello, world!", "stop")


def test_a_ceiling_cuts_the_text_and_says_so():
    """Beyond max_tokens nothing is given; the reason to stop is the length."""
    reply = settled("hello, world!", max_tokens=2)
    assert (reply.text, reply.finish, reply.usage.output_tokens) == ("hello,", "length", 2)
    whole = settled("hello, world!", max_tokens=4)
    assert (whole.text, whole.finish) == ("hello, world!", "stop")


def test_each_sample_has_the_ceiling_to_itself():
    """Several samples are cut one by one and counted together."""
    reply = settled("a b c d", "a b", max_tokens=3, n=2)
    assert (reply.texts, reply.usage.output_tokens, reply.finish) == (("a b c", "a b"), 5, "length")


@given(
    st.lists(st.text(max_size=60), min_size=1, max_size=3),
    st.none() | st.integers(1, 30),
    st.floats(0, 4),
    st.booleans(),
)
def test_output_never_passes_the_ceiling(texts, ceiling, reasoning, told):
    """Reasoning is part of the output, and both are within max_tokens for each sample; recorded usage, too."""
    usage = Usage(10, 50)
    reply = settled(*texts, told=told, usage=usage, reasoning=reasoning, max_tokens=ceiling, n=len(texts))
    assert 0 <= reply.usage.reasoning_tokens <= reply.usage.output_tokens
    if ceiling is not None:
        assert reply.usage.output_tokens <= ceiling * len(texts)
        assert all(tokens.count(text) <= ceiling for text in reply.texts)
    if told and ceiling is None:
        assert reply.usage.output_tokens == 50 + reply.usage.reasoning_tokens


def test_reasoning_is_a_seeded_share():
    """Over many replies it is the share that was asked for, between half and one and a half times it each."""
    text = "word " * 100
    made = [settled(text, reasoning=0.5, key=str(key)).usage.reasoning_tokens for key in range(500)]
    assert made == [settled(text, reasoning=0.5, key=str(key)).usage.reasoning_tokens for key in range(500)]
    assert sum(made) / 500 == pytest.approx(50, rel=0.05)
    assert 25 <= min(made) < max(made) <= 75


def test_reasoning_can_leave_nothing_to_say():
    """A ceiling that the thinking uses up leaves an empty text, as with real models."""
    reply = settled("one two three", reasoning=4.0, max_tokens=3)
    assert (reply.text, reply.finish, reply.usage.output_tokens, reply.usage.reasoning_tokens) == ("", "length", 3, 3)
