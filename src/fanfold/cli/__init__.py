"""The command: `fanfold demo | run | vote | sections | models | mock`."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the `fanfold` command; it ends the process."""
    try:
        from fanfold.cli.ending import leave  # these load the whole command, which Ctrl-C may interrupt, too
        from fanfold.cli.entry import command

        code = command(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    leave(code)
