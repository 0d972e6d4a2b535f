"""The reference of the command is what the command says of itself."""

from pathlib import Path

from typer.testing import CliRunner

from tests.house.tree import ROOT


def test_the_reference_is_up_to_date(tmp_path: Path) -> None:
    """`docs/cli.md` is what typer writes of the app, so an option without its line there fails (`make docs`)."""
    from typer.cli import app

    written = tmp_path / "cli.md"
    arguments = ["fanfold.cli.app", "utils", "docs", "--name", "fanfold", "--output", str(written)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == written.read_text("utf-8"), "run `make docs`"


def test_every_option_says_what_it_does() -> None:
    """No command, argument or option is without a help text."""
    from typer.main import get_command

    from fanfold.cli.app import app

    bare = [
        f"{name} {parameter.name}"
        for name, command in get_command(app).commands.items()
        for parameter in command.params
        if not (command.help and getattr(parameter, "help", None))
    ]
    assert not bare
