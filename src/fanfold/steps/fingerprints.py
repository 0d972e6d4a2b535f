"""What a step is, as a digest: equal where the step asks the same, different where a prompt, model or type changed.

It looks through patterns into their steps, and through the user's functions into their code and the steps, functions
and values that they name. What comes from an installed package is known by its name, and keys are left out. Python
compiles otherwise in each of its versions, and so do digests of functions differ.
"""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

PLAIN = (str, bytes, int, float, bool, complex, type(None), type(...))

SILENT = frozenset(
    {"__doc__", "__name__", "__qualname__", "__module__", "__weakref__", "__dict__", "api_key", "headers"}
)

UNTOLD = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
"""What the body of a class in a function keeps of its own text: from Python 3.13 on also the line where it stands."""

TELLING = ("label", "model", "model_name", "base_url")
"""What is asked of an object of an installed package, such as a model of another framework."""


def fingerprint(thing: Any) -> str:
    """The digest of a step, or of whatever a step is made of: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for part in _described(thing, {}):
        digest.update(f"{len(part)}:{part}".encode(errors="backslashreplace"))
    return digest.hexdigest()


def _described(thing: Any, seen: dict[int, Any]) -> Iterator[str]:
    """The parts that make a thing what it is; of one that was described before, its number."""
    if isinstance(thing, PLAIN):
        yield f"{type(thing).__name__} {thing!r}"
        return
    if id(thing) in seen:
        yield f"seen {list(seen).index(id(thing))}"
        return
    seen[id(thing)] = thing  # kept, so that no other gets its identity meanwhile
    yield _named(type(thing))
    for part in _parts(thing):
        yield from _described(part, seen)
    yield "end"


def _parts(thing: Any) -> Iterator[Any]:
    """What a thing consists of."""
    for kind, parts in _KINDS.items():
        if isinstance(thing, kind):
            yield from parts(thing)
            return
    yield from _object(thing)


def _object(thing: Any) -> Iterator[Any]:
    """An object by its attributes; one of an installed package by what it says of itself."""
    if not _ours(type(thing).__module__):
        standard = type(thing).__module__.partition(".")[0] in sys.stdlib_module_names
        yield {name: text for name in TELLING if isinstance(text := getattr(thing, name, None), str)}
        yield repr(thing) if standard and " at 0x" not in repr(thing) else None
        return
    if isinstance(thing, msgspec.Struct):
        own = msgspec.structs.asdict(thing)
    else:
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        own = {name: getattr(thing, name) for name in slots if hasattr(thing, name)} | getattr(thing, "__dict__", {})
    yield {name: value for name, value in sorted(own.items()) if name not in SILENT}


def _class(thing: type) -> Iterator[Any]:
    """A type by its name and what it declares: the fields of a record, the members of an enum."""
    yield _named(thing)
    if thing.__module__.startswith("fanfold.") or not _ours(thing.__module__):
        return
    schema = getattr(thing, "model_json_schema", None)
    yield schema() if callable(schema) else {name: str(hint) for name, hint in _hints(thing).items()}
    if issubclass(thing, Enum):
        yield {member.name: member.value for member in thing}


@functools.cache
def _ours(module: str) -> bool:
    """Whether a module is fanfold's or the user's, and not the standard library's or an installed package's."""
    if module.startswith("fanfold."):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not any(Path(file).is_relative_to(folder) for folder in _INSTALLED)


def users_own() -> list[types.ModuleType]:
    """The modules that are the user's, and neither fanfold's nor installed: another machine does not have them."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name not in {"__main__", "fanfold"} and not name.startswith("fanfold.") and _is_own(name, module)
    ]


def _is_own(name: str, module: types.ModuleType | None) -> bool:
    return isinstance(module, types.ModuleType) and module.__name__ == name and _ours(name)


_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _hints(thing: type) -> dict[str, Any]:
    return {
        name: hint for kind in reversed(thing.__mro__) for name, hint in vars(kind).get("__annotations__", {}).items()
    }


def _function(thing: types.FunctionType) -> Iterator[Any]:
    """A function by its code, its defaults, what it closes over, and what it names in its own file."""
    yield f"{thing.__module__}.{thing.__qualname__}"
    if thing.__module__.startswith("fanfold.") or not _ours(thing.__module__):
        yield from _cells(thing)
        return
    yield from _code(thing.__code__)
    yield from (thing.__defaults__, thing.__kwdefaults__)
    yield from _cells(thing)
    for name in sorted(_names(thing.__code__)):
        found = thing.__globals__.get(name)
        if not isinstance(found, types.ModuleType | types.BuiltinFunctionType):
            yield from (name, found)


def _cells(thing: types.FunctionType) -> Iterator[Any]:
    for cell in thing.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            yield None


def _code(code: types.CodeType) -> Iterator[Any]:
    """What a code does, instruction by instruction: a comment or a docstring changes none of them."""
    yield from (code.co_varnames, code.co_freevars, code.co_cellvars)
    instructions = list(dis.get_instructions(code))
    for done, following in zip(instructions, [*instructions[1:], None], strict=True):
        kept = done if following is None or done.opname == "STORE_NAME" else following
        if kept.opname != "STORE_NAME" or kept.argval not in UNTOLD:
            yield from (done.opname, done.argval)


def _names(code: types.CodeType) -> set[str]:
    """The global names that a code and those inside it use."""
    used = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return used.union(*(_names(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


_KINDS: dict[type, Callable[[Any], Iterable[Any]]] = {
    Mapping: lambda thing: [part for pair in thing.items() for part in pair],
    AbstractSet: lambda thing: sorted(map(repr, thing)),
    list: iter,
    tuple: iter,
    functools.partial: lambda thing: (thing.func, thing.args, thing.keywords),
    types.FunctionType: _function,
    types.MethodType: lambda thing: (thing.__self__, thing.__func__),
    types.CodeType: _code,
    types.ModuleType: lambda thing: (thing.__name__,),
    Enum: lambda thing: (thing.name, thing.value),
    type: _class,
}
"""How each kind of thing is taken apart; the first that fits."""
