"""What things are called, and that they say what they are."""

import ast
import inspect

import pytest

from tests.house.tree import FRONT_DOOR, files, public, python, source

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}

EVERYWHERE = ("src", "tests", "examples", "benchmarks", "scripts")


def test_no_file_has_a_name_that_says_nothing() -> None:
    """No file or folder is called utils, helpers, common, misc or manager."""
    wrong = [str(path) for path in files() if {part.split(".")[0] for part in path.parts[-2:]} & SAY_NOTHING]
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is() -> None:
    """Every module begins with a docstring."""
    wrong = [module.shown for module in python(*EVERYWHERE) if not ast.get_docstring(module.tree)]
    assert not wrong, "\n".join(wrong)


def test_every_public_name_says_what_it_is() -> None:
    """Every public class and function at the top of a module has a docstring."""
    wrong = [
        f"{module.shown}:{node.lineno} {node.name}"
        for module in source()
        for node in module.tree.body
        if isinstance(node, Definition) and public(node.name)
        if not (ast.get_docstring(node) or _is_overload(node))
    ]
    assert not wrong, "\n".join(wrong)


def test_everything_users_meet_says_what_it_is() -> None:
    """Every name in `fanfold.__all__` has a docstring, and so has every public method of a class there."""
    if not FRONT_DOOR.exists():
        pytest.skip("there is no front door yet")
    import fanfold

    offered = {name: getattr(fanfold, name) for name in fanfold.__all__ if public(name)}
    methods = {
        f"{name}.{method}": getattr(offer, method)
        for name, offer in offered.items()
        if inspect.isclass(offer)
        for method, made in vars(offer).items()
        if public(method) and callable(getattr(made, "__func__", made))
    }
    wrong = [name for name, thing in (offered | methods).items() if not inspect.getdoc(thing)]
    assert not wrong, "\n".join(wrong)


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)
