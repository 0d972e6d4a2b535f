"""fanfold: fan out LLM calls, fold the answers.

This is the front door: every public name, each loaded from its room when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanfold import errors, rules
    from fanfold.calls.allowance import RateLimit
    from fanfold.calls.amounts import Budget
    from fanfold.calls.hedging import Hedge
    from fanfold.core.records import Call, Cost, Event, Reply, Request, Usage
    from fanfold.errors import FanfoldError
    from fanfold.folds.ballots import Ballot, VoteResult
    from fanfold.folds.picking import Pick
    from fanfold.models.anthropic import Anthropic
    from fanfold.models.openai import OpenAI
    from fanfold.runs.run import Run
    from fanfold.session import Session
    from fanfold.steps.best_of import best_of
    from fanfold.steps.evaluate import criterion, evaluate
    from fanfold.steps.gate import gate
    from fanfold.steps.gather import gather
    from fanfold.steps.guard import check, guard
    from fanfold.steps.map_over import map_over
    from fanfold.steps.prompt import prompt
    from fanfold.steps.race import fallback, race
    from fanfold.steps.retry import retry
    from fanfold.steps.route import route
    from fanfold.steps.sample import sample
    from fanfold.steps.sections import Sections, sections
    from fanfold.steps.splitting import split
    from fanfold.steps.step import Step, chain, step
    from fanfold.steps.vote import vote

__all__ = [
    "Anthropic",
    "Ballot",
    "Budget",
    "Call",
    "Cost",
    "Event",
    "FanfoldError",
    "Hedge",
    "OpenAI",
    "Pick",
    "RateLimit",
    "Reply",
    "Request",
    "Run",
    "Sections",
    "Session",
    "Step",
    "Usage",
    "VoteResult",
    "best_of",
    "chain",
    "check",
    "criterion",
    "errors",
    "evaluate",
    "fallback",
    "gate",
    "gather",
    "guard",
    "map_over",
    "prompt",
    "race",
    "retry",
    "route",
    "rules",
    "sample",
    "sections",
    "split",
    "step",
    "vote",
]

__version__ = "0.1.0"

_ROOMS = {
    "Anthropic": "models.anthropic",
    "Ballot": "folds.ballots",
    "Budget": "calls.amounts",
    "Call": "core.records",
    "Cost": "core.records",
    "Event": "core.records",
    "FanfoldError": "errors",
    "Hedge": "calls.hedging",
    "OpenAI": "models.openai",
    "Pick": "folds.picking",
    "RateLimit": "calls.allowance",
    "Reply": "core.records",
    "Request": "core.records",
    "Run": "runs.run",
    "Sections": "steps.sections",
    "Session": "session",
    "Step": "steps.step",
    "Usage": "core.records",
    "VoteResult": "folds.ballots",
    "best_of": "steps.best_of",
    "chain": "steps.step",
    "check": "steps.guard",
    "criterion": "steps.evaluate",
    "evaluate": "steps.evaluate",
    "fallback": "steps.race",
    "gate": "steps.gate",
    "gather": "steps.gather",
    "guard": "steps.guard",
    "map_over": "steps.map_over",
    "prompt": "steps.prompt",
    "race": "steps.race",
    "retry": "steps.retry",
    "route": "steps.route",
    "sample": "steps.sample",
    "sections": "steps.sections",
    "split": "steps.splitting",
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
