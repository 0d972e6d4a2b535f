"""What cannot be shared with workers, or sent to them, is refused in words; what comes from them is whole."""

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import Budget, Hedge, Session, prompt, step
from fanfold import errors as tree
from fanfold.calls.amounts import Amount
from fanfold.calls.budget import Purse
from fanfold.core.records import Cost
from fanfold.errors import BranchError, BudgetError, FanfoldError, RowError, StatusError, StepTimeout, UsageError
from fanfold.steps.row import Row, Terms
from fanfold.steps.workers.packing import packed, unpacked
from fanfold.steps.workers.ray_cluster import RayCluster
from fanfold.testing import run_virtual
from tests.workers.here import HereCluster

Here = Callable[..., HereCluster]


async def first(what: Any, rows: Any = ({"text": "a"},), **options: Any) -> list[Row[Any]]:
    """All rows of a small map over workers."""
    async with what.map(rows, engine="ray", **options) as done:
        return [row async for row in done]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": "sk-x"}, "api_key is not sent"),
        ({"providers": {"groq": {"api_key": "k"}}}, "api_key is not sent"),
        ({"on_event": print}, "on_event hears nothing"),
        ({"max_queued": 5}, "max_queued= counts"),
    ],
)
def test_a_session_that_workers_cannot_have(here: Here, options: dict[str, Any], words: str) -> None:
    """Keys stay where they are, and what only one process can do is named."""
    here()
    with pytest.raises(UsageError, match=words):
        run_virtual(first(prompt("{text}"), session=Session("openai:m", **options)))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"engine": "spark"}, "engine='spark'"),
        ({"workers": 2}, "engine='ray'"),
        ({"engine": "ray", "workers": 0}, "at least one"),
    ],
)
def test_an_engine_that_is_not_there(terms: dict[str, Any], words: str) -> None:
    """Unknown engines and impossible workers are refused at once."""
    with pytest.raises(UsageError, match=words):
        Terms(**terms)


def test_a_map_inside_a_step_has_no_workers(here: Here) -> None:
    """A map over workers begins outside of steps."""
    here()

    @step
    async def outer(given: str) -> int:
        return len(await first(prompt("{text}", model="fake:")))

    with pytest.raises(UsageError, match="outside of all steps"):
        run_virtual(outer("x"))


def test_what_cannot_be_sent(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step or a row that cannot be pickled is named, with the reason."""
    cluster = here()
    monkeypatch.setattr(cluster, "dumps", refuse)
    with pytest.raises(UsageError, match=r"step 'prompt' cannot be sent to workers.*a lock"):
        run_virtual(first(prompt("{text}", model="fake:")))

    cluster = here()
    dumps = cluster.dumps
    monkeypatch.setattr(cluster, "dumps", lambda thing: refuse(thing) if isinstance(thing, tuple) else dumps(thing))
    rows = run_virtual(first(prompt("{text}", model="fake:"), on_error="skip"))
    assert "the row, a dict, cannot be sent" in str(rows[0].error)


def refuse(thing: Any) -> bytes:
    raise UsageError("a lock")


def test_a_budget_that_is_spent_begins_nothing(here: Here) -> None:
    """Where nothing is left no worker is asked for, and the error says so."""
    here()

    async def run() -> None:
        async with Session("fake:", budget=Budget(calls=3)) as session:
            assert isinstance(session.purse, Purse)
            session.purse.charged = Amount(calls=3)
            with pytest.raises(BudgetError, match="3 calls"):
                await asyncio.wait_for(first(prompt("{text}"), session=session), 5)

    run_virtual(run())


def test_a_worker_s_session_is_like_the_driver_s(here: Here) -> None:
    """What a session was told goes along: its model, limits, patience, policy, transport."""
    cluster = here(1)

    async def run() -> None:
        hedge = Hedge()
        session = Session(
            "fake:9", max_in_flight=7, patience=9, timeout=8, idle_timeout=4, attempts=2, hedge=hedge, transport="wreq"
        )
        async with session, prompt("{text}").map([{"text": "a"}], session=session, engine="ray") as rows:
            async for _ in rows:
                theirs = cluster.lives[0].worker.session
                assert theirs is not None
                assert theirs.settings == session.settings
                assert theirs.gate.limit == 7
                assert theirs.road.policy == session.road.policy
                assert (theirs.road.timeout, theirs.road.lanes.patience) == (8, 9)

    run_virtual(run())


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray the error names what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"install fanfold\[ray\]"):
        RayCluster("ray", None)


class Plain:
    """A cluster as far as packing sees it, by pickle."""

    def dumps(self, thing: Any) -> bytes:
        try:
            return pickle.dumps(thing)
        except Exception as error:
            raise UsageError(str(error)) from error

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


class Odd(Exception):
    """An error that pickle cannot make again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "name"),
    [(Odd(1, 2), "Odd"), (ValueError("no"), "ValueError"), (StatusError("s", status=500), "StatusError")],
)
def test_an_error_keeps_its_name_and_words(error: Exception, name: str) -> None:
    """Whatever an error is, the driver sees its name and its words, and of one that can travel all of it."""
    # A type made on the way has no home to be found in by pickle, as it has by Ray's.
    cluster: Any = Keeping() if name == "Odd" else Plain()
    row = Row(1, "1", None, error=error)
    found = unpacked(packed(row, row, cluster), cluster).row.error
    assert (type(found).__name__, str(found)) == (name, str(error))
    assert isinstance(found, FanfoldError) == isinstance(error, FanfoldError)


class Keeping(Plain):
    """Pickle that may refer to what stands in this process."""

    def __init__(self) -> None:
        self.kept: Any = None

    def dumps(self, thing: Any) -> bytes:
        if isinstance(thing, tuple):
            self.kept = thing
            return b"kept"
        return super().dumps(thing)

    def loads(self, data: bytes) -> Any:
        return self.kept if data == b"kept" else pickle.loads(data)


def test_what_cannot_come_back() -> None:
    """An output that cannot travel fails its row in words; a detail that cannot is left out."""
    cluster: Any = Plain()
    stuck = Row(1, "1", None, output=lambda: 1)
    error = unpacked(packed(stuck, stuck, cluster), cluster).row.error
    assert "a function, cannot be brought from the worker" in str(error)
    detailed = Row(1, "1", None, output=5, detail=lambda: 1, calls=3)
    outcome = unpacked(packed(detailed, detailed, cluster), cluster)
    assert (outcome.row.output, outcome.row.detail, outcome.row.calls) == (5, None, 3)
    left = outcome.unkept(Row(7, "k", "in"))
    assert (left.number, left.key, left.input, left.output, left.calls) == (7, "k", "in", None, 3)


def every_error() -> list[FanfoldError]:
    """One of each kind of the tree, with all that it carries."""
    cause = ValueError("inner")
    made: list[FanfoldError] = [
        StatusError("s", status=429, body="b", code="c", model="m", place="p", retry_after=2.0),
        BudgetError("b", unit="usd", limit=1, spent=0.5, needed=0.6, left=0.5),
        BranchError("one", cause, {"two": 2}),
        RowError(Row(3, "3", None, error=cause), "why"),
        StepTimeout("late", seconds=2.0, finished={"a": 1}),
        tree.SilenceError("quiet", seconds=3.0),
        tree.StreamCut("cut", text="so far"),
        tree.QuorumError("few", missing={"a": "b"}),
        tree.TieError("tie", tied=(1, 2)),
        tree.ParseError("what", text="text"),
        tree.JournalLocked("mine", pid=7),
        tree.WorkersError("gone"),
    ]
    for error in made:
        error.add_note("not sent again")
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: FanfoldError) -> None:
    """Words, notes, cause and what an error carries are the same in another process; its run stays behind."""
    error.run = object()
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), found.args) == (type(error), str(error), error.args)
    mine = {name: value for name, value in vars(error).items() if name not in {"run", "row"}}
    assert {name: value for name, value in vars(found).items() if name != "row"} == mine
    assert repr(found.__cause__) == repr(error.__cause__)
    assert found.run is None


class Moody(Exception):
    """An error that pickle takes and cannot make again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_a_row_that_cannot_be_read_here_has_its_cost() -> None:
    """An output that cannot be made anew fails its row, and leaves what it took; such a detail is left out."""
    cluster: Any = Plain()
    moody = Row(1, "1", None, output=[Moody(1, 2)], calls=3, cost=Cost(0.5, 0.5))
    row = unpacked(packed(moody, moody, cluster), cluster).row
    assert "cannot be read here" in str(row.error)
    assert (row.output, row.calls, row.cost) == (None, 3, Cost(0.5, 0.5))
    detailed = Row(1, "1", None, output=5, detail=[Moody(1, 2)], calls=3)
    row = unpacked(packed(detailed, detailed, cluster), cluster).row
    assert (row.output, row.detail, row.calls, row.error) == (5, None, 3, None)


class Wary(Plain):
    """Pickle that takes classes made on the way, as Ray's does."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def dumps(self, thing: Any) -> bytes:
        self.kept.append(thing)
        return str(len(self.kept) - 1).encode()

    def loads(self, data: bytes) -> Any:
        found = self.kept[int(data)]
        if isinstance(found, Moody) or isinstance(getattr(found, "__cause__", None), Moody):
            raise TypeError("Moody.__init__() missing 1 required positional argument")
        return found


def test_an_error_keeps_its_kind_whatever_its_cause() -> None:
    """A cause that cannot travel is told in words, and does not take the error around it along."""
    cluster: Any = Wary()
    failed = Row(1, "1", None, error=BranchError("b", Moody(1, 2), {"a": 1}))
    error = unpacked(packed(failed, failed, cluster), cluster).row.error
    assert isinstance(error, BranchError)
    assert error.finished == {"a": 1}
    assert (type(error.__cause__).__name__, str(error.__cause__)) == ("Moody", "1 and 2")
