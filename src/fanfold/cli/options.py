"""The options that several commands have, one word for each everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[
    str | None,
    typer.Option(
        metavar="PROVIDER:MODEL",
        help="The model to ask, as openai:gpt-4o-mini, ollama:llama3.2, or fake: for made-up answers; default: "
        "FANFOLD_MODEL of the environment. `fanfold models` lists what can be used now.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The server of the model: one that speaks the chat completions of OpenAI."),
]
AllowHttp = Annotated[
    bool, typer.Option("--allow-http", help="Let plain HTTP leave this machine; prompts can be read on the way.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, also of a run that failed.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer: no progress, no summary.")]
MaxInFlight = Annotated[int, typer.Option(metavar="N", help="The most calls on the wire at once.")]
Money = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="USD",
        help="The most that all of it may cost, at list prices; what it does not cover is not sent.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing: print what it would take, at least and at most.")
]
Rpm = Annotated[
    float | None,
    typer.Option("--rpm", metavar="N", help="The requests a minute that each model grants; default: what it says."),
]
Tpm = Annotated[
    float | None,
    typer.Option("--tpm", metavar="N", help="The tokens a minute that each model grants; default: what it says."),
]
