"""The session: which one a run takes, whose loop it belongs to, and when it ends."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from fanfold import Budget, OpenAI, RateLimit, Session, chain, prompt, step
from fanfold.calls.turnstile import SlotStatistics
from fanfold.core.clock import sleep
from fanfold.core.records import Request
from fanfold.errors import LoopError, ModelError, UsageError
from fanfold.session import session_for
from fanfold.testing import FakeModel, run_virtual
from tests.calls.scripted import in_turn, status
from tests.steps.running import Asked

ASK = prompt("{input}")


def saying(text: str) -> Session:
    """A session whose model says this."""
    return Session(FakeModel([text]))


# -- which session ------------------------------------------------------------------------------------------------


def test_the_given_session_goes_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, then that of the enclosing run, then the innermost entered, then the environment's."""
    monkeypatch.setenv("FANFOLD_MODEL", "fake:")

    @step
    async def enclosed(given: str) -> list[str]:
        async with saying("entered inside") as inside:
            return [
                await ASK(given),
                (await ASK.run(given, session=saying("given"))).output,
                (await ASK.run(given, session=inside)).output,
            ]

    async def main() -> list[str]:
        said = [(await ASK.run("q")).output]
        async with saying("outer") as outer:
            said.append(await ASK("q"))
            async with saying("inner"):
                said.append(await ASK("q"))
                said += (await enclosed.run("q", session=outer)).output
                said += await enclosed("q")
            said.append(await ASK("q"))
        return [*said, await ASK("q")]

    first, *said, last = run_virtual(main())
    assert first.startswith("[made up]")
    assert said == [
        "outer",
        "inner",
        "outer",
        "given",
        "entered inside",
        "inner",
        "given",
        "entered inside",
        "outer",
    ]
    assert last == first


def test_an_entered_session_is_its_tasks_own() -> None:
    """Tasks started inside the block see it; one that ran before does not."""

    async def main() -> list[str]:
        said = []

        async def other(seconds: float) -> None:
            await sleep(seconds)
            said.append(await ASK("q"))

        async with saying("outer"):
            before = asyncio.create_task(other(1))
            async with saying("inner"):
                during = asyncio.create_task(other(0))
                await asyncio.gather(before, during)
        return said

    assert run_virtual(main()) == ["inner", "outer"]


def test_a_session_entered_in_one_task_may_be_left_in_another() -> None:
    """As test fixtures do: it closes all the same."""

    async def main() -> bool:
        session = saying("x")
        await asyncio.create_task(session.__aenter__())
        assert (await ASK.run("q", session=session)).output == "x"
        await asyncio.create_task(session.__aexit__(None, None, None))
        return session.closed

    assert run_virtual(main())


@pytest.mark.parametrize("wrong", ["openai:gpt-4o", 3, FakeModel()])
def test_what_is_no_session_is_refused(wrong: Any) -> None:
    """A model or a name given as the session is named as such."""
    with pytest.raises(UsageError, match="is not a Session"):
        asyncio.run(ASK.run("q", session=wrong))


# -- the environment's session ------------------------------------------------------------------------------------


def test_a_loop_has_one_session_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a session share one; it closes when the loop shuts down, and the next loop has another."""
    monkeypatch.setenv("FANFOLD_MODEL", "fake:")

    async def main() -> Session:
        await asyncio.gather(ASK("a"), ASK("b"))
        session = await session_for(None)
        assert session is await session_for(None)
        assert session.statistics().calls == 2
        assert not session.closed
        return session

    first, second = asyncio.run(main()), asyncio.run(main())
    assert first is not second
    assert first.closed
    assert second.closed


def test_a_loop_that_is_gone_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's session does not hold its loop for ever: a hundred `asyncio.run` keep no hundred loops."""
    monkeypatch.setenv("FANFOLD_MODEL", "fake:")

    async def main() -> weakref.ref[Any]:
        await ASK("q")
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert loop() is None


def test_the_environment_is_read_when_a_call_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FANFOLD_MODEL the first call says so; set later, it serves."""

    async def main() -> str:
        async with Session():
            with pytest.raises(ModelError, match="FANFOLD_MODEL"):
                await ASK("q")
            monkeypatch.setenv("FANFOLD_MODEL", "fake:")
            return await ASK("q")

    assert run_virtual(main()).startswith("[made up]")


def test_the_sessions_model_goes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """FANFOLD_MODEL is a default, no override."""
    monkeypatch.setenv("FANFOLD_MODEL", "openai:none")

    async def main() -> str:
        async with saying("mine"):
            return await ASK("q")

    assert run_virtual(main()) == "mine"


# -- loops and ends -----------------------------------------------------------------------------------------------


def test_a_session_belongs_to_the_loop_that_uses_it_first() -> None:
    """A second loop is refused, with the way to enter it."""
    session = saying("x")
    asyncio.run(ASK.run("q", session=session))
    with pytest.raises(LoopError, match=r"(?s)another event loop.*async with.*run_sync"):
        asyncio.run(ASK.run("q", session=session))


@pytest.mark.parametrize(
    "options",
    [{"max_in_flight": 1}, {"rate_limits": RateLimit(requests=1)}, {"budget": Budget(tokens=200, max_tokens=100)}],
    ids=["slot", "rate", "budget"],
)
def test_a_call_that_waits_when_its_session_closes_is_told(options: dict[str, Any]) -> None:
    """It does not find out from a transport that is gone, nor does it wait for a turn that is worth nothing."""
    asked = 0

    def answer(request: Request) -> str:
        nonlocal asked
        asked += 1
        return "x"

    async def main() -> None:
        session = Session(FakeModel(answer, latency=1), **options)
        async with session:
            runs = [asyncio.ensure_future(ASK.run("q", session=session)) for _ in range(2)]
            await sleep(0.5)
        outcomes = await asyncio.wait_for(asyncio.gather(*runs, return_exceptions=True), 2)
        assert sorted(type(one).__name__ for one in outcomes) == ["LoopError", "Run"]
        assert "was closed while this call was under way" in str(outcomes[1])
        assert asked == 1
        assert session.statistics().slots == SlotStatistics(session.gate.limit, 0, 0)

    run_virtual(main())


@pytest.mark.parametrize("left", [0.05, 0.5], ids=["on the wire", "in its backoff"])
def test_a_call_between_two_sends_when_its_session_closes_is_told_at_once(left: float) -> None:
    """It found out at the end of its backoff, half a minute later; so did one whose send failed as that closed."""

    async def main() -> None:
        model = in_turn([0.1, status(500, retry_after=30.0)])
        async with Session(model) as session:
            run = asyncio.ensure_future(ASK.run("q", session=session))
            await sleep(left)
        with pytest.raises(LoopError, match="was closed while this call was under way"):
            await asyncio.wait_for(run, 0.1)
        assert len(model.sends) == 1
        assert session.statistics().retries[0].quota.spent == 0

    run_virtual(main())


def test_a_closed_session_serves_no_more() -> None:
    """After its block a session refuses runs; closing twice is fine."""

    async def main() -> None:
        async with saying("x") as session:
            pass
        await session.close()
        assert session.closed
        with pytest.raises(LoopError, match="this session is closed"):
            await ASK.run("q", session=session)
        with pytest.raises(LoopError, match="closed"):
            await session.__aenter__()

    run_virtual(main())


def test_an_error_in_the_block_closes_it_all_the_same() -> None:
    """The session is closed and left, and the error comes out."""

    async def main() -> Session:
        with pytest.raises(LookupError):
            async with saying("x") as session:
                raise LookupError
        with pytest.raises(ModelError):
            await ASK.run("q", session=Session())
        return session

    assert run_virtual(main()).closed


# -- models -------------------------------------------------------------------------------------------------------


def test_a_model_is_opened_once() -> None:
    """Names are kept by name, objects by identity; two equal objects are two models."""

    async def main() -> None:
        async with Session(api_key="k") as session:
            spec = OpenAI(name="x", base_url="http://127.0.0.1:9/v1")
            other = OpenAI(name="x", base_url="http://127.0.0.1:9/v1")
            assert spec == other
            assert session.line(spec) is session.line(spec)
            assert session.line(spec) is not session.line(other)
            assert session.line("ollama:x") is session.line("ollama:x")
            fake = FakeModel()
            assert session.line(fake).model is fake

    asyncio.run(main())


def test_an_identity_is_not_used_twice() -> None:
    """A model object that nobody else keeps stays with the session, so that no other takes its place."""

    async def main() -> None:
        async with Session() as session:
            texts = [
                (await prompt("{input}", model=FakeModel([str(at)])).run("q", session=session)).output
                for at in range(50)
            ]
            assert texts == [str(at) for at in range(50)]

    run_virtual(main())


def test_providers_have_their_own_keys_and_urls() -> None:
    """`api_key` and `base_url` are for the session's own provider; `providers` has those of others by name."""

    async def main() -> None:
        others = {"groq": {"api_key": "groq-key"}, "ollama": {"base_url": "http://127.0.0.1:9/v1"}}
        async with Session("mistral:large", api_key="own-key", providers=others) as session:
            own, groq, ollama = (session.line(name).model for name in (None, "groq:x", "ollama:x"))
            assert own.target.headers["Authorization"] == "Bearer own-key"
            assert groq.target.headers["Authorization"] == "Bearer groq-key"
            assert ollama.target.url.startswith("http://127.0.0.1:9/v1/")
            assert "Authorization" not in ollama.target.headers
            with pytest.raises(ModelError, match="no key for openai:x"):
                session.line("openai:x")

    asyncio.run(main())


@pytest.mark.parametrize("providers", ["sk-secret", {"groq": "sk-secret"}, {"groq": None}, ["sk-secret"]])
def test_what_maps_no_providers_to_options_is_refused_and_not_shown(providers: Any) -> None:
    """A key where a mapping belongs is told at once, without the key."""
    with pytest.raises(UsageError, match="providers= maps names of providers to their options") as caught:
        Session(providers=providers)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("model", ["nobody:x", "gpt-4o"])
def test_an_unknown_provider_is_known_at_once(model: str) -> None:
    """A session's own model is checked when the session is made; a missing key only matters to a call."""
    with pytest.raises(ModelError):
        Session(model)
    assert Session("openai:gpt-4o").closed is False


def test_no_key_is_shown() -> None:
    """A session's repr and its settings' hold no key."""
    session = Session("openai:gpt-4o", api_key="sk-secret", providers={"groq": {"api_key": "sk-other"}})
    assert "sk-" not in f"{session!r} {session.settings!r} {session.__dict__!r}"


# -- limits -------------------------------------------------------------------------------------------------------


class Counting(Asked):
    """A model that counts how many requests it has at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(["x"], **options)
        self.now = self.most = 0

    async def send(self, request: Any, watch: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().send(request, watch)
        finally:
            self.now -= 1


@pytest.mark.parametrize("limit", [1, 3, 64])
def test_no_more_calls_are_on_the_wire_than_allowed(limit: int) -> None:
    """Whatever runs and however it ends, at most `max_in_flight` requests are out at once, over all runs."""
    model = Counting(latency=lambda request: len(str(request.messages)) % 7 / 10)

    async def main() -> Any:
        async with Session(model, max_in_flight=limit) as session:
            runs = [asyncio.create_task(chain(ASK, ASK).run("q" * (at % 9), session=session)) for at in range(100)]
            await sleep(1)
            for run in runs[::7]:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
            return session.statistics()

    held = run_virtual(main())
    assert model.most == limit
    assert (held.slots.in_use, held.slots.waiting, held.slots.limit) == (0, 0, limit)


def test_the_first_to_wait_is_the_first_to_be_sent() -> None:
    """Slots are given in the order in which calls came for them."""
    model = Counting(latency=1)

    async def main() -> None:
        async with Session(model, max_in_flight=2) as session:
            await asyncio.gather(*(ASK.run(str(at), session=session) for at in range(10)))

    run_virtual(main())
    assert model.texts == [str(at) for at in range(10)]


def test_statistics_say_what_is_held_now() -> None:
    """Slots in use, calls that wait, calls seen; all but the last are 0 at rest."""

    async def main() -> None:
        async with Session(Counting(latency=1), max_in_flight=2) as session:
            runs = [asyncio.create_task(ASK.run("q", session=session)) for _ in range(5)]
            await sleep(0.5)
            held = session.statistics()
            assert (held.slots.limit, held.slots.in_use, held.slots.waiting) == (2, 2, 3)
            assert (held.calls, held.sockets) == (5, 0)
            await asyncio.gather(*runs)
            rest = session.statistics()
            assert (rest.slots.in_use, rest.slots.waiting, rest.calls) == (0, 0, 5)

    run_virtual(main())


@pytest.mark.parametrize("limit", [0, -1])
def test_at_least_one_call_must_be_allowed(limit: int) -> None:
    """A session that could never call is refused."""
    with pytest.raises(UsageError, match="at least one call"):
        Session(max_in_flight=limit)
