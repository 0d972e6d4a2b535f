"""The command: `fanfold demo | run | vote | sections | models | mock`."""

from __future__ import annotations


def main() -> None:
    """The entry point of the `fanfold` command."""
    from fanfold.cli.app import app

    app()
