"""The commands and their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from fanfold.cli import conditions, journal_commands, loading, table_commands
from fanfold.cli.ending import settled
from fanfold.cli.options import ModelName, RunOptions, spelled_out
from fanfold.cli.running import execute

app = typer.Typer(
    name="fanfold",
    help="Fan out LLM calls, fold the answers.",
    epilog="Exit codes: 0 done; 1 the run failed; 2 wrong usage; 128 + n ended by signal n (130 "
    "Ctrl-C, 141 the output was closed early, 143 terminated).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Jury = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROVIDER:MODEL",
        help="The model to ask; default: FANFOLD_MODEL of the environment. Given several times, the models are a jury, "
        "each asked once.",
    ),
]
Rule = Annotated[
    str,
    typer.Option(
        metavar="RULE",
        help="What the ballots decide: plurality (the most wins), majority (more than half), any:VALUE, all:VALUE "
        "or at-least:K:VALUE (true or false).",
    ),
]
Input = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT", help="The input as text, or @FILE, or - for standard input; default: standard input."
    ),
]
Quorum = Annotated[int | None, typer.Option(metavar="K", help="The least number of valid ballots; fewer fail the run.")]


def _executed(build: Any, session: dict[str, Any], models: Sequence[str | None], options: RunOptions) -> typer.Exit:
    """Run what `build` builds; gives what ends the command."""
    return typer.Exit(settled(lambda: execute(build, session, models=models, **options.shown)))


@app.command()
def demo(
    which: Annotated[
        Literal["main", "panel", "refusals", "jury"],
        typer.Argument(
            metavar="DEMO",
            help="main: votes and a panel on exam questions. panel: nine models, alone and as panels. refusals: whose "
            "refusals tell unsafe prompts from safe ones. jury: judges and juries on pairs of answers.",
        ),
    ] = "main",
    quick: Annotated[bool, typer.Option("--quick", help="Every tenth question only.")] = False,
    speed: Annotated[float, typer.Option(metavar="FACTOR", help="Divide the recorded latencies by this.")] = 20.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Makes the latencies repeat.")] = 0,
    timeline: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Also write the picture of the vote that main shows as its example: PATH in .html is a page for a "
            "browser, in .json a trace for Perfetto.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Do the main job on real recorded answers.

    Votes, panels, juries, through real HTTP; every figure is measured in the run. Needs no key and no network.
    """
    from fanfold.cli.demo import show_demo

    raise typer.Exit(
        settled(lambda: show_demo(which, quick=quick, speed=speed, seed=seed, timeline=timeline, as_json=json))
    )


@app.command(epilog='Example: fanfold vote "Is this email spam?" --choices spam,ham -n 5 < mail.txt')
@spelled_out
def vote(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="PROMPT", help="The question. {input} in it is the input, which else follows the question."
        ),
    ],
    given: Input = None,
    choices: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="The possible answers; default: any text is an answer.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", help="How often to ask; default: 5. An odd number avoids ties.")
    ] = None,
    model: Jury = None,
    rule: Rule = "plurality",
    quorum: Quorum = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="The sampling temperature; default: that of the model.")
    ] = None,
    early: Annotated[
        bool, typer.Option("--early/--all", help="Stop as soon as nothing can change the outcome, or hear all.")
    ] = True,
    *,
    options: RunOptions,
) -> None:
    """Ask one question several times, and count.

    One model is asked n times, or several models once each; the vote ends as soon as it is decided.
    """
    models = model or []

    def build() -> tuple[Any, Any]:
        loading.check_model(models)
        alone = loading.stands_alone(prompt, given)
        template = prompt if alone else loading.with_input(prompt)
        step = loading.build_vote(
            template, choices, n, models, rule=rule, quorum=quorum, temperature=temperature, early=early
        )
        value = "" if alone else loading.read_input(given, as_json=options.input_json)
        loading.check_fields(template, value)
        return step, value

    raise _executed(build, options.session(models[0] if models else None), models or [None], options)


@app.command(
    epilog="Example: fanfold sections --section tone='The tone of: {input}' --section facts='The facts in: {input}' "
    "--merge 'One report on {tone} and {facts}' @minutes.txt"
)
@spelled_out
def sections(
    given: Input = None,
    section: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PROMPT",
            help="A branch: its name and its prompt; once for each. {input} in it is the input, which else follows.",
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(
            metavar="PROMPT",
            help="A prompt that makes one answer of all: {NAME} is what that branch gave, {parts} what all gave, "
            "{input} the input; one that names none is followed by what all gave. Default: print each.",
        ),
    ] = None,
    on_error: Annotated[
        Literal["fail", "skip"], typer.Option(help="What a failed branch does: it fails the run, or is left out.")
    ] = "fail",
    quorum: Annotated[
        int | None, typer.Option(metavar="K", help="The least number of branches that must succeed; implies skip.")
    ] = None,
    model: ModelName = None,
    *,
    options: RunOptions,
) -> None:
    """Ask several things about one input at once.

    Each section is a prompt of its own; a further prompt may merge what they give.
    """

    def build() -> tuple[Any, Any]:
        step = loading.build_sections(section or [], merge, on_error, quorum)
        loading.check_model([model])
        value = loading.read_input(given, as_json=options.input_json)
        loading.check_merge(merge, section or [], value)
        return step, value

    raise _executed(build, options.session(model), [model], options)


@app.command(epilog="Example: fanfold run report.py:analyze @minutes.txt --model openai:gpt-4o-mini")
@spelled_out
def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:NAME]",
            help="A Python file, and the name of the step in it; without a name the only one, or the one called main.",
        ),
    ],
    given: Input = None,
    model: ModelName = None,
    *,
    options: RunOptions,
) -> None:
    """Run a step that a Python file defines.

    A step is a prompt, a pattern made of steps, or a function marked @step.
    """

    def build() -> tuple[Any, Any]:
        step = loading.load_step(target)
        return step, loading.read_input(given, as_json=options.input_json)

    models = [] if model is None else [model]
    raise _executed(build, options.session(model), models, options)


app.command(name="map", epilog=table_commands.MAP_EXAMPLE)(table_commands.map_rows)
app.command(epilog=table_commands.COMPARE_EXAMPLE)(table_commands.compare)


@app.command()
def models(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """List the models that can be used now.

    Those of local servers that answer, of providers whose key is set, and those that are built in.
    """
    from fanfold.cli.finding import show_models

    raise typer.Exit(settled(lambda: show_models(as_json=json)))


@app.command(epilog="Example: fanfold mock --answers fake --rpm 600 --fault 503:0.1")
def mock(
    host: conditions.Host = "127.0.0.1",
    port: conditions.Port = 8100,
    answers: conditions.Answers = None,
    recording: conditions.Recording = None,
    latency: conditions.Latency = "0",
    first_token: conditions.FirstToken = None,
    between_tokens: conditions.BetweenTokens = 0.0,
    speed: conditions.Speed = 1.0,
    seed: conditions.Seed = 0,
    fault: conditions.Faults = None,
    price: conditions.Prices = None,
    reasoning: conditions.Reasoning = 0.0,
    rpm: conditions.Rpm = None,
    tpm: conditions.Tpm = None,
    input_tpm: conditions.InputTpm = None,
    output_tpm: conditions.OutputTpm = None,
    per: conditions.Per = 60.0,
    window: conditions.Window = "bucket",
    burst: conditions.Burst = None,
    burst_tokens: conditions.BurstTokens = None,
    count_rejected: conditions.CountRejected = False,
    meter: conditions.Meter = "admission",
    assumed_output: conditions.AssumedOutput = 1024,
    by: conditions.By = "key",
    headers: conditions.Headers = True,
    retry_after: conditions.RetryAfter = "seconds",
    should_retry: conditions.ShouldRetry = None,
    at_once: conditions.AtOnce = None,
    over: conditions.Over = "queue",
) -> None:
    """Serve answers like a model server, with limits, faults on demand and a bill.

    It speaks OpenAI's chat completions and Anthropic's messages. Its URL is the first line printed; GET /bill tells
    what each request cost. Ctrl-C stops it.
    """
    given = dict(locals())
    from fanfold.cli.mocking import serve

    raise typer.Exit(settled(lambda: serve(given)))


app.command()(journal_commands.runs)
app.command()(journal_commands.show)
app.add_typer(journal_commands.journal_app)
