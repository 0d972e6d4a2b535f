"""A map over workers, in virtual time and without Ray: the same rows as here, whoever dies, and no limit is passed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fanfold import Budget, RateLimit, Request, Session, chain, prompt, vote
from fanfold.calls.ledger import EXPIRY
from fanfold.core.clock import now, sleep
from fanfold.data.files import Places
from fanfold.data.state import read_state
from fanfold.data.table import Table
from fanfold.errors import AccessError, BudgetError, CallError, RowError, UsageError, WorkersError
from fanfold.journal import Journal
from fanfold.journal.entries import digest_of
from fanfold.journal.far import Owner
from fanfold.steps.row import Row
from fanfold.testing import FakeModel, Limits, SimulatedModel, run_virtual
from tests.data.tables import numbered, table
from tests.workers.here import HereCluster

Here = Callable[..., HereCluster]
ROWS = [{"id": f"k{at}", "text": f"row {at}"} for at in range(60)]


def say(request: Request) -> str:
    return f"{request.messages[-1].content}, {request.draw.ordinal}"


def two_calls(model: Any) -> Any:
    """Two calls a row, one after the other."""
    return chain(prompt("A {text}", model=model, name="a"), prompt("B {input}", model=model, name="b"))


async def mapped(what: Any, rows: Any, session: Session, during: Any = None, **options: Any) -> list[Row[Any]]:
    """All rows of a map; `during` runs beside it."""
    beside = None if during is None else asyncio.create_task(during)
    try:
        async with what.map(rows, session=session, engine="ray", **options) as done:
            return [row async for row in done]
    finally:
        if beside is not None:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)


async def kill(cluster: HereCluster, actor: int, after: float) -> None:
    """Kill a worker after so many seconds."""
    await sleep(after)
    cluster.kill(actor)


def told(rows: list[Row[Any]]) -> list[Any]:
    """What must be equal wherever a row ran."""
    return [
        (row.number, row.key, row.input, row.output, str(row.error), row.calls, row.usage, row.cost) for row in rows
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_are_those_of_the_local_engine(here: Here, *, ordered: bool) -> None:
    """What two workers make of the rows is what this process makes of them, in order if that is asked for."""
    model = FakeModel(say, latency=lambda request: 0.05 * (len(str(request.messages)) % 7))

    async def run(engine: str) -> list[Row[Any]]:
        options: Any = {"key": "id", "ordered": ordered, "engine": engine}
        async with Session(max_in_flight=8), two_calls(model).map(ROWS, **options) as done:
            return [row async for row in done]

    local = run_virtual(run("local"))
    here()
    found = run_virtual(run("ray"))
    assert not ordered or [row.number for row in found] == list(range(60))
    assert sorted(told(found)) == sorted(told(local))


class Watched(FakeModel):
    """A model that refuses to be asked what the journal has, and counts."""

    def __init__(self, recorded: set[bytes]) -> None:
        super().__init__(say, latency=0.1)
        self.recorded = recorded
        self.sent: Counter[bytes] = Counter()

    async def send(self, request: Request, watch: Any) -> Any:
        name = digest_of(self.label.encode(), request.key())
        assert name not in self.recorded, f"asked again: {request}"
        self.sent[name] += 1
        return await super().send(request, watch)


@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.parametrize("at", [0.25, 0.75, 1.15])
def test_no_row_runs_again_after_its_reply_was_recorded(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float, key: str | None
) -> None:
    """A worker is killed on the way: the same rows, and at most what was in flight is sent again, nothing recorded."""
    recorded: set[bytes] = set()
    keep = Owner.keep

    async def kept(owner: Owner, entries: Any) -> None:
        await keep(owner, entries)
        recorded.update(entry.digest for entry in entries if entry.kind == "call" and '"reply"' in entry.body)

    monkeypatch.setattr(Owner, "keep", kept)
    model, cluster, flying = Watched(recorded), here(), 0

    async def killer() -> None:
        nonlocal flying
        await sleep(at)
        assert cluster.hub is not None
        flying = cluster.hub.ledger.in_use
        cluster.kill(0)

    async def run() -> list[Row[Any]]:
        async with Session(max_in_flight=8, journal=Journal(tmp_path / "runs.db")) as session:
            rows = await mapped(two_calls(model), ROWS, session, killer(), key=key)
            assert session.journal is not None
            assert session.journal.statistics().runs == 0
        return rows

    rows = run_virtual(run())
    assert [row.output for row in rows] == [f"B A row {n}, 0, 0" for n in range(60)]
    assert cluster.born == 3
    assert len(model.sent) == 120
    assert 120 <= sum(model.sent.values()) <= 120 + flying


@pytest.mark.parametrize("window", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("given", [True, False])
def test_eight_workers_keep_to_one_limit(here: Here, *, given: bool, window: Any) -> None:
    """Eight workers on one key, one killed: no minute sees more than 1.01 × the limit; told only in headers, too."""
    limits = Limits(rpm=300, window=window, burst=10 if window == "bucket" else None, headers=not given)
    model = SimulatedModel(lambda request: "x", limits=limits, latency=0.4)
    cluster = here(8)
    rates = RateLimit(requests=300) if given else None

    async def run() -> float:
        async with Session(max_in_flight=64, rate_limits=rates) as session:
            rows = await mapped(prompt("{text}", model=model), _rows(700), session, kill(cluster, 3, 30.0))
            assert all(row.error is None for row in rows)
        return now()

    took = run_virtual(run())
    sent = sorted(seen.received for seen in model.service.book.seen)
    most = max(sum(at <= other < at + 60 for other in sent) for at in sent[::7])
    assert most <= 303 if given else most <= 333  # before the first header nobody knows
    assert model.service.statistics().refused <= (0 if given else 64)
    assert took < 1.15 * 700 / 300 * 60 + EXPIRY


def _rows(count: int) -> list[dict[str, str]]:
    return [{"text": f"row {at}"} for at in range(count)]


def test_a_killed_worker_s_share_returns(here: Here) -> None:
    """The slots of a worker that died, and does not come back, are others' after `EXPIRY` seconds at most."""
    cluster = here(2, restarts=False)
    model = FakeModel(say, latency=1.0)
    free: list[float] = []

    async def killer() -> None:
        await sleep(3.5)
        assert cluster.hub is not None
        ledger = cluster.hub.ledger
        victim = max(cluster.lives, key=lambda actor: len(ledger.holders[cluster.lives[actor].name].permits))
        name, other, at = cluster.lives[victim].name, cluster.lives[1 - victim].name, cluster.kill(victim)
        assert ledger.holders[name].permits
        while name in ledger.holders:
            assert ledger.in_use <= 8
            await sleep(0.05)
        free.append(now() - at)
        await sleep(2.1)
        assert len(ledger.holders[other].permits) == 8

    async def run() -> None:
        async with Session(max_in_flight=8) as session:
            text = prompt("{text}", model=model)
            with suppress(TimeoutError):
                async with asyncio.timeout(25):
                    await mapped(text, _rows(400), session, max_in_flight=64, ordered=False)

    async def both() -> None:
        await asyncio.gather(killer(), run())

    run_virtual(both())
    assert 0 < free[0] <= EXPIRY + 0.1


@pytest.mark.parametrize("kills", [0, 2])
@pytest.mark.parametrize("usd", [0.0101, 0.05, 0.2])
def test_no_bill_passes_a_budget(here: Here, usd: float, kills: int) -> None:
    """Whoever dies on the way, what the server bills is at most the budget; and without deaths most of it is used."""
    model = SimulatedModel(lambda request: "x " * 40, price=(10.0, 40.0), latency=0.3)
    cluster = here(4)

    async def killer() -> None:
        for actor in range(kills):
            await sleep(0.5)
            cluster.kill(actor)

    async def run() -> None:
        # A worst case is a hundred output tokens and the input's bytes: 0.0042 to 0.0044 dollars.
        asks = vote(prompt("{text}", model=model, max_tokens=100), 2, stop=None)
        async with Session(max_in_flight=16, budget=Budget(usd=usd)) as session:
            with pytest.raises(BudgetError, match="cannot cover"):
                await mapped(asks, _rows(400), session, killer())
            purse = session.statistics().budget
            assert purse is not None
            assert purse.usd is not None
            assert purse.usd.reserved == 0
            assert model.bill.usd <= purse.usd.charged + 1e-9 <= usd + 2e-9

    run_virtual(run())
    assert model.bill.usd <= usd
    if not kills:
        assert model.bill.usd >= usd - 4 * 0.01


def test_a_budget_that_suffices_refuses_nothing(here: Here) -> None:
    """Money that waits with one worker comes to another that lacks it."""
    model = SimulatedModel(lambda request: "x", price=(10.0, 40.0), latency=0.3)
    here(8)

    async def run() -> list[Row[Any]]:
        async with Session(max_in_flight=16) as session:
            return await mapped(
                prompt("{text}", model=model, max_tokens=100), _rows(100), session, budget=Budget(usd=0.02)
            )

    rows = run_virtual(run())
    assert all(row.error is None for row in rows)
    assert model.bill.usd <= 0.02


def test_a_table_s_budget_is_written_down_before_it_is_lent(here: Here, tmp_path: Path) -> None:
    """At no moment has a table by workers cost more than its state says that it may have; in the end it is exact."""
    model = SimulatedModel(lambda request: "x", price=(10.0, 40.0), latency=0.002)
    here()
    out, told = tmp_path / "out.jsonl", list[float]()
    budget = Budget(usd=0.2)

    async def watch(making: Table) -> None:
        while True:
            await sleep(0.005)
            billed, state = model.bill.usd, await asyncio.to_thread(read_state, Places(out).state)
            if state is not None and state.phase == "running" and making.files is not None:
                assert billed <= state.most
                told.append(state.most)

    async def run() -> None:
        source, asks = numbered(tmp_path / "in.jsonl", 150), prompt("{text}", model=model, max_tokens=20)
        making = table(asks, source, out, engine="ray", budget=budget, journal=True)
        beside = asyncio.create_task(watch(making))
        assert (await making.make()).done == 150
        beside.cancel()
        with suppress(asyncio.CancelledError):
            await beside

    asyncio.run(run())
    assert len(set(told)) > 2
    state = read_state(Places(out).state)
    assert state is not None
    assert model.bill.usd <= state.most <= model.bill.usd * 1.01


def test_failed_rows_are_told_as_here(here: Here) -> None:
    """A failed row ends the map after what had finished, or comes with its error; too many end it."""

    def picky(request: Request) -> str | Exception:
        text = str(request.messages[-1].content)
        return CallError(f"not {text}", model="fake:") if text.endswith("3") else text

    async def run(**options: Any) -> list[Row[Any]]:
        here()
        async with Session(max_in_flight=4) as session:
            return await mapped(prompt("{text}", model=FakeModel(picky)), _rows(30), session, **options)

    rows = run_virtual(run(on_error="skip"))
    assert [row.number for row in rows if row.error is not None] == [3, 13, 23]
    assert type(rows[3].error) is CallError
    assert rows[3].calls == 1
    with pytest.raises(RowError, match="row 3"):
        run_virtual(run())
    with pytest.raises(RowError, match="max_failures=1"):
        run_virtual(run(max_failures=1))


def test_a_wrong_key_ends_the_map(here: Here) -> None:
    """A fatal error at one worker ends all, with the error itself."""
    here()

    async def run() -> None:
        async with Session() as session:
            wrong = FakeModel(lambda request: AccessError("no such key", model="fake:"))
            await mapped(prompt("{text}", model=wrong), _rows(30), session, on_error="skip")

    with pytest.raises(AccessError, match="no such key"):
        run_virtual(run())


def test_a_block_that_comes_twice_is_run_once(here: Here) -> None:
    """An engine may hand a block to a worker that has it under way: its rows go on, and none is asked twice."""
    model, cluster = SimulatedModel(lambda request: "x", latency=1.0), here(1)

    async def twice() -> None:
        await sleep(0.5)
        for index in list(cluster.blocks):
            cluster.give(index)

    async def run() -> list[Row[Any]]:
        async with Session(max_in_flight=8) as session:
            return await mapped(prompt("{text}", model=model), _rows(8), session, twice())

    assert [row.output for row in run_virtual(run())] == ["x"] * 8
    assert len(model.service.book.seen) == 8


def test_leaving_calls_off_what_runs(here: Here) -> None:
    """Who stops reading leaves nothing behind, and of what was called off the cost is known."""
    cluster = here()
    model = SimulatedModel(lambda request: "x", price=(10.0, 40.0), latency=2.0)

    async def run() -> None:
        before = asyncio.all_tasks()
        async with Session(max_in_flight=8) as session:
            async with prompt("{text}", model=model, max_tokens=9).map(
                _rows(50), session=session, engine="ray"
            ) as rows:
                async for _ in rows:
                    break
            left = rows.lost()
            assert sum(row.calls for row in left) >= 7
            assert all(isinstance(row.error, asyncio.CancelledError) for row in left if row.calls and not row.output)
            assert rows.traffic() is not None
        await sleep(0.1)
        assert asyncio.all_tasks() == before

    run_virtual(run())
    assert cluster.hub is None


def test_a_lost_cluster_ends_the_map(here: Here) -> None:
    """Where all workers are gone for good, what had finished is handed over, and an error says so."""
    cluster, ended = here(), list[str]()

    async def burn() -> None:
        await sleep(1.0)
        cluster.lose()

    async def run() -> int:
        done = 0
        async with Session(max_in_flight=4) as session:
            beside = asyncio.create_task(burn())
            text = prompt("{text}", model=FakeModel(say, latency=0.2))
            async with text.map(_rows(90), session=session, engine="ray", budget=Budget(calls=1000)) as rows:
                try:
                    async for _ in rows:
                        done += 1
                except WorkersError as error:
                    ended.append(str(error))
            await beside
        return done

    assert 8 <= run_virtual(run()) <= 24
    assert ended == ["the cluster burned down"]


def test_a_row_that_kills_its_workers_ends_the_map(here: Here) -> None:
    """Workers are not started for ever: a row that five of them died of is named."""
    cluster = here(1)

    def deadly(request: Request) -> str:
        if request.messages[-1].content == "row 3":
            asyncio.get_running_loop().call_soon(cluster.kill, 0)
        return "x"

    async def run() -> None:
        async with Session(max_in_flight=1) as session:
            await mapped(prompt("{text}", model=FakeModel(deadly)), _rows(9), session)

    with pytest.raises(WorkersError, match="row 3 was begun 5 times"):
        run_virtual(run())


def test_a_map_that_cannot_start_spends_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set apart for it is there again."""
    cluster = here()
    monkeypatch.setattr(cluster, "dumps", lambda thing: (_ for _ in ()).throw(UsageError("a lock")))

    async def run() -> None:
        async with Session("fake:", budget=Budget(calls=9)) as session:
            with pytest.raises(UsageError, match="a lock"):
                await mapped(prompt("{text}"), _rows(9), session)
            budget = session.statistics().budget
            assert budget is not None
            assert budget.calls is not None
            assert budget.calls.remains == 9

    run_virtual(run())


def test_a_worker_that_fell_silent_is_ended(here: Here) -> None:
    """A worker whose lease is over stops by itself, and its rows run elsewhere: each once."""
    cluster = here()
    model = FakeModel(say, latency=0.5)

    async def silence() -> None:
        await sleep(0.7)
        assert cluster.hub is not None
        cluster.hub.ledger.leave(cluster.lives[0].name)
        await sleep(2.2)
        assert cluster.lives[0].dead
        cluster.begin(0)

    async def run() -> list[Row[Any]]:
        async with Session(max_in_flight=8) as session:
            return await mapped(prompt("{text}", model=model), _rows(80), session, silence())

    rows = run_virtual(run())
    assert [row.output for row in rows] == [f"row {n}, 0" for n in range(80)]
