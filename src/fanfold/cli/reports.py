"""What the command prints of a run: plain text for people, one JSON document for programs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.calls.amounts import picos
from fanfold.cli.places import raised_at
from fanfold.cli.visible import flat
from fanfold.core.halves import spelled
from fanfold.errors import BranchError, FanfoldError, QuorumError, UsageError, described, noted, noted_fields, words_of
from fanfold.folds.ballots import FieldResult, Said, VoteResult
from fanfold.runs.run import money
from fanfold.steps.sections import Sections
from fanfold.steps.templates import plain, spoken, told, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fanfold.calls.amounts import Budget
    from fanfold.calls.estimates import Estimate
    from fanfold.runs.run import Run


SHOWN = 60
"""Characters of an answer that are shown in a tally; --json has all."""


def document(run: Run[Any]) -> bytes:
    """The whole run as one JSON document: the output, the detail's own fields, usage, cost, calls, times.

    Of a run that failed it says the error, and what had finished before.
    """
    body: dict[str, Any] = {"output": run.output, **detail_fields(run.detail)}
    if run.error is not None:
        said = words_of(run.error) or reason(run.error)
        body["error"] = {"type": type(run.error).__name__, "message": said} | noted_fields(run.error)
        body["finished"] = finished_parts(run)
    body |= {
        "usage": run.usage,
        "cost": {"usd": run.cost.usd, "at_least": run.cost.at_least, "at_most": run.cost.at_most},
        "saved": run.saved,
        "wall": round(run.wall, 6),
        "sequential": round(run.sequential, 6),
        "made_up": run.made_up,
        "calls": run.calls,
    }
    return encoded(body)


def estimate_document(
    estimate: Estimate, budget: Budget | None, rows: int | None = None, sampled: int | None = None
) -> bytes:
    """An estimate as one JSON document; `covered` says whether the budget is sure to do (null: nobody knows).

    Of a table, it is that of all `rows`, by those of so many `sampled`.
    """
    of = {} if rows is None else {"rows": rows, "sampled": sampled}
    body: dict[str, Any] = {
        **of,
        "estimate": {"calls": estimate.calls, "tokens": estimate.tokens, "usd": estimate.usd},
        "unpriced": estimate.unpriced,
        "budget": None if budget is None else budget.usd,
        "covered": None if budget is None else _covers(estimate, budget),
    }
    return encoded(body)


def estimate_lines(estimate: Estimate, budget: Budget | None) -> list[str]:
    """An estimate for people: what it will take, and what to make of it."""
    lines = [str(estimate)]
    lines += [f"the price of {label} is not known" for label in estimate.unpriced]
    if estimate.tokens.at_most is None and budget is None:
        lines.append(
            "no upper bound: a prompt has no max_tokens (a --budget gives it one), or what it reads is not known"
        )
    if budget is not None:
        covers = _covers(estimate, budget)
        verdict = "may not cover it" if covers is None else "covers it" if covers else "does not cover the most"
        lines.append(f"the budget of ${budget.usd:.6f} {verdict}")
    return lines


def _covers(estimate: Estimate, budget: Budget) -> bool | None:
    """Whether a budget of dollars is sure to do, counted as it will be; None where the most is not known."""
    most, limit = estimate.usd.at_most, picos(budget.usd or 0.0)
    if most is None:
        return False if picos(estimate.usd.at_least) > limit else None
    return picos(most) <= limit


def encoded(body: Mapping[str, Any]) -> bytes:
    """A JSON object for people and programs; what JSON cannot say is given by its text."""
    pieces = {name: msgspec.Raw(_encoded(value)) for name, value in body.items()}
    return msgspec.json.format(msgspec.json.encode(pieces), indent=2) + b"\n"


def detail_fields(detail: Any) -> dict[str, Any]:
    """A detail's own fields, such as JSON can say."""
    if isinstance(detail, VoteResult):
        fields = msgspec.structs.asdict(detail)
        fields["tally"] = _tally(detail.tally)
        fields["fields"] = _by_field(detail.fields)
        return fields
    return msgspec.structs.asdict(detail) if isinstance(detail, msgspec.Struct) else {}


def _tally(tally: Mapping[Any, float]) -> dict[str, float]:
    return {told(value): count for value, count in tally.items()}


def _by_field(fields: Mapping[str, FieldResult]) -> dict[str, Any]:
    """How each field came about, and those of the records inside."""
    return {
        name: {**msgspec.structs.asdict(one), "tally": _tally(one.tally), "fields": _by_field(one.fields)}
        for name, one in fields.items()
    }


def _shared(one: FieldResult) -> str:
    share = "" if one.share is None else f" ({one.share:.0%})"
    return f"{one.winner!r:.40}{share}"


def notes(run: Run[Any]) -> list[str]:
    """How the output came about, line by line: a vote's tally, and what is missing."""
    detail = run.detail
    if isinstance(detail, VoteResult):
        counts = ", ".join(f"{flat(value, SHOWN)} {count}" for value, count in _tally(detail.tally).items())
        if detail.fields:
            counts = ", ".join(f"{name} {_shared(one)}" for name, one in detail.fields.items())
        failed = [f"voter {one.voter} failed: {one.reason}" for one in detail.ballots if one.kind == "error"]
        return [f"{counts or 'no ballots'}; {detail.why}", *failed]
    if isinstance(detail, Sections):
        return [f"{name} is missing: {why}" for name, why in detail.missing.items()]
    return []


def reason(error: BaseException) -> str:
    """What went wrong, in one line: the cause first, without the library's words for it, and what was noted of it."""
    return "; ".join([_why(error), *noted(error)])


def _why(error: BaseException) -> str:
    cause = root(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(cause, UsageError):
        return str(cause)
    if isinstance(error, BranchError) and error.__cause__ is not None:
        skip = "" if isinstance(error.__cause__, BranchError) else " (on_error skip would go on without it)"
        return f"branch {error.branch!r} failed: {_why(error.__cause__)}{skip}"
    if isinstance(error, QuorumError) and error.missing:
        return f"{type(error).__name__}: {_counted(error)}: {_grouped(error.missing)}{error.late}"
    if isinstance(error, FanfoldError):
        return described(error)
    return f"{described(error)} ({raised_at(error) or 'no place known'})"


def root(error: BaseException) -> BaseException:
    """The first cause of a failed branch or a missed quorum; any other error is its own."""
    while isinstance(error, BranchError | QuorumError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def so_far(run: Run[Any]) -> list[str]:
    """What an unfinished run had done, and what that cost, line by line; nothing where it had done nothing."""
    finished = finished_parts(run).items()
    lines = [f"finished {place.replace('%2F', '/')}: {told(value)}" for place, value in finished]
    sent = [call for call in run.calls if call.sent is not None]
    found = sum(call.replayed for call in run.calls)
    if sent or found:
        answered = sum(call.state == "ok" for call in sent)
        calls = f"{answered} of {len(sent)} calls answered" + (f", {found} from the journal" if found else "")
        tokens = f"{run.usage.input_tokens} + {run.usage.output_tokens} tokens"
        now = f" ({run.paid} of it now)" if found else ""
        lines.append(f"until then: {calls}, {tokens}, {money(run, now)}, {run.wall:.2f} s")
    return lines


def finished_parts(run: Run[Any]) -> dict[str, Any]:
    """What branches and steps had given before the run ended, by place; those too that came too late to be folded.

    Of a step that is a part of another that is there it says nothing: that was made of it.
    """
    branches, steps = dict[str, Any](), dict[str, Any]()
    for event in run.events:
        place = event.place.partition("/")[2]
        if place and event.kind in {"branch.ended", "branch.late", "step.ended"} and event.error is None:
            value = event.value.value if isinstance(event.value, Said) else event.value
            (steps if event.kind == "step.ended" else branches)[place] = value
    whole = branches.keys() | steps.keys()
    return branches | {place: value for place, value in steps.items() if not whole & set(_above(place))}


def _above(place: str) -> list[str]:
    """The places that this one lies in."""
    parts = place.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _encoded(value: Any) -> bytes:
    with suppress(TypeError, ValueError, RecursionError):
        return written(value)
    with suppress(TypeError, ValueError, RecursionError):
        return written(spelled(msgspec.to_builtins(value, enc_hook=plain)))
    return msgspec.json.encode(spoken(value, repr))


def _counted(error: QuorumError) -> str:
    """How many there were, without the first of those that are missing, by whose name it may end."""
    told = str(error).removesuffix(error.late).partition(": ")[0]
    first = next((name for name in error.missing if told.endswith(f"; {name}")), None)
    return told if first is None else told.removesuffix(f"; {first}")


def _grouped(missing: Mapping[str, str]) -> str:
    """Why branches are missing; the same reason is said once."""
    counts = Counter(missing.values())
    if len(counts) == len(missing):
        return "; ".join(f"{name}: {why}" for name, why in missing.items())
    return "; ".join(f"{count} × {why}" for why, count in counts.items())
