"""The commands about journals, and their options."""

from __future__ import annotations

import functools
from typing import Annotated, Literal

import typer

from fanfold.cli.ending import settled

journal_app = typer.Typer(
    name="journal",
    help="Move, check and forget what a journal holds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JournalPath = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="PATH",
        envvar="FANFOLD_JOURNAL",
        help="Keep every prompt and reply in this file, and give back what it has: a run that crashed goes on where it "
        "was.",
    ),
]
JournalMode = Annotated[
    Literal["resume", "record", "cache", "replay", "off"],
    typer.Option(
        help="What the journal is for: to resume a run, only to record, to answer equal requests of any run, or to "
        "replay without a network."
    ),
]
ThePath = Annotated[
    str,
    typer.Option("--journal", metavar="PATH", envvar="FANFOLD_JOURNAL", help="The journal's file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
TheJournal = Annotated[str, typer.Argument(metavar="JOURNAL", help="The journal's file.")]


def runs(
    journal: ThePath,
    last: Annotated[int, typer.Option(min=0, metavar="N", help="Only the newest N; 0 for all.")] = 50,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only the runs with this key: STEP/KEY of a row.")
    ] = None,
    json: Json = False,
) -> None:
    """List the runs that a journal holds.

    With how each ended, its calls and what it cost; the newest last.
    """
    from fanfold.cli import journals

    listed = functools.partial(journals.show_runs, journal, last=last, key=key, as_json=json)
    raise typer.Exit(settled(lambda: journals.told(listed)))


def show(
    run: Annotated[int, typer.Argument(metavar="RUN", help="The run's number; `fanfold runs` lists them.")],
    journal: ThePath,
    json: Json = False,
) -> None:
    """Show one run of a journal.

    Every call with what was asked, what was answered and what it cost, and how its fans ended.
    """
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.show_run(journal, run, as_json=json))))


@journal_app.command()
def export(
    journal: TheJournal,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="The file to write; default: standard output.")
    ] = None,
) -> None:
    """Write a journal as lines of JSON, in the order of its history."""
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.export(journal, out))))


@journal_app.command(name="import")
def bring_in(
    journal: TheJournal, lines: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote.")]
) -> None:
    """Bring exported lines into a journal, as further runs."""
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.bring_in(journal, lines))))


@journal_app.command()
def verify(journal: TheJournal) -> None:
    """Check the file and the checksum of every entry; exit code 1 where something is damaged."""
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.verify(journal))))


@journal_app.command()
def forget(
    journal: TheJournal,
    run: Annotated[int | None, typer.Option(metavar="RUN", help="The number of the run to forget.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Forget every run and row with this key.")] = None,
) -> None:
    """Forget a run, or everything with a key, so that no byte of it is left in the file."""
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.forget(journal, run=run, key=key))))


@journal_app.command()
def prune(
    journal: TheJournal,
    days: Annotated[
        float, typer.Option(metavar="DAYS", help="Forget runs in which nothing has happened for so many days.")
    ],
) -> None:
    """Forget the runs that are old."""
    from fanfold.cli import journals

    raise typer.Exit(settled(lambda: journals.told(lambda: journals.prune(journal, days))))
