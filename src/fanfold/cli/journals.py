"""What the command says of journals: their runs, one run in full, and moving, checking and forgetting them."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fanfold.cli import reports
from fanfold.cli.ending import DONE, FAILED, say
from fanfold.cli.visible import flat, lines_of
from fanfold.core.clock import wall
from fanfold.core.numbers import counted
from fanfold.errors import JournalError, UsageError
from fanfold.journal import forgetting, looking, moving

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanfold.journal.looking import CallInfo, RunInfo

DAY = 86_400.0

SHOWN = 160
"""Characters of a prompt or reply in a list; --json has all."""


def told(work: Callable[[], int]) -> int:
    """Do it, and say in one line what is wrong with a journal."""
    try:
        return work()
    except JournalError as error:
        say(f"{type(error).__name__}: {error}")
        return FAILED


def show_runs(path: str, *, last: int, key: str | None, as_json: bool) -> int:
    """List the `last` runs of a journal (0: all), the newest last, or those with this key."""
    found = looking.runs_in(_there(path), last=last or None, key=key)
    if as_json:
        sys.stdout.buffer.write(reports.encoded({"runs": found.runs, "before": found.before}))
        return DONE
    if found.before:
        say(f"{counted(found.before, 'earlier run is', 'earlier runs are')} not shown; --last 0 shows all")
    for info in found.runs:
        sys.stdout.write(lines_of([_line(info)]))
    if key is not None and not found.runs:
        say(f"no run in {path} has the key {key!r}; that of a row is STEP/KEY, as `fanfold runs` shows it")
    return DONE


def show_run(path: str, run: int, *, as_json: bool) -> int:
    """Show one run: how it went, and each call with what was asked and answered."""
    detail = looking.show(_there(path), run)
    if as_json:
        fields = {"info": detail.info, "error": detail.error, "calls": detail.calls, "fans": detail.fans}
        sys.stdout.buffer.write(reports.encoded(fields))
        return DONE
    lines = [_line(detail.info), *([f"error: {detail.error}"] if detail.error else [])]
    for call in detail.calls:
        lines += _call(call)
    for fan in detail.fans:
        lines.append(f"fan at {fan['place']}: {len(fan['order'])} of {fan['branches']} folded, {fan['why']}")
    sys.stdout.write(lines_of(lines))
    return DONE


def export(path: str, out: str | None) -> int:
    """Write a journal as lines of JSON, to a file or to standard output (None, or "-")."""
    lines = moving.export(_there(path))
    if out in {None, "-"}:
        for line in lines:
            sys.stdout.buffer.write(line)
        return DONE
    target = Path(out).resolve()
    if target.exists() and target.samefile(path):
        raise UsageError(f"{out} is the journal itself: give another file to write")
    if Path(out).exists() and not target.is_file():
        raise UsageError(f"{out} is no file: leave -o out for standard output, or give one")
    making = target.with_name(f"{target.name}.making")
    try:
        with making.open("wb") as file:
            count = sum(bool(file.write(line)) for line in lines)
        making.replace(target)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            making.unlink(missing_ok=True)
    say(f"wrote {counted(count, 'line')} to {out}")
    return DONE


def bring_in(path: str, given: str) -> int:
    """Bring exported lines into a journal."""
    try:
        with Path(given).open("rb") as lines:
            count = moving.bring_in(path, lines)
    except OSError as error:
        raise UsageError(f"{given} cannot be read: {error.strerror}") from None
    say(f"brought {counted(count, 'entry', 'entries')} into {path}")
    return DONE


def verify(path: str) -> int:
    """Check a journal; gives 1 where something in it is damaged."""
    found = moving.verify(_there(path))
    for damage in found.damaged:
        say(damage)
    whole = f"{counted(found.entries, 'entry', 'entries')} of {counted(found.runs, 'run')}"
    say(f"{whole} {'is' if found.entries == 1 else 'are'} whole, {len(found.damaged)} damaged")
    return FAILED if found.damaged else DONE


def forget(path: str, *, run: int | None, key: str | None) -> int:
    """Forget a run, or everything with a key."""
    gone = forgetting.forget(_there(path), run=run, key=key)
    say(f"forgot {counted(gone, 'entry', 'entries')}; no byte of that is left in {path}")
    return DONE


def prune(path: str, days: float) -> int:
    """Forget what is old."""
    if not days >= 0:
        raise UsageError(f"--days {days:g}: it is a number of days, 0 or more")
    gone = forgetting.prune(_there(path), days * DAY)
    say(f"forgot {counted(gone, 'run')} in which nothing happened for {days:g} day{'s' * (days != 1)}")
    return DONE


def _there(path: str) -> Path:
    if not Path(path).exists():
        raise UsageError(f"there is no journal {path}")
    if Path(path).is_dir():
        raise UsageError(f"{path} is a directory: give the journal's file")
    return Path(path)


def _line(info: RunInfo) -> str:
    began = datetime.fromtimestamp(info.began, UTC).strftime("%Y-%m-%d %H:%M:%S")
    how = info.ended or (f"not ended, last heard of {wall() - info.last:.0f} s ago")
    key = f" key {info.key!r}" if info.key else ""
    calls = counted(info.calls, "call") + (f" ({info.shared} found in other runs)" if info.shared else "")
    calls += f" and {info.failed} without an answer" if info.failed else ""
    sittings = f", {info.sittings} sittings" if info.sittings > 1 else ""
    cost = "made up, nothing was paid" if info.made_up else f"cost {info.cost}"
    so_far = "" if info.ended or info.made_up else " so far, beside what was under way"
    return f"{info.run}  {began}  {info.name}{key}: {how}, {calls}, {cost}{so_far}{sittings}"


def _call(info: CallInfo) -> list[str]:
    call = info.call
    cost = "made up" if call.made_up else f"cost {call.cost}"
    came = "found in another run" if call.replayed else f"{call.state}, {cost}"
    lines = [f"{call.place} #{call.draw.nth} {call.model}: {came}"]
    if info.messages:
        lines.append(f"  asked: {flat(str(info.messages[-1].get('content', '')), SHOWN)}")
    if info.reply is not None:
        lines.append(f"  said:  {flat(info.reply.text, SHOWN)}")
    elif call.error:
        lines.append(f"  {flat(call.error, SHOWN)}")
    return lines
