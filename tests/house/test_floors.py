"""The rooms of the house and who may enter which."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.tree import FRONT_DOOR, PACKAGE, Module, source

GROUND = {"core", "errors"}
FLOOR_0 = GROUND | {"models", "journal"}
FLOOR_1 = FLOOR_0 | {"folds", "calls", "runs", "rules"}
FLOOR_2 = FLOOR_1 | {"session", "steps"}

# Each room with those that it may import from, besides its own files.
ENTERS = {
    "errors": set(),
    "core": {"errors"},
    "models": GROUND,
    "journal": GROUND,
    "folds": GROUND,  # pure: not even the ground's I/O
    "calls": GROUND,  # reaches models and journal through protocols in core
    "runs": FLOOR_0,
    "rules": GROUND | {"folds"},
    "session": FLOOR_1,
    "steps": FLOOR_1 | {"session"},
    "testing": FLOOR_0 | {"session"},
    "data": FLOOR_2,
    "serve": FLOOR_2,
    "cli": FLOOR_2 | {"data", "serve", "testing"},
    "pytest_plugin": {"journal"},
    "__main__": {"cli"},
}

# Only the faces meet users, so only they may come in by the front door, as users do.
BY_FRONT_DOOR = {"cli", "data", "serve"}


def test_rooms_enter_only_from_above() -> None:
    """A room imports only from floors below it, and from `core` and `errors`, wherever the import stands."""
    wrong = [
        f"{module.shown}:{line} enters {room or 'the front door'}"
        for module in source()
        if module.room
        for line, room in _entered(module)
        if room not in _open_to(module.room)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_floor() -> None:
    """A room that stands on no floor is not built."""
    unknown = {module.room for module in source()} - set(ENTERS) - {""}
    assert not unknown, f"give {sorted(unknown)} a floor in tests/house/test_floors.py and in ARCHITECTURE.md"


def test_floors_have_no_stairs_back() -> None:
    """No two rooms may import each other, not even by way of a third."""

    def below(room: str, seen: frozenset[str]) -> set[str]:
        assert room not in seen, f"{room} lies below itself"
        return {room}.union(*(below(other, seen | {room}) for other in ENTERS[room]))

    for room in ENTERS:
        below(room, frozenset())


def test_front_door_has_no_logic() -> None:
    """The front door holds a docstring, names, and what makes them lazy; nothing else."""
    if not FRONT_DOOR.exists():
        pytest.skip("there is no front door yet")
    tree = ast.parse(FRONT_DOOR.read_text("utf-8"))
    wrong = [f"line {node.lineno}: {type(node).__name__}" for node in tree.body if not _plain(node)]
    assert not wrong, "\n".join(wrong)


def _open_to(room: str) -> set[str]:
    return ENTERS[room] | {room} | ({""} if room in BY_FRONT_DOOR else set())


def _entered(module: Module) -> Iterator[tuple[int, str]]:
    """The rooms that a module imports from, with the line; "" for the front door."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{_origin(module, node)}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "fanfold":
                room = rest.partition(".")[0]
                yield node.lineno, room if _is_room(room) else ""


def _origin(module: Module, node: ast.ImportFrom) -> str:
    """The absolute name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    here = ("fanfold", *module.path.relative_to(PACKAGE).parts[:-1])
    base = here[: len(here) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _is_room(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file() if name else False


def _plain(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.AnnAssign():
            return True
        case ast.Assign():
            return not any(isinstance(inner, ast.Lambda | ast.IfExp) for inner in ast.walk(node))
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in body)
        case ast.FunctionDef(name="__getattr__" | "__dir__"):
            return node.end_lineno is not None and node.end_lineno - node.lineno < 15
        case _:
            return False
