"""Replies that real servers send and no reference shows: they are read, and what they do not tell is not made up."""

import json

import pytest

from fanfold.calls.retrying import row_for
from fanfold.core.records import Reply, Usage
from fanfold.errors import ReplyError
from fanfold.models import chat, messages
from fanfold.models.bridging import Hearing
from fanfold.models.prices import rate
from fanfold.models.refusals import error_code, error_text
from tests.wire import raw


def completion(usage, **message):
    """What is read of a whole completion."""
    said = {"index": 0, "message": {"content": "hello", **message}, "finish_reason": "stop"}
    return chat.reply_of(json.dumps({"choices": [said], "usage": usage}).encode(), "openai:m")


def message(usage):
    """The same in the other dialect."""
    body = {"content": [{"type": "text", "text": "hello"}], "usage": usage}
    return messages.reply_of(json.dumps(body).encode(), "anthropic:m")


# -- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"total_tokens": 9},
        {"prompt_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": -1},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    ],
)
def test_half_a_usage_is_none(usage):
    """A paid reply is not lost for a count that is missing, and a missing count is not zero."""
    reply = completion(usage)
    assert (reply.texts, reply.usage) == (("hello",), None)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1, "output_tokens": 2},
        {"input_tokens": 3, "output_tokens": -1},
        {"input_tokens": 0, "output_tokens": 0},
    ],
)
def test_a_negative_or_empty_usage_is_none_in_the_other_dialect_too(usage):
    """Nothing was ever paid back by a reply, nor was one for nothing: its server did not count."""
    assert message(usage).usage is None


@pytest.mark.parametrize(
    ("usage", "output"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 274}, 242),
        ({"prompt_tokens": 32, "total_tokens": 274}, 242),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41}, 9),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 0}, 9),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": None}, 9),
    ],
)
def test_thinking_that_only_the_total_counts_is_output(usage, output):
    """Some vendors (xAI, Gemini) leave it out of the completion, and bill it as that."""
    assert completion(usage).usage == Usage(32, output)


@pytest.mark.parametrize(("cached", "counted"), [(9, 3), (-1, 0), (2, 2)])
def test_no_more_is_cached_than_was_sent(cached, counted):
    """Some count what was cached beside the rest: then the price of that would be below nothing, or an error."""
    usage = completion(
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": cached}}
    ).usage
    assert usage == Usage(3, 2, counted)
    written = completion(
        {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": cached},
        }
    ).usage
    assert written == Usage(3, 2, 1, cache_write_tokens=min(counted, 2))
    for name in ("openai:gpt-4o-mini", "gemini:gemini-2.5-pro"):
        known = rate(name)
        assert known is not None
        assert known.price(usage) > 0


# -- texts ---------------------------------------------------------------------------------------------------------

PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "text", "text": "hel"},
    {"type": "reference", "reference_ids": [1]},
    {"type": "text", "text": "lo"},
]


def test_content_in_parts_is_the_text_of_them():
    """So Mistral's thinking models answer; their thinking is no text."""
    assert completion(None, content=PARTS).texts == ("hello",)
    assert completion(None, content=[]).texts == ("",)


def test_content_in_parts_streams():
    """A piece may be in parts, too."""
    streamed = chat.StreamedReply("mistral:m")
    events = [
        {"choices": [{"index": 0, "delta": {"content": PARTS[:2]}}]},
        {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
    ]
    assert [streamed.feed(raw.event(event)) for event in events] == ["hel", "lo"]
    assert streamed.reply().texts == ("hello",)


def test_samples_out_of_order_keep_their_reason_to_stop():
    """The reason is that of the first sample, wherever it stands."""
    choices = [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
    ]
    reply = chat.reply_of(json.dumps({"choices": choices}).encode(), "openai:m")
    assert (reply.texts, reply.finish) == (("a", "b"), "stop")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (r"caf\ud83d", "caf�"),
        (r"\ude00 hello", "� hello"),
        (r"\ud83d\ud83d\ude00", "�😀"),
        (r"\ud83d\ude00 \\ud83d", "😀 \\ud83d"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_reply_with_half_a_character_is_not_lost(said, read):
    """It was paid for. Servers that cut text as JavaScript counts it send such halves, and no UTF-8 can hold them."""
    whole = f'{{"choices": [{{"index": 0, "message": {{"content": "{said}"}}}}]}}'.encode()
    assert chat.reply_of(whole, "openai:m").texts == (read,)
    whole = f'{{"content": [{{"type": "text", "text": "{said}"}}], "stop_reason": "end_turn"}}'.encode()
    assert messages.reply_of(whole, "anthropic:m").texts == (read,)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"choices": [{"message": {"content": "hello"}}]}',
        b'{"choices": [{"message": {"content": "hello"}, "logprobs": {"content": [{"logprob": -Infinity}]}}]}',
        b'{"choices": [{"message": {"content": "hello"}, "logprobs": {"content": [{"token": "\\ud83d"}]}}]}',
        b'{"id": 7, "model": ["m"], "choices": [{"index": null, "message": {"content": "hello", "refusal": false}}]}',
        b'{"system_fingerprint": 7, "choices": [{"finish_reason": 0, "message": {"content": "hello"}}], "usage": []}',
    ],
)
def test_a_reply_is_not_lost_for_what_stands_beside_its_text(body):
    """What tells nothing is not read."""
    assert chat.reply_of(body, "openai:m") == Reply(("hello",), None)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3.0, "completion_tokens": 2.0, "total_tokens": 5.0},
        {"prompt_tokens": "3", "completion_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": []},
        {"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 0.0}},
    ],
)
def test_counts_that_are_written_oddly_are_read(usage):
    """Gateways write whole numbers as others, and an empty object as a list."""
    assert completion(usage) == Reply(("hello",), Usage(3, 2))


def test_half_a_count_is_none():
    """It is not rounded, and the text is not lost for it."""
    assert completion({"prompt_tokens": 3.5, "completion_tokens": 2}) == Reply(("hello",), None)
    assert message({"input_tokens": 3.0, "output_tokens": float("nan")}) == Reply(("hello",), None)
    assert message({"input_tokens": 3.0, "output_tokens": 2.0}) == Reply(("hello",), Usage(3, 2))


def test_a_count_beyond_any_float_raises_no_other_error():
    """Beside an odd field, too, where the reply is read by the lenient reader."""
    body = {"id": 7, "choices": [{"message": {"content": "hello"}}], "usage": {"prompt_tokens": 10**400}}
    assert chat.reply_of(json.dumps(body).encode(), "openai:m") == Reply(("hello",), None)


# -- streams -------------------------------------------------------------------------------------------------------


def streamed(*parts):
    """What is read of a streamed completion."""
    reply = chat.StreamedReply("openai:m")
    for part in parts:
        reply.feed(part)
    reply.rest()
    return reply.reply()


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_byte_order_mark_hides_no_text(size):
    """The standard has one passed over at the start of a stream, however it is cut."""
    sent = b"\xef\xbb\xbf" + b"".join(raw.stream("hel", "lo"))
    parts = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert streamed(*parts).texts == ("hello",)


def test_the_usage_of_a_stream_may_stand_in_its_choice():
    """So Moonshot sends it; the last one is whole, and that of the whole reply goes before it."""
    last = raw.piece(finish="stop")
    last["choices"][0]["usage"] = {"prompt_tokens": 3, "completion_tokens": 2}
    told = [raw.event(raw.piece("hello")), raw.event(last)]
    assert streamed(*told).usage == Usage(3, 2)
    first = raw.piece("hello")
    first["choices"][0]["usage"] = {"prompt_tokens": 3, "completion_tokens": 0}
    assert streamed(raw.event(first), *told).usage == Usage(3, 2)
    total = raw.event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
    assert streamed(*told, total).usage == Usage(7, 2)


def test_events_without_data_are_none():
    """An empty line of data is no event in the standard; some servers keep a connection alive by it."""
    assert streamed(b"data:\n\ndata: \n\n", *raw.stream("hello")).texts == ("hello",)


def test_a_character_in_two_halves_is_joined():
    """A gateway that cuts a text as JavaScript counts it sends its halves in two events; what stays half is told so."""
    events = [
        {"choices": [{"index": index, "delta": {"content": piece}}]}
        for piece in ("a\ud83d", "", "\ude00b\ud83d", "c\ud83d")
        for index in (0, 1)
    ]
    ends = [raw.piece(finish="stop", index=index) for index in (0, 1)]
    reply = chat.StreamedReply("openai:m", 2)
    heard = [reply.feed(f"data: {json.dumps(event)}\n\n".encode()) for event in [*events, *ends]]
    heard.append(reply.rest())
    assert "|".join(heard[::2]) == "a||😀b|�c||�"
    assert reply.reply().texts == ("a😀b�c�",) * 2


def test_a_character_in_two_halves_is_joined_in_the_other_dialect():
    """The same, in its events."""
    deltas = [{"type": "text_delta", "text": piece} for piece in ("a\ud83d", "\ude00b", "\ud83d")]
    events = [{"type": "content_block_delta", "delta": delta} for delta in deltas]
    reply = messages.StreamedReply("anthropic:m")
    heard = [reply.feed(f"data: {json.dumps(event)}\n\n".encode()) for event in [*events, {"type": "message_stop"}]]
    assert [*heard, reply.rest()] == ["a", "😀b", "", "", "�"]
    assert reply.reply().texts == ("a😀b�",)


def test_a_bridge_mends_halves_as_well():
    """The clients of others let them through, and a journal could not give them again."""
    told: list[str] = []

    class Watching:
        text = told.append

        def done(self, reply):
            told.append(reply)

    hearing = Hearing(Watching(), "openai:m")
    for piece in ("a\ud83d", "\ude00", "\ud83d"):
        hearing.text(piece)
    hearing.done(Reply(("a\ud83d\ude00\ud83d",), None))
    assert told == ["a", "😀", "�", Reply(("a😀�",), None)]
    assert hearing.reply == told[-1]


@pytest.mark.parametrize("events", [[], [raw.event({"choices": [], "usage": None})]])
def test_an_end_without_a_beginning_is_no_reply(events):
    """As a whole body without choices is none: nothing was answered, not even an empty text."""
    with pytest.raises(ReplyError, match="before the reply was whole"):
        streamed(*events, raw.event("[DONE]"))


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no money", "code": "insufficient_quota"}},
        [{"error": {"message": "no money", "code": "insufficient_quota"}}],
        {"object": "error", "message": "no money", "type": "error", "code": "insufficient_quota"},
        {"error": None, "message": "no money", "type": "insufficient_quota"},
        {"error": {"message": "no money", "code": "insufficient_quota"}, "asked": "\ud83d"},
    ],
)
def test_an_error_is_found_wherever_a_server_puts_it(body):
    """Its code decides whether the request is sent again, so both are read from the same shapes."""
    data = json.dumps(body).encode()
    assert (error_text(data), error_code(data)) == ("no money", "insufficient_quota")


@pytest.mark.parametrize(
    ("code", "verdict"), [(400, "fail"), (402, "fail"), (403, "fail"), (429, "retry"), (502, "retry")]
)
def test_a_status_inside_a_200_decides_as_it_would_outside(code, verdict):
    """OpenRouter sends the status of the server behind it as the code of the error."""
    with pytest.raises(ReplyError) as caught:
        chat.reply_of(json.dumps({"error": {"code": code, "message": "no"}}).encode(), "openrouter:m")
    assert row_for(caught.value).verdict == verdict
