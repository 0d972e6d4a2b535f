"""Who may touch time and chance."""

import ast
from collections.abc import Iterator

from tests.house.tree import Module, source

DOOR = "src/fanfold/core/clock.py"
TWIN = "testing"  # the room of the virtual clock

MODULES = {"random", "secrets", "time", "uuid"}
CALLS = {
    ("asyncio", "sleep"),
    ("date", "today"),
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("os", "urandom"),
    ("threading", "Timer"),
}


def test_time_sleep_and_chance_have_one_door() -> None:
    """Outside `core/clock.py` and its virtual twin, no module reads a clock, sleeps or draws by chance."""
    wrong = [
        f"{module.shown}:{line} {what}"
        for module in source()
        if module.shown != DOOR and module.room != TWIN
        for line, what in _touches(module)
    ]
    assert not wrong, "\n".join(wrong)


def _touches(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names if name.name in MODULES)
            case ast.ImportFrom(module=str(origin), names=names, level=0):
                for name in names:
                    if origin in MODULES or (origin, name.name) in CALLS:
                        yield node.lineno, f"{origin}.{name.name}"
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if (owner, name) in CALLS:
                    yield node.lineno, f"{owner}.{name}"
