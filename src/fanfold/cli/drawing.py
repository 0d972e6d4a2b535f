"""`--timeline PATH`: the picture of a run, also of one that failed or was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.cli.ending import say
from fanfold.errors import UsageError
from fanfold.runs.picture import checked

if TYPE_CHECKING:
    from pathlib import Path

    from fanfold.runs.run import Run


def picture_path(path: str) -> Path:
    """Where a timeline goes; raises `UsageError` where it could not, before a run has cost anything."""
    target = checked(path)
    if target.is_dir():
        raise UsageError(f"--timeline {path}: this is a folder; name a file in it")
    if not target.parent.is_dir():
        raise UsageError(f"--timeline {path}: there is no folder {str(target.parent)!r} to write a file in")
    return target


def drew(run: Run[Any], target: Path | None) -> bool:
    """Write the timeline, where one is wanted; an error is said only, for the answer is to be printed all the same."""
    if target is None:
        return True
    try:
        run.timeline(target)
    except OSError as error:
        say(f"the timeline could not be written: {error}")
        return False
    return True
