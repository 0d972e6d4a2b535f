"""The page in a real browser: no complaints, bars where the records are, what the mouse and the keyboard find."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from fanfold import OpenAI, Session, map_over, prompt, sections, vote
from fanfold.core.records import Attempt, Cost
from fanfold.models.recordings import recordings
from fanfold.runs.phases import sends
from fanfold.runs.run import Run
from fanfold.runs.timeline import timeline_of
from fanfold.testing import ModelServer
from tests.runs.browser import Page, chromium, opened, program
from tests.runs.made import attempt, call, large, run_of, small

pytestmark = [pytest.mark.browser, pytest.mark.long]

Look = Callable[[Page], Coroutine[Any, Any, Any]]

AXIS = 26
"""Pixels above the first row."""

TOLERANCE = 1.0
"""Pixels that a bar may be away from its record."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One browser for all tests of this file."""
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
def look(browser: str, tmp_path: Path) -> Callable[[Run[Any], Look], Any]:
    """Show a run's page in a tab of its own and look at it; the page may not complain, or ask for anything else."""

    def shown(run: Run[Any], at: Look, *, scheme: str = "light") -> Any:
        url = run.timeline(tmp_path / "page.html").as_uri()

        async def main() -> Any:
            async with opened(browser) as page:
                await page.scheme(scheme)
                await page.show(url)
                await page.drawn()
                found = await at(page)
                await page.drawn()
                assert page.complaints == []
                assert page.asked in ([url], [url, "data:,"])
                return found

        return asyncio.run(main())

    return shown


async def corner(page: Page) -> tuple[float, float]:
    """Where the chart begins on the page."""
    x, y = await page.value("(({x, y}) => [x, y])(document.getElementById('chart').getBoundingClientRect())")
    return x, y


async def pixel(page: Page, x: float, y: float) -> list[int]:
    """Red, green and blue of one pixel of the chart; read from a copy, for the page itself never reads its canvas."""
    return await page.value(
        "(() => { const copy = document.createElement('canvas'); copy.width = copy.height = 1;"
        "const pen = copy.getContext('2d', {willReadFrequently: true});"
        f"pen.drawImage(document.getElementById('plot'), -Math.round({x}), -Math.round({y}));"
        "return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"
    )


async def row_middle(page: Page, name: str) -> float:
    """Where a row's middle is, down the page; rows are all open and not scrolled."""
    position = await page.value(f"timeline.tree.shown().findIndex((at) => timeline.data.rows[at].name === '{name}')")
    height = await page.value("timeline.view.row")
    _, top = await corner(page)
    return top + AXIS + (position + 0.5) * height


def voted() -> Run[Any]:
    """A vote of five and a single call, over HTTP, with recorded latencies: what `fanfold demo` does."""
    recording = recordings("samples")[0]
    with ModelServer("recorded", latency="recorded", speed=20.0) as server:
        asked = OpenAI(name="gpt-35-turbo", base_url=server.url, structured=False)
        question = prompt("{input}", returns=Literal["A", "B", "C", "D", "E"], model=asked)
        return sections({"vote": vote(question, n=5), "once": question}).run_sync(recording.question)


def refused() -> Run[Any]:
    """Twenty calls over HTTP, eight at once, of which some are refused the first time and sent again."""
    with (
        ModelServer("fake", latency=0.05, faults=["503:0.4#1"]) as server,
        Session(OpenAI("any", base_url=server.url), attempts=4, max_in_flight=8) as session,
    ):
        return map_over(prompt("{input}")).run_sync([str(at) for at in range(20)], session=session)


@pytest.mark.parametrize("make", [small, voted, refused])
def test_bars_are_where_the_records_are(look: Any, make: Callable[[], Run[Any]]) -> None:
    """Each phase of each send begins and ends within a pixel of its time in the record, in its call's row."""
    run = make()

    async def measure(page: Page) -> None:
        pieces = await page.value("timeline.pieces().filter((piece) => piece.kind !== 'place')")
        gutter, width, from_, to, height = await page.value(
            "[timeline.view.gutter, timeline.view.width, timeline.view.from, timeline.view.to, timeline.view.row]"
        )
        rows = {bar.number: bar.row for bar in timeline_of(run).bars}
        expected = [
            (one, number, phase)
            for one in sorted(run.calls, key=lambda call: call.number)
            for number, (_, found) in enumerate(sends(one))
            for phase in found
        ]
        by_call = sorted(pieces, key=lambda piece: (piece["call"], piece["send"]))
        assert len(by_call) == len(expected)
        for piece, (one, number, phase) in zip(by_call, expected, strict=True):
            assert (piece["call"], piece["send"], piece["kind"]) == (one.number, number, phase.kind)
            scale = (width - gutter) / (to - from_)
            assert abs(piece["x"] - (gutter + (phase.start - from_) * scale)) <= TOLERANCE
            assert abs(piece["width"] - (phase.end - phase.start) * scale) <= TOLERANCE
            top = AXIS + rows[one.number] * height
            assert top <= piece["y"] <= piece["y"] + piece["height"] <= top + height

    look(run, measure)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_painted_is_where_the_records_are(look: Any, scheme: str) -> None:
    """In the middle of a phase's time the canvas has that phase's colour, and beyond the call's end it has not."""
    run = run_of(call(0, "job/a", attempt(queued=0.0, sent=1.0, first=3.0, ended=4.0)), wall=4.0)

    async def paint(page: Page) -> list[int]:
        gutter, width, to = await page.value("[timeline.view.gutter, timeline.view.width, timeline.view.to]")
        y = AXIS + 1.5 * await page.value("timeline.view.row")

        async def at(seconds: float, up: float = 0.0) -> list[int]:
            x = gutter + (width - gutter) * seconds / to
            return await pixel(page, x, y - up)

        async def named(name: str) -> list[int]:
            text = await page.value(f"timeline.colour('{name}')")
            return [int(text[start : start + 2], 16) for start in (1, 3, 5)]

        assert await at(0.5) == await named("queue")
        assert await at(2.0) == await named("wire")
        assert await at(3.5) == await named("stream")
        assert await at(0.5, up=7.0) != await named("queue")  # a wait is thin
        assert await at(2.0, up=7.0) == await named("wire")
        beyond = await at(4.01, up=7.0)
        assert beyond not in [await named(name) for name in ("queue", "wire", "stream", "error")]
        return await at(2.0, up=11.0)

    background = look(run, paint, scheme=scheme)
    assert (sum(background) > 600) is (scheme == "light")


def test_hover_shows_the_call(look: Any) -> None:
    """Under the mouse a card says name, place, model, phases, every send, tokens, cost; away from it there is none."""

    async def hover(page: Page) -> list[str]:
        texts = []
        for name in ("retried", "hedged", "failed", "job"):
            x, _ = await corner(page)
            await page.mouse("mouseMoved", x + 600, await row_middle(page, name))
            await page.drawn()
            assert await page.value("document.getElementById('card').hidden") is False
            texts.append(await page.value("document.getElementById('card').innerText"))
        await page.mouse("mouseMoved", 5, 5)
        await page.drawn()
        assert await page.value("document.getElementById('card').hidden") is True
        return texts

    retried, hedged, failed, job = look(small(), hover)
    for words in ("job/retried", "call 0", "openai:gpt-4o-mini", "rate wait", "500 ms", "backoff", "1 s", "error 429"):
        assert words in retried
    for words in ("120 in, 40 out", "20 cached, 10 reasoning", "written to a cache\t5", "$0.002000"):
        assert words in retried
    assert "2 hedge" in hedged
    assert "$0.000000 to $0.004000" in hedged
    assert "ConnectError: openai:gpt-4o-mini broke off" in failed
    assert "enough: 3 of 7 folded, 2 cancelled, 2 never launched" in job


def test_light_and_dark_follow_the_system(look: Any) -> None:
    """A change of the system's scheme changes the page at once; both draw."""

    async def change(page: Page) -> list[Any]:
        seen = []
        for scheme in ("light", "dark", "light"):
            await page.scheme(scheme)
            await page.drawn()
            seen.append((await pixel(page, 5, 300), len(await page.picture())))
        return seen

    light, dark, again = look(small(), change)
    assert sum(light[0]) > 700
    assert sum(dark[0]) < 400
    assert again[0] == light[0]
    assert min(light[1], dark[1]) > 10_000


def test_groups_open_and_close(look: Any) -> None:
    """A click on a group's name closes it, the buttons close and open all, and the count says what is not shown."""

    async def click(page: Page) -> None:
        count = "document.getElementById('count').textContent"
        assert await page.value(count) == "6 rows"
        x, _ = await corner(page)
        await page.click(x + 15, await row_middle(page, "job"))
        assert await page.value(count) == "1 row, 5 not shown"
        await page.drawn()
        await page.value("document.getElementById('open').click()")
        assert await page.value(count) == "6 rows"

    look(small(), click)


def test_zoom_and_pan(look: Any) -> None:
    """Ctrl and the wheel zoom around the mouse, a drag moves, double click goes to a call, Fit shows all again."""

    async def zoom(page: Page) -> None:
        x, _ = await corner(page)
        window = "[timeline.view.from, timeline.view.to]"
        whole = await page.value(window)
        middle = await row_middle(page, "retried")
        before = await page.value("timeline.view.seconds(700)")
        await page.mouse("mouseWheel", x + 700, middle, deltaX=0, deltaY=-300, modifiers=2)
        await page.drawn()
        near = await page.value(window)
        assert near[1] - near[0] < 0.5 * (whole[1] - whole[0])
        assert await page.value("timeline.view.seconds(700)") == pytest.approx(before, abs=1e-6)
        await page.mouse("mousePressed", x + 700, middle, button="left", clickCount=1)
        await page.mouse("mouseMoved", x + 500, middle, button="left", buttons=1)
        await page.mouse("mouseReleased", x + 500, middle, button="left", clickCount=1)
        await page.drawn()
        moved = await page.value(window)
        assert moved[0] > near[0]
        assert moved[1] - moved[0] == pytest.approx(near[1] - near[0])
        await page.value("document.getElementById('fit').click()")
        assert await page.value(window) == whole

    look(small(), zoom)


def test_the_overview_chooses_a_time(look: Any) -> None:
    """A drag over the strip above shows that stretch of the run; a click in it goes there."""

    async def brush(page: Page) -> None:
        x, y, width, height = await page.value(
            "(({x, y, width, height}) => [x, y, width, height])"
            "(document.getElementById('overview').getBoundingClientRect())"
        )
        gutter, whole = await page.value("[timeline.view.gutter, timeline.view.whole]")
        scale = (width - gutter) / whole
        await page.mouse("mousePressed", x + gutter + scale, y + height / 2, button="left", clickCount=1)
        await page.mouse("mouseMoved", x + gutter + 2 * scale, y + height / 2, button="left", buttons=1)
        await page.mouse("mouseReleased", x + gutter + 2 * scale, y + height / 2, button="left", clickCount=1)
        await page.drawn()
        assert await page.value("timeline.view.from") == pytest.approx(1.0, abs=1.5 / scale)
        assert await page.value("timeline.view.to") == pytest.approx(2.0, abs=1.5 / scale)
        await page.click(x + gutter + 3 * scale, y + height / 2)
        await page.drawn()
        middle = "(timeline.view.from + timeline.view.to) / 2"
        assert await page.value(middle) == pytest.approx(3.0, abs=1.5 / scale)

    look(small(), brush)


def test_the_keyboard_reaches_everything(look: Any) -> None:
    """Arrows step through rows, open and close, plus and zero zoom and fit; each row is said to screen readers."""

    async def press(page: Page) -> None:
        await page.value("document.getElementById('chart').focus()")
        said = "document.getElementById('said').textContent"
        await page.key("ArrowDown")
        await page.key("ArrowDown")
        assert (await page.value(said)).startswith("retried, job/retried")
        await page.key("End")
        assert (await page.value(said)).startswith("failed")
        await page.key("ArrowLeft")
        assert (await page.value(said)).startswith("job")
        await page.key("ArrowLeft")
        assert await page.value("timeline.tree.shown().length") == 1
        await page.key("Enter")
        assert await page.value("timeline.tree.shown().length") == 6
        whole = await page.value("timeline.view.to")
        await page.key("+", "+")
        assert await page.value("timeline.view.to - timeline.view.from") < whole
        await page.key("0", "0")
        assert await page.value("timeline.view.to") == whole

    look(small(), press)


def test_rows_are_found_by_their_words(look: Any) -> None:
    """A search leaves the rows that hold all words, under their groups: names, states, statuses, retries, hedges."""

    async def find(page: Page) -> list[list[str]]:
        found = []
        for words in ("hedge", "429 retry", "CANCELLED", "connecterror", "nothing like it", ""):
            await page.value(
                "(() => { const box = document.getElementById('find');"
                f"box.value = '{words}'; box.dispatchEvent(new Event('input')); }})()"
            )
            found.append(await page.value("timeline.tree.shown().map((at) => timeline.data.rows[at].name)"))
        return found

    assert look(small(), find) == [
        ["job", "hedged"],
        ["job", "retried"],
        ["job", "cancelled"],
        ["job", "failed"],
        [],
        ["job", "retried", "hedged", "cancelled", "unsent", "failed"],
    ]


def test_hostile_names_stay_text(look: Any) -> None:
    """Names and errors that look like markup are shown to the letter, and no script of theirs runs."""
    evil = "</script><img src=x onerror=window.evil=1><script>window.evil=1</script>"
    refused = Attempt(0, "error", 0.0, 0.0, 0.1, None, 1.0, None, Cost(), 400, f"StatusError: {evil}")
    run = run_of(call(0, f"job/{evil.replace('/', '%2F')}", refused, state="error", model=evil), name=evil)

    async def read(page: Page) -> Any:
        x, y = await corner(page)
        await page.mouse("mouseMoved", x + 400, y + AXIS + 36)
        await page.drawn()
        return await page.value(
            "[window.evil, document.getElementById('name').textContent,"
            "document.querySelector('#card h2').textContent, document.images.length, document.title]"
        )

    ran, name, shown, images, title = look(run, read)
    assert (ran, name, shown, images) == (None, evil, evil, 0)
    assert title == f"{evil} · fanfold timeline"


def test_runs_of_any_shape_are_shown(look: Any) -> None:
    """A run without calls, one that took no time, and one that failed draw without a complaint."""

    async def outcome(page: Page) -> str:
        return await page.value("document.getElementById('outcome').textContent")

    assert look(run_of(), outcome) == ""
    assert look(run_of(call(0, "job", attempt(sent=0.0, ended=0.0))), outcome) == ""
    assert look(run_of(call(0, "job", attempt()), error=TimeoutError()), outcome) == "failed: TimeoutError"
    assert look(run_of(error=KeyboardInterrupt()), outcome) == "cancelled: KeyboardInterrupt"


@pytest.mark.parametrize(("said", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_a_browser(said: str, outcome: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Chromium the tests of pages are skipped with the reason; on CI that is a failure."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", said)
    with pytest.raises(outcome, match="make browser"):
        program()


@pytest.mark.timing
@pytest.mark.parametrize(("count", "seconds"), [(1_000, 2.0), (10_000, 6.0)])
def test_many_calls_load_fast(look: Any, count: int, seconds: float) -> None:
    """A thousand calls are drawn within two seconds of loading; ten thousand do not freeze the page."""

    async def scroll(page: Page) -> list[float]:
        assert len(await page.value("timeline.data.bars.map((bar) => bar.number)")) == count
        slow = (
            "(async () => { const chart = document.getElementById('chart'); let most = 0;"
            "for (let at = 0; at < 10; at++) { const began = performance.now(); chart.scrollTop += 500;"
            "timeline.view.zoom(1.1); for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
            "most = Math.max(most, performance.now() - began); } return most; })()"
        )
        return [await page.value("timeline.drawn"), await page.value(slow)]

    drawn, frame = look(large(count), scroll)
    assert drawn < seconds * 1e3
    assert frame < 1e3
