"""How the command ends: its exit codes, one line for an error, signals, threads that cannot be stopped."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from fanfold.cli.visible import visible
from fanfold.core.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DONE, FAILED, USAGE = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
CLOSED = 128 + 13
"""By the number of SIGPIPE, which not every system has: whoever read the output has gone."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""How a write fails that finds no room, a file as large as one may be, or a broken disk: nobody's bug."""

PATIENCE = 0.1
"""Seconds that a thread of a step gets to end; nothing can stop one that does not."""

STEP_THREAD = "fanfold-step"


class StepThreads(ThreadPoolExecutor):
    """Where plain functions run as steps. It never waits for one that runs on: Ctrl-C must end the command at once."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix=STEP_THREAD)

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Take no more work, start none that waits, and do not wait for what runs."""
        super().shutdown(wait=False, cancel_futures=True)


def say(text: str) -> None:
    """One line on standard error, whatever line breaks the text holds."""
    sys.stderr.write(f"fanfold: {' '.join(visible(text).split())}\n")


@contextmanager
def terminated_as_interrupted() -> Iterator[threading.Event]:
    """Let SIGTERM do inside the block what Ctrl-C does; gives an event that says whether there was one."""
    asked = threading.Event()

    def interrupt(*_: object) -> None:
        asked.set()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's background job: only Ctrl-C is not for it
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def settled(work: Callable[[], int]) -> int:
    """A command's exit code, also where it was interrupted or its output closed: typer would say nothing of these."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return CLOSED
    except OSError as error:
        if error.errno not in FULL:
            raise
        _drop_output()
        say(f"the output cannot be written: {error.strerror}")
        return FAILED
    return code


def _drop_output() -> None:
    """Let what is still to be written go nowhere: its reader has closed the pipe, as `head` does, or a disk is full."""
    with suppress(OSError, ValueError):  # a stream that is no file has no number
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def leave(code: int) -> NoReturn:
    """End the process with this exit code, even if a thread of a step runs on."""
    until = now() + PATIENCE
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(STEP_THREAD)]
    with suppress(KeyboardInterrupt):  # whoever presses Ctrl-C again waits for none of them
        for thread in threads:
            thread.join(max(0.0, until - now()))
    if any(thread.is_alive() for thread in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
