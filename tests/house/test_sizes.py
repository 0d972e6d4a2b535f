"""How large things may grow."""

import statistics

from tests.house.tree import Function, python, source


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_function_is_over_60_lines() -> None:
    """A function has at most 60 lines."""
    wrong = [
        f"{module.shown}:{function.lineno} {function.name}: {_length(function)} lines"
        for module in source()
        for function in module.functions()
        if _length(function) > 60
    ]
    assert not wrong, "\n".join(wrong)


def test_most_functions_are_short() -> None:
    """Nine functions in ten have at most 30 lines, and the median one under 15."""
    lengths = sorted(_length(function) for module in source() for function in module.functions())
    if lengths:
        assert lengths[int(0.9 * len(lengths))] <= 30
        assert statistics.median(lengths) < 15


def test_no_module_is_over_450_lines() -> None:
    """A module has at most 450 lines."""
    wrong = [f"{module.shown}: {module.lines} lines" for module in source() if module.lines > 450]
    assert not wrong, "\n".join(wrong)


def test_the_median_module_is_short() -> None:
    """The median module has at most 200 lines."""
    lines = [module.lines for module in source()]
    if lines:
        assert statistics.median(lines) <= 200


def test_tests_outweigh_the_source() -> None:
    """There are at least 1.2 lines of tests to one of source, blank ones not counted."""
    tests = sum(module.filled for module in python("tests"))
    lines = sum(module.filled for module in source())
    assert tests >= 1.2 * lines, f"{tests} lines of tests to {lines} of source: {tests / lines:.2f}"
