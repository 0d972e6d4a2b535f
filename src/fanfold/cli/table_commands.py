"""The commands on tables, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fanfold.cli import loading
from fanfold.cli.ending import settled
from fanfold.cli.options import DryRun, RowOptions, spelled_out

MAP_EXAMPLE = "Example: fanfold map mail.py:spam mails.csv -o labels.csv --key id --keep id,subject"
COMPARE_EXAMPLE = "Example: fanfold compare exam.py:one exam.py:five --gold exam.jsonl --answer letter"

Target = Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="A Python file, and the name of the step in it.")]
RowsFile = Annotated[
    Path,
    typer.Argument(metavar="ROWS", help="The table: a .jsonl, .csv or .parquet file (which needs pyarrow)."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The table to make: .jsonl, .csv or .parquet.")]
InputColumn = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="COLUMN",
        help="The column that is the step's input; default: the row, whose columns fill the templates' fields by their "
        "names.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The column that names a row, each another (a second row of a name fails); default: the row's number.",
    ),
]
KeepColumns = Annotated[
    str, typer.Option("--keep", metavar="all|none|A,B,…", help="The columns of the input that the output has, too.")
]
AsFinished = Annotated[
    bool,
    typer.Option(
        "--as-finished", help="Write rows as they finish, with their number in the column row; else in order."
    ),
]
OnRowError = Annotated[
    Literal["fail", "skip"],
    typer.Option(help="What a failed row does: it ends the map, or is left for the file of the failed ones."),
]
MaxFailures = Annotated[int | None, typer.Option(metavar="N", help="The most rows that may fail; implies skip.")]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Only the first N rows.")]
Sample = Annotated[int | None, typer.Option(metavar="N", help="Only N rows, chosen by chance.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Makes the choice of --sample repeat.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what there is of the output, and make it anew.")]
Reuse = Annotated[
    bool,
    typer.Option("--reuse-unchanged", help="Make the output anew, and ask only what its journal does not answer."),
]
NoJournal = Annotated[
    bool,
    typer.Option("--no-journal", help="Keep no OUT.journal: after a crash the rows in flight are asked again."),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray[://ADDRESS]",
        help="Where the rows run: in this process, or by workers of a Ray cluster (needs the extra ray): one of its "
        "own on this machine, that at ray://HOST:PORT, or the one that this machine is in (ray://auto).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="How many workers --engine ray has; default: one for each CPU, at most 8."),
]
Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]FILE[:STEP]...",
        help="The steps to compare, each in a Python file; the first is what the others are held against.",
    ),
]
GoldFile = Annotated[
    Path, typer.Option(metavar="FILE", help="The table: a .jsonl, .csv or .parquet file with the right answers.")
]
AnswerColumn = Annotated[
    str,
    typer.Option(
        metavar="COLUMN",
        help="The column of the right answer, which no step gets to see. Of a step that gives records, the field of "
        "that name is compared.",
    ),
]
Show = Annotated[int, typer.Option(min=0, metavar="N", help="List N rows that some steps got right and others wrong.")]


@spelled_out
def map_rows(
    target: Target,
    rows: RowsFile,
    out: Out,
    *,
    input_column: InputColumn = None,
    key: Key = None,
    keep: KeepColumns = "all",
    as_finished: AsFinished = False,
    on_error: OnRowError = "fail",
    max_failures: MaxFailures = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    restart: Restart = False,
    reuse_unchanged: Reuse = False,
    no_journal: NoJournal = False,
    engine: Engine = "local",
    workers: Workers = None,
    options: RowOptions,
    dry_run: DryRun = False,
) -> None:
    """Run a step on every row of a table, and write a table.

    What the step gives is the column output, or a column for each field of a record. Rows that failed are in
    OUT.failed.jsonl, with their errors. Interrupted or crashed, the same command goes on where it was.
    """
    from fanfold.cli.mapping import make_table
    from fanfold.data.choosing import Choice
    from fanfold.data.columns import Columns, parse_keep
    from fanfold.data.files import written_to
    from fanfold.data.table import Plan

    def build() -> Plan:
        return Plan(
            loading.load_step(target),
            rows,
            written_to(out),
            Columns(input_column, key, parse_keep(keep), numbered=as_finished),
            Choice(limit, sample, seed),
            model=loading.model_named(options.model, options.base_url),
            on_error=on_error,
            max_failures=max_failures,
            timeout=options.timeout,
            budget=loading.dollars(options.budget),
            journal=not no_journal,
            restart=restart,
            reuse=reuse_unchanged,
            engine=engine,
            workers=workers,
        )

    raise typer.Exit(
        settled(lambda: make_table(build, options.session(), dry_run=dry_run, json=options.json, quiet=options.quiet))
    )


@spelled_out
def compare(
    targets: Targets,
    gold: GoldFile,
    answer: AnswerColumn,
    *,
    input_column: InputColumn = None,
    show: Show = 0,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    options: RowOptions,
) -> None:
    """Run several steps on rows whose right answers are known.

    Accuracy, calls, tokens, cost and time side by side, with 95 % intervals of the differences, and what each further
    right answer costs: does the improvement justify its price? Answers are compared as the ballots of a vote are.
    """
    from fanfold.cli.comparing import show_comparison
    from fanfold.data.choosing import Choice
    from fanfold.data.compare import Gold

    session = {**options.session(), "budget": options.budget}

    def build() -> tuple[dict[str, Any], Gold]:
        known = Gold(gold, answer, input_column, Choice(limit, sample, seed), options.timeout)
        return loading.load_steps(targets), known

    raise typer.Exit(
        settled(lambda: show_comparison(build, session, show=show, json=options.json, quiet=options.quiet))
    )
