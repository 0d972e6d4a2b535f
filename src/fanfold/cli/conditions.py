"""The options of `fanfold mock`: what it answers, when, within which limits, and what goes wrong."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="The port to listen on; 0 takes a free one.")]
Answers = Annotated[
    Literal["recorded", "fake"] | None,
    typer.Option(
        show_default="recorded",
        help="Real recorded answers, to the recorded questions only; or made-up ones, to anything.",
    ),
]
Recording = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Answer from a recording instead: a journal, or what `fanfold journal export` wrote. A request is "
        "known by its messages.",
    ),
]
Latency = Annotated[
    str,
    typer.Option(
        metavar="SECONDS",
        help="Seconds until an answer; recorded for real recorded latencies, stream for the time that its stream would "
        "take, or drawn: uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA.",
    ),
]
FirstToken = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Seconds until a streamed answer begins, fixed or drawn.")
]
BetweenTokens = Annotated[
    float, typer.Option(metavar="SECONDS", help="Seconds from word to word of a streamed answer.")
]
Speed = Annotated[float, typer.Option(metavar="FACTOR", help="Divide every latency by this.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Makes latencies, faults and made-up answers repeat.")]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FAULT",
        help="What goes wrong, as 503:0.1, outage:5+20, cut=3 or stragglers:0.03x10; may be given several times.",
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[MODEL=]IN,OUT",
        help="USD per million input and output tokens, for the bill; default: list prices. May be given several times.",
    ),
]
Reasoning = Annotated[
    float, typer.Option(metavar="SHARE", help="Reasoning tokens, as a share of each answer's tokens.")
]
Rpm = Annotated[float | None, typer.Option(metavar="N", help="Requests a minute.")]
Tpm = Annotated[float | None, typer.Option(metavar="N", help="Tokens a minute, input and output.")]
InputTpm = Annotated[float | None, typer.Option(metavar="N", help="Input tokens a minute.")]
OutputTpm = Annotated[float | None, typer.Option(metavar="N", help="Output tokens a minute.")]
Per = Annotated[float, typer.Option(metavar="SECONDS", help="Seconds of that minute, to scale a test down.")]
Window = Annotated[Literal["bucket", "fixed", "sliding"], typer.Option(help="How requests and tokens are counted.")]
Burst = Annotated[float | None, typer.Option(metavar="N", help="Requests that a bucket holds; default: a minute's.")]
BurstTokens = Annotated[
    float | None, typer.Option(metavar="N", help="Tokens that a bucket holds; default: a minute's.")
]
CountRejected = Annotated[bool, typer.Option("--count-rejected", help="Count rejected requests, too.")]
Meter = Annotated[
    Literal["admission", "used"],
    typer.Option(help="Take tokens at admission, input and max_tokens; or the output when it has been made."),
]
AssumedOutput = Annotated[
    int, typer.Option(metavar="N", help="Output tokens taken at admission where no max_tokens is given.")
]
By = Annotated[Literal["server", "key", "model", "key+model"], typer.Option(help="Who shares a window.")]
Headers = Annotated[bool, typer.Option("--headers/--no-headers", help="Tell the limits with every reply.")]
RetryAfter = Annotated[
    str,
    typer.Option(
        metavar="FORM", help="How a 429 says when: seconds, float, ms, date, none, or any text, sent as it stands."
    ),
]
ShouldRetry = Annotated[
    Literal["true", "false"] | None, typer.Option(help="The x-should-retry of a 429; default: none.")
]
AtOnce = Annotated[int | None, typer.Option(metavar="K", help="Requests served at the same time.")]
Over = Annotated[Literal["queue", "503", "529"], typer.Option(help="What happens to more.")]
