"""What users see when they write `import fanfold`."""

import statistics
import subprocess
import sys
import time
import tomllib

import pytest

from tests.house.tree import FRONT_DOOR, ROOT, public, source

pytestmark = pytest.mark.skipif(not FRONT_DOOR.exists(), reason="there is no front door yet")

HEAVY = ("aiohttp", "anthropic", "genai_prices", "openai", "opentelemetry", "pydantic", "rich", "typer")
HEAVY += ("langchain_core", "langchain_openai", "langgraph", "pydantic_ai", "ray", "wreq")


def _python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.check_output([sys.executable, "-c", code], text=True, timeout=30)


def test_all_is_what_dir_offers() -> None:
    """`dir(fanfold)` offers the names of `__all__` and no others."""
    import fanfold

    assert [name for name in dir(fanfold) if public(name)] == sorted(filter(public, fanfold.__all__))


def test_the_front_door_stays_small() -> None:
    """There are at most 40 public names, each of them once."""
    import fanfold

    assert len(set(fanfold.__all__)) == len(fanfold.__all__) <= 40


def test_every_name_can_be_imported() -> None:
    """Each name in `__all__` can be imported from `fanfold`."""
    import fanfold

    missing = [name for name in fanfold.__all__ if not hasattr(fanfold, name)]
    assert not missing


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not offered raises AttributeError, as in any module."""
    import fanfold

    assert not hasattr(fanfold, "no_such_name")


def test_the_version_is_the_package_s() -> None:
    """`fanfold.__version__` is the version in pyproject.toml."""
    import fanfold

    assert fanfold.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_import_loads_no_heavy_package() -> None:
    """`import fanfold` loads neither transport, pydantic, prices, command nor any optional package."""
    loaded = _python("import fanfold, sys; print(*sorted(sys.modules))").split()
    assert "fanfold" in loaded
    assert not set(HEAVY) & set(loaded)


def test_a_map_here_loads_nothing_of_workers() -> None:
    """A map by the local engine loads neither Ray nor what its workers need."""
    code = "import fanfold, sys; list(fanfold.prompt('{input}', model='fake:').map_sync(['a'])); print(*sys.modules)"
    loaded = _python(code).split()
    assert "fanfold.steps.rows" in loaded
    assert not [name for name in loaded if name.partition(".")[0] == "ray" or name.startswith("fanfold.steps.workers")]


def test_one_file_imports_ray() -> None:
    """Ray is imported by `ray_cluster.py` alone, by name and inside its functions."""
    told = [
        module.shown
        for module in source()
        if '"ray' in module.path.read_text("utf-8") and "import_module" in module.path.read_text("utf-8")
    ]
    assert [shown.rpartition("/")[2] for shown in told] == ["ray_cluster.py"]


@pytest.mark.timing
def test_import_takes_at_most_twice_as_long_as_asyncio() -> None:
    """`python -c "import fanfold"` takes at most twice the wall time of `import asyncio`, side by side."""

    def seconds(name: str) -> float:
        began = time.perf_counter()
        _python(f"import {name}")
        return time.perf_counter() - began

    pairs = [(seconds("fanfold"), seconds("asyncio")) for _ in range(11)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    assert ours <= 2 * theirs, f"{ours * 1e3:.0f} ms against {theirs * 1e3:.0f}"
