"""The sync door: steps from scripts, notebooks and running loops, through one background thread."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from blockbuster import BlockBuster

from fanfold import Session, chain, gather, prompt, sections, step, vote
from fanfold.core import door
from fanfold.core.clock import sleep
from fanfold.errors import BranchError, LoopError, ModelError, UsageError
from fanfold.testing import FakeModel, ModelServer

ASK = prompt("{input}")


def script(tmp_path: Path, source: str) -> Path:
    """Write a script whose warnings are errors when it is run by `python`."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(source), "utf-8")
    return path


def python(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with warnings as errors; what goes wrong at its end shows on stderr."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def says(done: subprocess.CompletedProcess[str]) -> str:
    """What a run printed; it must have ended well and without a word on stderr."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# -- scripts ------------------------------------------------------------------------------------------------------


def test_a_script_ends_cleanly_whatever_it_leaves_open(tmp_path: Path) -> None:
    """A script's sessions, sockets and unfinished views neither warn nor keep the interpreter when it ends."""
    path = script(
        tmp_path,
        """
        from fanfold import Session, prompt, sections
        from fanfold.testing import FakeModel

        ask = prompt("{input}")
        run = ask.run_sync("by the environment's session")
        print(run.output, len(run.calls), run.made_up)

        with Session("ollama:x") as closed:
            print(ask.run_sync("x").output, closed.statistics().sockets)
        print(closed.closed)

        session = Session("ollama:x").__enter__()
        print(ask.run_sync("x").output)

        slow = sections({"a": ask}).updates_sync("x", session=Session(FakeModel(latency=60)))
        slow.__enter__()
        """,
    )
    with ModelServer(["hello"]) as server:
        done = python(path, FANFOLD_MODEL="ollama:x", OLLAMA_BASE_URL=server.url)
    assert says(done) == "hello 1 True\nhello 0\nTrue\nhello\n"


def test_the_door_opens_a_hundred_times() -> None:
    """A hundred runs in a row use one thread, and leave no task on its loop."""
    pattern = sections({"a": ASK, "b": vote(ASK, n=3)})
    with Session(FakeModel(["x"])) as session:
        outputs = [pattern.run_sync(str(at)).output for at in range(100)]
        assert session.statistics().slots.in_use == session.statistics().slots.waiting == 0
    assert outputs == [{"a": "x", "b": "x"}] * 100
    assert sum(thread.name == "fanfold" for thread in threading.enumerate()) == 1
    assert asyncio.all_tasks(door.loop()) == set()


def test_threads_share_the_door() -> None:
    """Steps started from several threads run together, each thread gets its own answer."""
    outputs: list[str] = []

    def one(at: int) -> None:
        outputs.append(ASK.run_sync(str(at), session=session).output)

    with Session(FakeModel(lambda request: request.messages[0].content, latency=0.01)) as session:
        threads = [threading.Thread(target=one, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert sorted(outputs) == list("01234567")


def test_an_error_comes_out_of_the_door_with_its_run() -> None:
    """What a step raises `run_sync` raises, and a `FanfoldError` carries the run so far."""

    @step
    async def fail(given: str) -> str:
        raise ValueError(given)

    with Session(FakeModel(["x"])), pytest.raises(BranchError) as caught:
        sections({"a": chain(ASK, fail), "b": ASK}).run_sync("q")
    assert len(caught.value.run.calls) == 2
    assert isinstance(caught.value.__cause__, ValueError)


def test_sys_exit_in_a_step_reaches_the_script(tmp_path: Path) -> None:
    """A step that exits ends the script with its code: nobody waits for a loop that is gone."""
    path = script(
        tmp_path,
        """
        import sys
        from fanfold import gather, step

        @step
        async def leave(code):
            await gather(inner(code))

        @step
        async def inner(code):
            sys.exit(code)

        try:
            leave.run_sync(3)
        except SystemExit as left:
            print("left", left.code)
        leave.run_sync(4)
        """,
    )
    done = python(path)
    assert (done.returncode, done.stdout, done.stderr) == (4, "left 3\n", "")


# -- running loops ------------------------------------------------------------------------------------------------


def test_the_door_opens_where_a_loop_runs(blockbuster: BlockBuster) -> None:
    """`run_sync` works in a thread whose loop runs, as a notebook cell does; it blocks that loop."""
    blockbuster.deactivate()  # to block is what it promises

    async def cell() -> str:
        return ASK.run_sync("x", session=session).output

    session = Session(FakeModel(["y"]))
    assert asyncio.run(cell()) == "y"


def test_the_door_opens_in_ipython(tmp_path: Path) -> None:
    """`run_sync` works in IPython cells, before, in and after one that awaits."""
    path = script(
        tmp_path,
        """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.history_manager.enabled = False
        shell.run_cell("from fanfold import prompt; ask = prompt('{input}')").raise_error()
        for cell in ("a = ask.run_sync('x')", "b = (await ask.run('x'), ask.run_sync('x'))", "c = ask.run_sync('x')"):
            shell.run_cell(cell).raise_error()
        shell.run_cell("print(len({a.output, b[0].output, b[1].output, c.output}))").raise_error()
        """,
    )
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "FANFOLD_MODEL": "fake:", "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["1"]), done.stderr


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_door_opens_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_sync`, `updates_sync` and `await` work in cells of one notebook, executed by a real kernel."""
    from nbclient import NotebookClient
    from nbformat import v4

    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("FANFOLD_MODEL", "fake:")
    cells = [
        "from fanfold import prompt, sections\npattern = sections({'a': prompt('{input}')})",
        "print(sorted(pattern.run_sync('x').output))",
        "with pattern.updates_sync('x') as updates:\n    print([name for name, _ in updates])",
        "print(sorted(await pattern('x')))",
    ]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=50, kernel_name="python3").execute()
    printed = ["".join(output.text for output in cell.outputs).strip() for cell in notebook.cells]
    assert printed == ["", "['a']", "['a']", "['a']"]


# -- inside a step ------------------------------------------------------------------------------------------------


def refused_inside() -> Any:
    """A call through the door and the error that it ends with."""
    with pytest.raises(LoopError, match=r"prompt\.run_sync\(\) blocks, .* inside a step: await the step") as caught:
        ASK.run_sync("x")
    return caught.value


def test_inside_a_step_the_door_is_shut() -> None:
    """`run_sync` in an async step raises `LoopError` that says to await; so it does in a branch."""

    @step
    async def inside(given: str) -> str:
        refused_inside()
        return given

    both = sections({"a": inside, "b": chain(str, inside)})
    assert asyncio.run(inside("x")) == "x"
    assert both.run_sync("x", session=Session(FakeModel())).output == {"a": "x", "b": "x"}


@pytest.mark.parametrize("thread", [True, False])
def test_inside_a_plain_functions_step_the_door_is_shut(thread: bool) -> None:
    """A plain function that is a step cannot block on the door either, in its thread or in place."""

    @step(thread=thread)
    def inside(given: str) -> str:
        refused_inside()
        return given

    assert asyncio.run(inside("x")) == "x"


def test_on_the_doors_own_thread_it_is_shut() -> None:
    """A callback on the background loop would wait for itself: it raises, and leaves no coroutine unawaited."""

    async def callback() -> None:
        refused_inside()

    asyncio.run_coroutine_threadsafe(callback(), door.loop()).result(5)


def test_a_session_of_the_door_cannot_be_awaited_elsewhere() -> None:
    """Connections never cross loops: a session entered with `with` refuses another loop, and the reverse."""
    with Session(FakeModel()) as session, pytest.raises(LoopError, match="another event loop"):
        asyncio.run(ASK.run("x"))

    async def other() -> Session:
        async with Session(FakeModel()) as opened:
            with pytest.raises(LoopError, match="another event loop"):
                await asyncio.to_thread(ASK.run_sync, "x", session=opened)
            return opened

    closed = asyncio.run(other())
    with pytest.raises(LoopError, match="closed"):
        ASK.run_sync("x", session=closed)
    with pytest.raises(LoopError, match="closed"):
        ASK.run_sync("x", session=session)


def test_inside_a_step_a_session_is_entered_async() -> None:
    """A plain `with Session()` in a step raises `LoopError` that names `async with`."""

    @step
    async def inside(given: str) -> str:
        with pytest.raises(LoopError, match="async with"), Session(FakeModel()):
            pass
        return given

    assert asyncio.run(inside("x")) == "x"


# -- interrupts ---------------------------------------------------------------------------------------------------


def test_an_interrupt_ends_a_run_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C cancels the run, waits for its clean-up, and comes out as KeyboardInterrupt with no slot taken."""
    path = script(
        tmp_path,
        """
        import asyncio, os, signal, time
        from fanfold import Session, chain, prompt, sections, step, vote
        from fanfold.core import door
        from fanfold.core.clock import sleep
        from fanfold.testing import FakeModel

        door.PATIENCE = 20  # so that only who waits to no purpose takes long
        gone = []

        def press_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)

        @step
        async def tidy(given):
            asyncio.get_running_loop().call_later(0.2, press_ctrl_c)
            try:
                await sleep(60)
            finally:
                await sleep(0.05)
                gone.append(given)

        @step
        async def calm(given):
            try:
                await sleep(60)
            finally:
                await sleep(0.1)
                gone.append(given)

        ask = prompt("{input}")
        ask.run_sync("what loads on first use has loaded", session=Session(FakeModel()))
        slow = chain(sections({"a": vote(ask, n=5), "b": tidy, "c": sections({"d": calm})}), str)

        def updates():
            with slow.updates_sync("x") as updates:
                list(updates)

        def text():
            with slow.text_sync("x") as text:
                list(text)

        with Session(FakeModel(latency=60), max_in_flight=3) as session:
            for work in (lambda: slow.run_sync("x"), updates, text):
                began = time.monotonic()
                try:
                    work()
                except KeyboardInterrupt:
                    took = time.monotonic() - began
                    held = session.statistics().slots
                    print(len(gone), held.in_use, held.waiting, took < 10)
        """,
    )
    assert says(python(path)) == "2 0 0 True\n4 0 0 True\n6 0 0 True\n"


def test_an_interrupt_while_a_view_is_entered_leaves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C that comes when the run has begun, and before the block has."""
    view = prompt("{input}").text_sync("x", session=Session(FakeModel(latency=60)))

    def pressed(work: Any, what: str) -> Any:
        monkeypatch.undo()
        door.run_sync(work, what)
        raise KeyboardInterrupt

    monkeypatch.setattr("fanfold.steps.listening.run_sync", pressed)
    with pytest.raises(KeyboardInterrupt), view:
        pass
    with pytest.raises(UsageError, match="was cancelled"):
        _ = view.run


def test_an_interrupt_waits_for_a_deaf_step_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that swallows its cancellation does not keep an interrupted script from going on."""
    monkeypatch.setattr(door, "PATIENCE", 0.05)
    released = asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    main = threading.main_thread().ident
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        door.run_sync(deaf(), "deaf()")
    assert time.monotonic() - began < 2
    door.loop().call_soon_threadsafe(released.set)
    door.run_sync(sleep(0), "sleep()")


def test_work_cancelled_from_inside_comes_out_cancelled() -> None:
    """A run that is cancelled by somebody else ends the wait for it."""

    async def give_up() -> None:
        asyncio.current_task().cancel()
        await sleep(1)

    from concurrent.futures import CancelledError

    with pytest.raises(CancelledError):
        door.run_sync(give_up(), "give_up()")


# -- views --------------------------------------------------------------------------------------------------------


def test_updates_come_through_the_door() -> None:
    """`updates_sync` gives each branch as it finishes, then the merge; then the run is there."""

    def latency(request: Any) -> float:
        return 0.03 if "slow" in str(request.messages) else 0.0

    pattern = sections({"slow": prompt("slow {input}"), "fast": ASK}, merge="+".join)
    with Session(FakeModel(["x"], latency=latency)), pattern.updates_sync("q") as updates:
        assert list(updates) == [("fast", "x"), ("slow", "x"), ("merge", "slow+fast")]
        assert updates.run.output == "slow+fast"


def test_text_comes_through_the_door_piece_by_piece() -> None:
    """`text_sync` gives the text as it is written; joined it is the output."""
    with Session(FakeModel(["one two three"])), ASK.text_sync("q") as text:
        pieces = list(text)
        assert len(pieces) == 3
        assert "".join(pieces) == text.run.output == "one two three"


def test_leaving_a_view_early_cancels_its_run() -> None:
    """A script that breaks out of the iteration leaves no call on the wire, and has no run to look at before."""
    model = FakeModel(["x"], latency=lambda request: 60.0 if "slow" in str(request.messages) else 0.0)
    pattern = sections({"fast": ASK, "slow": prompt("slow {input}")})
    with Session(model) as session:
        with pattern.updates_sync("q") as updates:
            for name, _ in updates:
                assert name == "fast"
                with pytest.raises(UsageError, match="not over yet"):
                    _ = updates.run
                break
        assert session.statistics().slots.in_use == 0


def test_a_view_raises_what_its_run_raises() -> None:
    """The iteration of a view ends with the run's error."""
    unknown = prompt("{input}", model="nobody:x")
    with Session(FakeModel()), unknown.text_sync("q") as text, pytest.raises(ModelError, match="nobody"):
        list(text)


# -- forks --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_opens_a_door_of_its_own(tmp_path: Path) -> None:
    """After a fork the child's first run makes a new thread; the parent's door goes on."""
    path = script(
        tmp_path,
        """
        import os, sys, warnings
        from fanfold import Session, prompt
        from fanfold.testing import FakeModel
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        ask = prompt("{input}")
        def once():
            return ask.run_sync("x", session=Session(FakeModel(["y"]))).output
        once()
        child = os.fork()
        if child == 0:
            os._exit(0 if once() == "y" else 1)
        _, status = os.waitpid(child, 0)
        print(once(), os.waitstatus_to_exitcode(status))
        """,
    )
    assert says(python(path)) == "y 0\n"


def test_typed_answers_come_through_the_door() -> None:
    """The value of a typed step is what `run_sync` has as output."""
    pick = vote(prompt("{input}", returns=Literal["spam", "ham"]), n=3)

    @step
    async def twice(given: str) -> tuple[str, str]:
        return await gather(pick(given), pick(given))

    with Session(FakeModel(["**Spam**."], structured=False)):
        assert twice.run_sync("x").output == ("spam", "spam")
