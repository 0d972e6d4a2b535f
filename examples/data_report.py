"""A report on data: a summary, a chart and insights at the same time. The chart is drawn by code, not by a model.

The input is a mapping with `numbers`, from a name to a number.
"""

from collections.abc import Mapping

from fanfold import prompt, sections, step

WIDTH = 40


@step
def chart(data: Mapping[str, Mapping[str, float]]) -> str:
    """A bar for each number, as text."""
    numbers = data["numbers"]
    most = max(map(abs, numbers.values()), default=0) or 1
    wide = max(map(len, numbers), default=0)
    bars = {name: "#" * round(WIDTH * abs(value) / most) for name, value in numbers.items()}
    return "\n".join(f"{name:{wide}} {bars[name]} {value:g}" for name, value in numbers.items())


report = sections(
    {
        "summary": prompt("Summarize these numbers in two sentences:\n\n{numbers}"),
        "chart": chart,
        "insights": prompt("What stands out in these numbers?\n\n{numbers}", returns=list[str]),
    },
    name="report",
)
