"""Races and fallbacks: the first success counts."""

from typing import Any

import pytest

from fanfold import chain, fallback, race, step
from fanfold.core.clock import now
from fanfold.errors import AccessError, ConnectError, QuorumError, StepTimeout, StreamCut, UsageError
from fanfold.steps.race import Raced
from tests.patterns.hearing import MARK, ask, heard, saying
from tests.steps.running import failed, ran, taking


def test_the_first_success_wins_and_the_others_are_cancelled() -> None:
    """The output is the fastest success; the losers' calls are cancelled, and nothing is left of them."""
    fake = saying({"slow": (2.0, "s"), "fast": (1.0, "f"), "wrong": (0.5, ConnectError("down"))})
    run = ran(race(ask("slow"), ask("fast"), ask("wrong")), model=fake)
    assert run.output == "f"
    assert run.wall == pytest.approx(1.0, abs=1e-2)
    assert sorted(call.state for call in run.calls) == ["cancelled", "error", "ok"]
    assert run.detail == Raced("fast", {"wrong": "ConnectError: down"})
    with pytest.raises(TypeError):
        bool(run.detail)


@pytest.mark.parametrize("way", ["text", "updates", "events"])
def test_the_text_of_losers_is_never_heard(way: str) -> None:
    """A loser that has streamed for a second is not heard; the winner's text is, whole, at its end."""
    fake = saying({"slow": (3.0, f"{MARK} {MARK} {MARK}"), "fast": (2.0, "one two")})
    found = heard(race(ask("slow"), ask("fast")), way, fake)
    assert found.run.output == "one two"
    assert MARK not in found.everything()
    if way == "text":
        assert [(round(at, 2), piece) for at, piece in found.items] == [(2.0, "one "), (2.0, "two")]


def test_a_stagger_spaces_the_starts() -> None:
    """The second starts a second after the first, unless that has answered or failed by then."""
    fake = saying({"one": (2.5, "1"), "two": (1.0, "2"), "three": (9.0, "3")})
    run = ran(race(ask("one"), ask("two"), ask("three"), stagger=1.0), model=fake)
    assert run.output == "2"
    assert {call.place: round(call.sent or 0, 2) for call in run.calls} == {
        "race/one": 0.0,
        "race/two": 1.0,
    } | ({"race/three": 2.0} if len(run.calls) == 3 else {})
    quick = saying({"one": (0.5, "1"), "two": (1.0, "2")})
    assert ran(race(ask("one"), ask("two"), stagger=1.0), model=quick).times_one_call == 1


def test_a_failure_starts_the_next_at_once() -> None:
    """A staggered race does not wait out the pause after a failure."""
    pattern = race(taking(0.2, ConnectError("down")), ask("two"), stagger=5.0)
    assert ran(pattern, model=saying({"two": (0.5, "2")})).wall == pytest.approx(0.7, abs=1e-2)


def test_when_all_fail_each_is_named() -> None:
    """The error names every branch with its reason, and holds none of their text."""
    fake = saying({"one": (0.2, ConnectError("down")), "two": (0.1, "no number")})
    error = failed(race(ask("one"), ask("two", returns=int)), QuorumError, model=fake)
    assert list(error.missing) == ["two", "one"] or list(error.missing) == ["one", "two"]
    assert error.missing["one"] == "ConnectError: down"
    assert "one: ConnectError: down" in str(error)
    assert isinstance(error.__cause__, ConnectError)


def test_a_race_has_a_timeout() -> None:
    """Without any success in time it is a `StepTimeout` that says who failed meanwhile."""
    error = failed(race(taking(5), taking(0.5, ValueError("bad"), name="bad"), timeout=1), StepTimeout)
    assert error.run.wall == pytest.approx(1.0, abs=1e-2)
    assert "bad: ValueError: bad" in str(error)


def test_fatal_errors_end_a_race() -> None:
    """A wrong key is not outrun."""
    fake = saying({"one": (0.1, AccessError("key")), "two": (1.0, "2")})
    failed(race(ask("one"), ask("two")), AccessError, model=fake)
    failed(fallback(ask("one"), ask("two")), AccessError, model=fake)


def test_steps_of_one_name_are_numbered() -> None:
    """Where names repeat, branches are "0", "1", …; a race of none is refused."""
    assert ran(race(taking(2, "a"), taking(1, "b"))).detail.winner == "1"
    with pytest.raises(UsageError):
        race()
    with pytest.raises(UsageError):
        fallback()
    with pytest.raises(UsageError):
        race(taking(1), stagger=0)


def test_a_fallback_goes_in_order_and_only_on() -> None:
    """The next is tried only when one has failed; the times add up."""
    fake = saying({"two": (0.5, "2"), "three": (0.1, "3")})
    run = ran(fallback(taking(0.5, ConnectError("down"), name="one"), ask("two"), ask("three")), model=fake)
    assert run.output == "2"
    assert [text.partition(":")[0] for text in fake.texts] == ["two"]
    assert run.wall == pytest.approx(1.0, abs=1e-2)
    assert run.detail == Raced("two", {"one": "ConnectError: down"})
    assert ran(fallback(taking(1, "a"), taking(1, "b"))).wall == pytest.approx(1.0, abs=1e-2)


class Cutting:
    """A model whose streams break after some text."""

    label = "cut:"
    made_up = True
    structured = False
    given_rate: Any = None

    async def send(self, request: Any, watch: Any) -> Any:
        watch.sent()
        watch.text(f"{MARK} and")
        raise StreamCut(f"cut at {MARK}", text=MARK)


@pytest.mark.parametrize("way", ["text", "updates", "events"])
def test_the_text_and_the_error_of_a_failed_try_are_not_heard(way: str) -> None:
    """A stream that breaks is not heard; the text is that of the step that took over."""
    pattern = chain(str.strip, fallback(ask("first", model=Cutting()), ask("second")))
    found = heard(pattern, way, saying({"second": (0.5, "whole text")}))
    assert found.run.output == "whole text"
    assert MARK not in repr([found.items, found.told, found.run.events])
    if way == "text":
        assert found.text == "whole text"


def test_a_start_brought_forward_by_a_failure_moves_the_next_one() -> None:
    """The second starts when the first fails at 0.2 s; the third starts a whole stagger after that, not at 2 s."""
    starts: dict[str, float] = {}

    def noting(name: str, seconds: float, outcome: Any) -> Any:
        async def note(given: Any) -> Any:
            starts[name] = now()
            return await taking(seconds, outcome)(given)

        return step(name=name)(note)

    run = ran(race(noting("a", 0.2, ValueError("bad")), noting("b", 9, "b"), noting("c", 0.1, "c"), stagger=1))
    assert run.output == "c"
    assert starts == {
        "a": pytest.approx(0, abs=1e-3),
        "b": pytest.approx(0.2, abs=1e-3),
        "c": pytest.approx(1.2, abs=1e-3),
    }


def test_a_fallback_that_was_not_needed_saves_nothing() -> None:
    """The next is asked only when one fails, so no call was planned that was spared; in a race it was."""
    fake = saying({"first": (0.1, "f"), "second": (0.1, "s")})
    assert ran(fallback(ask("first"), ask("second")), model=fake).saved.calls == 0
    assert ran(race(ask("first"), ask("second"), stagger=1.0), model=fake).saved.unsent == 1
