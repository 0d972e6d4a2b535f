"""What the command line names: a step in a Python file, an input, choices, sections, a rule."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fanfold import rules
from fanfold.errors import UsageError
from fanfold.steps.prompt import prompt
from fanfold.steps.sections import sections
from fanfold.steps.step import Step
from fanfold.steps.templates import Template
from fanfold.steps.vote import vote

if TYPE_CHECKING:
    from types import ModuleType


def load_step(target: str) -> Step[Any, Any]:
    """The step that ``FILE[:NAME]`` names; raises `UsageError` where there is none, or several without a name."""
    path, name = _split(target)
    module = _load(path)
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Step):
            what = "does not define" if found is None else "defines something else as"
            raise UsageError(f"{path} {what} {name!r}; {_steps_text(module)}")
        return found
    steps = _steps(module)
    if len(steps) == 1:
        return next(iter(steps.values()))
    if "main" in steps:
        return steps["main"]
    raise UsageError(f"{path} does not say which step to run; {_steps_text(module)}")


def read_input(given: str | None, *, as_json: bool) -> Any:
    """The input: a text, ``@file``, or standard input for ``-`` or nothing; with `as_json` what it holds as JSON."""
    text = _read(given)
    if not as_json:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"the input is not JSON ({error}); leave out --input-json to give it as text") from None


def with_input(template: str) -> str:
    """A template that takes the input: one that names no field gets it at its end."""
    return template if Template(template).fields else f"{template}\n\n{{input}}"


def parse_sections(given: list[str]) -> dict[str, str]:
    """``NAME=TEMPLATE`` for each branch."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, template = one.partition("=")
        if not equals or not name.strip() or not template.strip():
            raise UsageError(f"--section {one!r}: write it like --section tone='Analyze the tone: {{input}}'")
        if name.strip() in found:
            raise UsageError(f"--section {name.strip()!r} is there twice")
        found[name.strip()] = template
    if not found:
        raise UsageError("no sections: give at least one --section NAME='PROMPT with {input}'")
    return found


def parse_choices(given: str | None) -> list[str]:
    """Choices separated by commas."""
    found = [choice.strip() for choice in (given or "").split(",") if choice.strip()]
    if given is not None and len(set(found)) < 2:
        raise UsageError(f"--choices {given!r}: give at least two different ones, like --choices spam,ham")
    return found


def parse_rule(given: str) -> rules.Rule[Any, Any]:
    """``plurality``, ``majority``, ``any:VALUE``, ``all:VALUE`` or ``at-least:K:VALUE``."""
    kind, _, rest = given.partition(":")
    if given in {"plurality", "majority"}:
        return rules.plurality() if given == "plurality" else rules.majority()
    if kind in {"any", "all"} and rest:
        return rules.any_of(rest) if kind == "any" else rules.all_of(rest)
    count, _, value = rest.partition(":")
    if kind == "at-least" and count.isdigit() and value:
        return rules.at_least(int(count), value)
    raise UsageError(f"--rule {given!r}: it is plurality, majority, any:VALUE, all:VALUE or at-least:K:VALUE")


def _split(target: str) -> tuple[Path, str]:
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return Path(file), name
    return Path(target), ""


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give FILE.py or FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file: give FILE.py or FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    # As `python FILE` has it: the file finds its neighbours, and pickling and dataclasses find the file.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _steps(module: ModuleType) -> dict[str, Step[Any, Any]]:
    return {name: thing for name, thing in vars(module).items() if isinstance(thing, Step)}


def _steps_text(module: ModuleType) -> str:
    names = ", ".join(_steps(module))
    return f"it defines the steps: {names}" if names else "it defines no step (a prompt, a pattern, or @step)"


def _read(given: str | None) -> str:
    if given is None and sys.stdin.isatty():
        raise UsageError("no input: give it as an argument, as @FILE, or on standard input")
    if given is None or given == "-":
        return sys.stdin.read()
    if given.startswith("@"):
        path = Path(given[1:])
        if not path.is_file():
            raise UsageError(f"there is no file {path} to read the input from")
        return path.read_text(encoding="utf-8")
    return given


def build_vote(
    question: str,
    choices: str | None,
    n: int | None,
    models: list[str],
    *,
    rule: str,
    temperature: float | None,
    early: bool,
) -> Step[Any, Any]:
    """The vote that the options describe: one model n times, or several models."""
    named = parse_choices(choices)
    returns: Any = Literal[tuple(named)] if named else str
    if len(models) < 2:
        asked = prompt(with_input(question), returns=returns, temperature=temperature)
        return vote(asked, 5 if n is None else n, rule=parse_rule(rule), stop=_stop(early=early))
    if n is not None:
        raise UsageError("-n is for one model asked several times; several --model are a jury, each asked once")
    jury = {
        model: prompt(with_input(question), returns=returns, temperature=temperature, model=model) for model in models
    }
    if len(jury) < len(models):
        raise UsageError("a --model is there twice: a jury has different ones (for one model n times, use -n)")
    return vote(jury, rule=parse_rule(rule), stop=_stop(early=early))


def build_sections(
    given: list[str], merge: str | None, on_error: Literal["fail", "skip"], quorum: int | None
) -> Step[Any, Any]:
    """The sections that the options describe."""
    branches = {name: prompt(with_input(template), name=name) for name, template in parse_sections(given).items()}
    if merge is None:
        return sections(branches, on_error=on_error, quorum=quorum)
    return sections(branches, merge=prompt(merge, name="merge"), on_error=on_error, quorum=quorum)


def _stop(*, early: bool) -> rules.Stop | None:
    return rules.decided() if early else None
