"""`fanfold models`: local servers that answer, providers with a key, and what is built in."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp import web

from fanfold.core.door import run_sync
from fanfold.models.endpoints import PROVIDERS
from tests.cli.calling import fanfold

LOCAL = [name for name, provider in PROVIDERS.items() if provider.local]


class Listing:
    """A local server that lists models, or says what it is told to say."""

    def __init__(self) -> None:
        self.body = b'{"object": "list", "data": [{"id": "llama3.2"}, {"id": "qwen3:8b", "object": "model"}]}'
        self.status = 200
        self.delay = 0.0
        self.asked: list[str] = []

    async def start(self) -> None:
        """Listen on a free port."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await asyncio.sleep(self.delay)
        return web.Response(body=self.body, status=self.status)


@pytest.fixture
def listing() -> Iterator[Listing]:
    server = Listing()
    run_sync(server.start(), "a test's server")
    yield server
    run_sync(server.stop(), "a test's server")


@pytest.fixture(autouse=True)
def _nothing_runs_here(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine at hand happens to serve plays no part."""
    for name in LOCAL:
        monkeypatch.setenv(PROVIDERS[name].url_name, nobody)


def test_without_anything() -> None:
    """Recorded and fake models are always there; the others say what they want."""
    done = fanfold("models")
    assert (done.code, done.err) == (0, "")
    assert "+ recorded" in done.out
    assert "    recorded:gpt-35-turbo\n" in done.out
    assert "    fake:\n" in done.out
    assert "- ollama     no server; start it: ollama serve\n" in done.out
    assert "- openai     set OPENAI_API_KEY\n" in done.out
    assert "- azure      set AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT\n" in done.out
    usable = [line[0] for line in done.out.splitlines() if line[0] in "+-"]
    assert usable == sorted(usable), "what can be used comes first"


def test_a_local_server_is_found(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's models are listed by the names that `--model` takes."""
    monkeypatch.setenv("OLLAMA_BASE_URL", listing.url)
    done = fanfold("models")
    assert f"+ ollama     answers at {listing.url}/models\n    ollama:llama3.2\n    ollama:qwen3:8b\n" in done.out
    assert listing.asked == ["/v1/models"]


def test_json(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--json` it is one document."""
    monkeypatch.setenv("OLLAMA_BASE_URL", listing.url)
    done = fanfold("models", "--json")
    assert (done.code, done.err) == (0, "")
    found = {one["provider"]: one for one in done.document["providers"]}
    assert found["ollama"]["usable"] is True
    assert found["ollama"]["models"] == ["ollama:llama3.2", "ollama:qwen3:8b"]
    assert found["vllm"]["usable"] is False
    assert set(found) == {*PROVIDERS, "recorded", "fake"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"object": "list", "data": null}', 200, "+ ollama     answers at {url}/models, and has no models yet"),
        (b'{"data": []}', 200, "+ ollama     answers at {url}/models, and has no models yet"),
        (b"<html>Welcome</html>", 200, "- ollama     {url}/models answered 200, not a list of models"),
        (b'{"error": "no key"}', 401, "- ollama     {url}/models answered 401, not a list of models"),
    ],
)
def test_what_a_server_may_say(
    body: bytes, status: int, words: str, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without models is one; what lists none at all is told as it is."""
    listing.body, listing.status = body, status
    monkeypatch.setenv("OLLAMA_BASE_URL", listing.url)
    assert words.format(url=listing.url) + "\n" in fanfold("models").out


def test_a_server_that_hangs(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer counts as none, and keeps nobody waiting."""
    listing.delay = 30.0
    monkeypatch.setattr("fanfold.cli.finding.PATIENCE", 0.2)
    monkeypatch.setenv("OLLAMA_BASE_URL", listing.url)
    assert "- ollama     no server; start it: ollama serve\n" in fanfold("models").out


@pytest.mark.parametrize(
    ("url", "words"), [("nonsense", "is not a URL"), ("http://model.invalid/v1", "plain HTTP to another machine")]
)
def test_a_wrong_url_is_told(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL that cannot be used does not pass for a server that is not there."""
    monkeypatch.setenv("OLLAMA_BASE_URL", url)
    (line,) = [line for line in fanfold("models").out.splitlines() if line.startswith("- ollama")]
    assert words in line


def test_keys_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider with its key can be used; the key is not shown."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-marker-12345")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-marker-12345")
    done = fanfold("models")
    assert "+ openai     OPENAI_API_KEY is set" in done.out
    assert "- azure      set AZURE_OPENAI_ENDPOINT\n" in done.out
    assert "marker" not in done.out
