"""The options that several commands have, one word for each everywhere."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fanfold.cli.journal_commands import JournalMode, JournalPath

if TYPE_CHECKING:
    from collections.abc import Callable

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
RunTimeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Seconds for the whole run; at their end it fails.")
]
RowTimeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Seconds for a row; at their end it fails.")
]
InputJson = Annotated[
    bool, typer.Option("--input-json", help="Read the input as JSON; the names of an object fill the templates.")
]
TimelinePath = Annotated[
    str | None,
    typer.Option(
        "--timeline",
        metavar="PATH",
        help="Also write the picture of the run, of one that fails or is interrupted, too: PATH in .html is a page for "
        "a browser, in .json a trace for Perfetto.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What all commands that run one step take, in the order in which it is told."""

    base_url: BaseUrl = None
    allow_http: AllowHttp = False
    timeout: RunTimeout = None
    budget: Money = None
    journal: JournalPath = None
    journal_mode: JournalMode = "resume"
    dry_run: DryRun = False
    max_in_flight: MaxInFlight = 64
    rpm: Rpm = None
    tpm: Tpm = None
    input_json: InputJson = False
    timeline: TimelinePath = None
    json: Json = False
    quiet: Quiet = False

    def session(self, model: str | None) -> dict[str, Any]:
        """The options of the session; a journal is a path and what it is for."""
        journal = (self.journal, self.journal_mode)
        return {**_session(self, model), "budget": self.budget, "journal": journal}

    @property
    def shown(self) -> dict[str, Any]:
        """What bounds and shows the run."""
        shown = {"timeline": self.timeline, "json": self.json, "quiet": self.quiet}
        return {"timeout": self.timeout, "dry_run": self.dry_run, **shown}


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """What all commands on tables take, in the order in which it is told."""

    model: ModelName = None
    base_url: BaseUrl = None
    allow_http: AllowHttp = False
    timeout: RowTimeout = None
    max_in_flight: MaxInFlight = 64
    rpm: Rpm = None
    tpm: Tpm = None
    budget: Money = None
    json: Json = False
    quiet: Quiet = False

    def session(self) -> dict[str, Any]:
        """The options of the session; its budget is not among them."""
        return _session(self, self.model)


def _session(given: RunOptions | RowOptions, model: str | None) -> dict[str, Any]:
    calls = {"max_in_flight": given.max_in_flight, "rates": (given.rpm, given.tpm)}
    return {"model": model, "base_url": given.base_url, "allow_http": given.allow_http, **calls}


def spelled_out(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of the records of options that it takes, for typer reads signatures."""
    hints = get_type_hints(command, include_extras=True)
    records = {name: kind for name, kind in hints.items() if kind in {RunOptions, RowOptions}}
    spelled: list[inspect.Parameter] = []
    for name, one in inspect.signature(command).parameters.items():
        spelled += _options(records[name]) if name in records else [one.replace(annotation=hints[name])]

    @functools.wraps(command)
    def whole(**given: Any) -> None:
        for name, kind in records.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    whole.__signature__ = inspect.Signature(spelled)  # type: ignore[attr-defined]  # any function may have one
    whole.__annotations__ = {one.name: one.annotation for one in spelled}
    return whole


def _options(kind: type[RunOptions | RowOptions]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    only = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(one.name, only, default=one.default, annotation=hints[one.name]) for one in fields(kind)]
