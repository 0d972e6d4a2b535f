"""fanfold: fan out LLM calls, fold the answers.

This is the front door: every public name, each loaded from its room when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanfold import errors, rules
    from fanfold.core.records import Call, Cost, Event, Reply, Request, Usage
    from fanfold.errors import FanfoldError
    from fanfold.folds.ballots import Ballot, VoteResult
    from fanfold.models.openai import OpenAI
    from fanfold.runs.run import Run
    from fanfold.session import Session
    from fanfold.steps.gather import gather
    from fanfold.steps.prompt import prompt
    from fanfold.steps.sample import sample
    from fanfold.steps.sections import Sections, sections
    from fanfold.steps.step import Step, chain, step
    from fanfold.steps.vote import vote

__all__ = [
    "Ballot",
    "Call",
    "Cost",
    "Event",
    "FanfoldError",
    "OpenAI",
    "Reply",
    "Request",
    "Run",
    "Sections",
    "Session",
    "Step",
    "Usage",
    "VoteResult",
    "chain",
    "errors",
    "gather",
    "prompt",
    "rules",
    "sample",
    "sections",
    "step",
    "vote",
]

__version__ = "0.1.0"

_ROOMS = {
    "Ballot": "folds.ballots",
    "Call": "core.records",
    "Cost": "core.records",
    "Event": "core.records",
    "FanfoldError": "errors",
    "OpenAI": "models.openai",
    "Reply": "core.records",
    "Request": "core.records",
    "Run": "runs.run",
    "Sections": "steps.sections",
    "Session": "session",
    "Step": "steps.step",
    "Usage": "core.records",
    "VoteResult": "folds.ballots",
    "chain": "steps.step",
    "gather": "steps.gather",
    "prompt": "steps.prompt",
    "sample": "steps.sample",
    "sections": "steps.sections",
    "step": "steps.step",
    "vote": "steps.vote",
}


def __getattr__(name: str) -> Any:
    if name in {"errors", "rules"}:
        return import_module(f"fanfold.{name}")
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'fanfold' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"fanfold.{room}"), name)
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
