"""Around every command: text in any locale, errors as one line, signals, and the exit code."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

from fanfold.cli.app import app
from fanfold.cli.ending import DONE, INTERRUPTED, TERMINATED, USAGE, say, terminated_as_interrupted
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def command(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code; what the user can mend is one line on standard error."""
    _open_streams()
    _write_any_text()
    with terminated_as_interrupted() as terminated:
        code = _command(arguments)
    return TERMINATED if terminated.is_set() and code == INTERRUPTED else code


def _command(arguments: Sequence[str]) -> int:
    try:
        _check_text(arguments)
        code = app(list(arguments), prog_name="fanfold", standalone_mode=False)
    except UsageError as error:
        say(str(error))
        return USAGE
    except Exception as error:
        # Typer's own complaints. Which package holds their classes depends on its version; that they can say what
        # is wrong does not.
        if not hasattr(error, "format_message"):
            raise
        return _wrong_arguments(error)
    return DONE if code is None else int(code)


def _wrong_arguments(error: Any) -> int:
    if type(error).__name__ != "NoArgsIsHelpError":  # that one has shown the help already
        context = getattr(error, "ctx", None)
        path = "fanfold" if context is None else context.command_path
        say(f"{error.format_message()} (see: {path} --help)")
    return USAGE


def _check_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {argument!r} is not UTF-8 text: convert it first") from None


def _open_streams() -> None:
    """What is written to a stream that is closed, as a daemon's may be, goes nowhere, and fails no run that is paid.

    Python's own unbuffered ones (PYTHONUNBUFFERED) say nothing where a full disk takes but a part of what is written.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = io.BufferedWriter(io.FileIO(os.devnull, "w"))
            setattr(sys, name, io.TextIOWrapper(nowhere, encoding="utf-8"))
        elif isinstance(getattr(stream, "buffer", None), io.RawIOBase):
            whole = io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False))
            setattr(sys, name, io.TextIOWrapper(whole, encoding=stream.encoding, line_buffering=True))


def _write_any_text() -> None:
    """A model may answer in any script: what the terminal's encoding lacks is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
