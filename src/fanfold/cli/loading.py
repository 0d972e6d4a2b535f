"""What the command line names: a step in a Python file, an input, a vote, sections."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fanfold import rules
from fanfold.calls.amounts import Budget
from fanfold.cli.places import raised_at
from fanfold.errors import ModelError, UsageError
from fanfold.steps import templates
from fanfold.steps.merging import MERGE, RESERVED
from fanfold.steps.prompt import prompt
from fanfold.steps.sections import sections
from fanfold.steps.step import Step
from fanfold.steps.templates import Template, fields_of
from fanfold.steps.vote import vote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

LOADED = "fanfold_file"
"""The name a file is loaded under: its own could be that of a module, as json.py or fanfold.py."""

# -- a step in a file -------------------------------------------------------------------------------------------


def load_step(target: str) -> Step[Any, Any]:
    """The step that ``FILE[:NAME]`` names; raises `UsageError` where there is none, or several without a name."""
    path, name = _split(target)
    module = _load(path)
    steps = {called: thing for called, thing in vars(module).items() if isinstance(thing, Step)}
    if not name:
        return _only(steps, path)
    if name not in steps:
        what = "defines something else as" if hasattr(module, name) else "does not define"
        raise UsageError(f"{path} {what} {name!r}; {_steps_text(steps)}")
    return steps[name]


def load_steps(targets: Sequence[str]) -> dict[str, Step[Any, Any]]:
    """The steps that ``[NAME=]FILE[:NAME]`` name, by name; one without a name of its own has its step's."""
    found: dict[str, Step[Any, Any]] = {}
    for target in targets:
        name, equals, place = target.partition("=")
        if not (equals and name.strip() and Path(place.rpartition(":")[0] or place).suffix == ".py"):
            name, place = "", target
        step = load_step(place)
        name = name.strip() or _split(place)[1] or step.name
        if name in found:
            raise UsageError(f"two steps are called {name!r}: give them names, like best={place}")
        found[name] = step
    return found


def model_named(model: str | None, base_url: str | None) -> str:
    """What says which model answers where a step names none."""
    named = model or os.environ.get("FANFOLD_MODEL") or ""
    return f"{named} at {base_url}".lstrip() if base_url else named


def dollars(usd: float | None) -> Budget | None:
    """A budget of so many dollars."""
    return None if usd is None else Budget(usd=usd)


def _only(steps: dict[str, Step[Any, Any]], path: Path) -> Step[Any, Any]:
    if "main" in steps:
        return steps["main"]
    if not steps:
        raise UsageError(f"{path}: {_steps_text(steps)}")
    first, *others = steps
    if others:
        raise UsageError(
            f"{path} defines several steps, and none called main; say which, like {path}:{first} ({_steps_text(steps)})"
        )
    return steps[first]


def _split(target: str) -> tuple[Path, str]:
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return Path(file), name
    return Path(target), ""


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "is not there"
        raise UsageError(f"the file {path} {what}: give FILE.py or FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(LOADED, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file: give FILE.py or FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    # As `python FILE` has it: the file finds its neighbours, and dataclasses find the file.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[LOADED] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        at = "" if isinstance(error, SyntaxError) else f" ({raised_at(error)})"  # which says its own
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}{at}") from error
    except SystemExit as left:
        raise UsageError(
            f"{path} cannot be loaded: {left!r}; what a script does when it is run belongs behind "
            "`if __name__ == '__main__':`"
        ) from left
    return module


def _steps_text(steps: dict[str, Step[Any, Any]]) -> str:
    names = ", ".join(steps)
    return f"it defines the steps: {names}" if names else "it defines no step (a prompt, a pattern, or @step)"


# -- the input and the model ------------------------------------------------------------------------------------


def read_input(given: str | None, *, as_json: bool) -> Any:
    """The input: a text, ``@file``, or standard input for ``-`` or nothing; with `as_json` what it holds as JSON."""
    content = _read(given)
    if not as_json:
        return content
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # no JSON, a number of too many digits, or too deep
        raise UsageError(
            f"the input is not JSON that can be read ({error}); leave out --input-json to give it as text"
        ) from None


def stands_alone(question: str, given: str | None) -> bool:
    """Whether a question is all there is: it names no input, and nobody gives one."""
    return not (_input_given(given) or Template(question).fields)


def _input_given(given: str | None) -> bool:
    if sys.stdin is None:  # closed, as a daemon's may be
        return given not in {None, "-"}
    return given is not None or not sys.stdin.isatty()


def _read(given: str | None) -> str:
    if not _input_given(given):
        raise UsageError("no input: give it as an argument, as @FILE, or on standard input (- reads it from there)")
    if given is None or given == "-":
        return _decoded(sys.stdin.buffer.read(), "standard input")
    if given.startswith("@"):
        return _file(Path(given[1:]))
    return given


def _file(path: Path) -> str:
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"the input cannot be read from {path}: {error.strerror}") from None


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 text (byte {error.start}): convert it first") from None


def check_model(named: Sequence[str | None]) -> None:
    """Refuse to go on where neither the options nor the environment name a model."""
    if not any(named) and not os.environ.get("FANFOLD_MODEL"):
        raise ModelError(
            "no model: give --model provider:model or set FANFOLD_MODEL; `fanfold models` lists what can be used "
            "now, and --model fake: makes answers up"
        )


# -- a vote -----------------------------------------------------------------------------------------------------


def with_input(template: str, field: str = "input") -> str:
    """A template that takes the input, or what else a field holds: one that names no field gets it at its end."""
    return template if Template(template).fields else f"{template}\n\n{{{field}}}"


def check_fields(template: str, given: Any) -> None:
    """Refuse, before anything is sent, a template whose fields the input lacks."""
    templates.check_fields("the prompt", Template(template).fields, fields_of(given))


def build_vote(
    question: str,
    choices: str | None,
    n: int | None,
    models: list[str],
    *,
    rule: str,
    quorum: int | None,
    temperature: float | None,
    early: bool,
) -> Step[Any, Any]:
    """The vote that the options describe: one model n times, or several models."""
    named = parse_choices(choices)
    returns: Any = Literal[tuple(named)] if named else str
    tally = parse_rule(rule)
    stop = rules.decided() if early else None
    if len(models) < 2:
        asked = prompt(question, returns=returns, temperature=temperature)
        return vote(asked, 5 if n is None else n, rule=tally, quorum=quorum, stop=stop)
    if n is not None:
        raise UsageError("-n is for one model asked several times; several --model are a jury, each asked once")
    jury = {model: prompt(question, returns=returns, temperature=temperature, model=model) for model in models}
    if len(jury) < len(models):
        raise UsageError("a --model is there twice: a jury has different ones (for one model n times, use -n)")
    return vote(jury, rule=tally, quorum=quorum, stop=stop)


def parse_choices(given: str | None) -> list[str]:
    """Choices separated by commas."""
    found = list(dict.fromkeys(choice.strip() for choice in (given or "").split(",") if choice.strip()))
    if given is not None and len(found) < 2:
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
    if kind == "at-least" and count.isdecimal() and value:
        return rules.at_least(int(count), value)
    raise UsageError(f"--rule {given!r}: it is plurality, majority, any:VALUE, all:VALUE or at-least:K:VALUE")


# -- sections ---------------------------------------------------------------------------------------------------


def build_sections(
    given: list[str], merge: str | None, on_error: Literal["fail", "skip"], quorum: int | None
) -> Step[Any, Any]:
    """The sections that the options describe."""
    templates = parse_sections(given)
    branches = {name: prompt(with_input(template), name=name) for name, template in templates.items()}
    if merge is None:
        return sections(branches, on_error=on_error, quorum=quorum)
    return sections(branches, merge=prompt(with_input(merge, "parts"), name="merge"), on_error=on_error, quorum=quorum)


def parse_sections(given: list[str]) -> dict[str, str]:
    """``NAME=TEMPLATE`` for each branch."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, template = one.partition("=")
        name = name.strip()
        if not equals or not name or not template.strip():
            raise UsageError(f"--section {one!r}: write it like --section tone='Analyze the tone: {{input}}'")
        if name in found:
            raise UsageError(f"--section {name!r} is there twice: give each branch a name of its own")
        found[name] = template
    if not found:
        raise UsageError("no sections: give at least one --section NAME='PROMPT with {input}'")
    return found


def check_merge(merge: str | None, given: list[str], value: Any) -> None:
    """Refuse, before a branch is paid for, a merge that names neither a branch nor what the input has."""
    if merge is None:
        return
    there = [*fields_of(value), *parse_sections(given), *sorted(RESERVED - {MERGE})]
    templates.check_fields("--merge", Template(merge).fields, there)
