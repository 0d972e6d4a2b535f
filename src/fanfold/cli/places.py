"""Where in the user's own files an error came up."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

OTHERS = (
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]) + os.sep,
    "<frozen ",
)
"""Where code lies that is not the user's."""


def raised_at(error: BaseException) -> str:
    """The last line of the user's that an error passed, else the one that raised it; nothing where none is known.

    Few know what a line of a library means that the user's own has called.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno is not None]
    own = [frame for frame in frames if not frame.filename.startswith(OTHERS)]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own or frames)[-1:])
