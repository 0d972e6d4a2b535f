"""What the command prints of a run: plain text for people, one JSON document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.folds.ballots import Said, VoteResult
from fanfold.steps.sections import Sections
from fanfold.steps.templates import plain, render

if TYPE_CHECKING:
    from fanfold.runs.run import Run


def document(run: Run[Any]) -> bytes:
    """The whole run as one JSON document: the output, the detail's own fields, usage, cost, calls, times."""
    body: dict[str, Any] = {"output": run.output, **_detail(run.detail)}
    if run.error is not None:
        body["error"] = {"type": type(run.error).__name__, "message": str(run.error) or "interrupted"}
        body["finished"] = finished_branches(run)
    body |= {
        "usage": run.usage,
        "cost": {"usd": run.cost.usd, "at_least": run.cost.at_least, "at_most": run.cost.at_most},
        "saved": run.saved,
        "wall": round(run.wall, 6),
        "sequential": round(run.sequential, 6),
        "made_up": run.made_up,
        "calls": run.calls,
    }
    return msgspec.json.format(msgspec.json.encode(body, enc_hook=plain), indent=2)


def headline(run: Run[Any]) -> str:
    """The output as text, with a vote's tally or what is missing below it."""
    lines = [render(run.output)]
    detail = run.detail
    if isinstance(detail, VoteResult):
        counts = ", ".join(f"{render(value)} {count}" for value, count in detail.tally.items())
        lines.append(f"({counts}; {detail.why})")
    if isinstance(detail, Sections) and detail.missing:
        lines += [f"(missing: {name}: {reason})" for name, reason in detail.missing.items()]
    return "\n".join(lines)


def finished_branches(run: Run[Any]) -> dict[str, Any]:
    """What branches had given before the run ended, by place."""
    return {
        event.place.partition("/")[2]: event.value.value if isinstance(event.value, Said) else event.value
        for event in run.events
        if event.kind == "branch.ended" and event.error is None
    }


def failure(run: Run[Any], what: str) -> str:
    """What to say of a run that did not end well: what was finished, and what it cost."""
    finished = finished_branches(run)
    lines = [what, f"so far: {run.summary()}"]
    lines += [f"finished {name}: {render(value)}" for name, value in finished.items()]
    return "\n".join(lines)


def _detail(detail: Any) -> dict[str, Any]:
    if isinstance(detail, VoteResult):
        fields = msgspec.structs.asdict(detail)
        fields["tally"] = {render(value): count for value, count in detail.tally.items()}
        return fields
    return msgspec.structs.asdict(detail) if isinstance(detail, msgspec.Struct) else {}
