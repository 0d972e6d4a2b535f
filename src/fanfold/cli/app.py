"""The commands and their options. Exit codes: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from fanfold.cli import loading
from fanfold.cli.running import execute

app = typer.Typer(
    name="fanfold",
    help="Fan out LLM calls, fold the answers. Exit codes: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelName = Annotated[str | None, typer.Option(help="provider:model, as openai:gpt-4o-mini or fake:")]
BaseUrl = Annotated[str | None, typer.Option(help="URL of an OpenAI-shaped server")]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="let plain HTTP leave this machine")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, nothing else")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="only the answer, no live screen, no summary")]
Timeout = Annotated[float | None, typer.Option(help="seconds for the whole run")]
MaxInFlight = Annotated[int, typer.Option(help="calls on the wire at once")]
InputText = Annotated[str | None, typer.Argument(metavar="[INPUT | @FILE | -]", help="default: standard input")]
InputJson = Annotated[bool, typer.Option("--input-json", help="the input is JSON; its names fill the templates")]


@app.command()
def run(
    target: Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="a Python file that defines a step")],
    given: InputText = None,
    model: ModelName = None,
    base_url: BaseUrl = None,
    allow_http: AllowHttp = False,
    timeout: Timeout = None,
    max_in_flight: MaxInFlight = 64,
    input_json: InputJson = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a step that a Python file defines."""
    options = {"model": model, "base_url": base_url, "allow_http": allow_http, "max_in_flight": max_in_flight}
    execute(
        lambda: (loading.load_step(target), loading.read_input(given, as_json=input_json)),
        options,
        timeout=timeout,
        json=json,
        quiet=quiet,
    )


@app.command()
def vote(
    prompt: Annotated[str, typer.Argument(help="the question; {input} is the text (else it follows the question)")],
    given: InputText = None,
    choices: Annotated[str | None, typer.Option(help="the possible answers, separated by commas")] = None,
    n: Annotated[int | None, typer.Option("-n", help="how often to ask (default 5; odd avoids ties)")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="provider:model; several make a jury of different models")
    ] = None,
    rule: Annotated[str, typer.Option(help="plurality, majority, any:V, all:V, at-least:K:V")] = "plurality",
    temperature: Annotated[float | None, typer.Option(help="sampling temperature")] = None,
    early: Annotated[bool, typer.Option("--early/--all", help="stop once it is decided, or hear all")] = True,
    base_url: BaseUrl = None,
    allow_http: AllowHttp = False,
    timeout: Timeout = None,
    max_in_flight: MaxInFlight = 64,
    input_json: InputJson = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the same question several times (or several models), and count."""
    models = model or []
    options = {
        "model": models[0] if models else None,
        "base_url": base_url,
        "allow_http": allow_http,
        "max_in_flight": max_in_flight,
    }

    def build() -> tuple[Any, Any]:
        step = loading.build_vote(prompt, choices, n, models, rule=rule, temperature=temperature, early=early)
        return step, loading.read_input(given, as_json=input_json)

    execute(build, options, timeout=timeout, json=json, quiet=quiet)


@app.command()
def sections(
    section: Annotated[list[str] | None, typer.Option(help="NAME=PROMPT with {input}; once for each branch")] = None,
    given: InputText = None,
    merge: Annotated[str | None, typer.Option(help="a prompt that merges: {input}, {NAME}, or {parts} for all")] = None,
    on_error: Annotated[Literal["fail", "skip"], typer.Option(help="what a failed branch does")] = "fail",
    quorum: Annotated[int | None, typer.Option(help="the least number of branches; implies skip")] = None,
    model: ModelName = None,
    base_url: BaseUrl = None,
    allow_http: AllowHttp = False,
    timeout: Timeout = None,
    max_in_flight: MaxInFlight = 64,
    input_json: InputJson = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Different prompts on one input at the same time, merged by another if you like."""
    options = {"model": model, "base_url": base_url, "allow_http": allow_http, "max_in_flight": max_in_flight}

    def build() -> tuple[Any, Any]:
        step = loading.build_sections(section or [], merge, on_error, quorum)
        return step, loading.read_input(given, as_json=input_json)

    execute(build, options, timeout=timeout, json=json, quiet=quiet)


@app.command()
def models(json: Json = False) -> None:
    """Models that can be used now: local servers that answer, providers with a key, recorded and fake ones."""
    from fanfold.cli.finding import show_models

    sys.exit(show_models(as_json=json))


@app.command()
def mock(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8100,
    answers: Annotated[Literal["recorded", "fake"], typer.Option(help="real recorded answers, or made-up ones")] = (
        "recorded"
    ),
    latency: Annotated[str, typer.Option(help="seconds, or 'recorded' for real recorded latencies")] = "0",
    speed: Annotated[float, typer.Option(help="divide recorded latencies by this")] = 1.0,
    seed: Annotated[int, typer.Option(help="makes latencies and made-up answers repeat")] = 0,
) -> None:
    """Serve recorded (or made-up) answers as an OpenAI-compatible server."""
    from fanfold.cli.mocking import serve

    sys.exit(serve(host=host, port=port, answers=answers, latency=latency, speed=speed, seed=seed))


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="a tenth of the questions")] = False,
    speed: Annotated[float, typer.Option(help="divide the recorded latencies by this")] = 20.0,
    seed: Annotated[int, typer.Option(help="makes the latencies repeat")] = 0,
    json: Json = False,
) -> None:
    """The main job on real recorded answers, through real HTTP, with every figure measured in this run."""
    from fanfold.cli.demo import show_demo

    sys.exit(show_demo(quick=quick, speed=speed, seed=seed, as_json=json))
