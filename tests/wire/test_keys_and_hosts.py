"""A key goes where it is meant to go and nowhere else, and nothing that is written down holds one."""

import asyncio
import io
import logging
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pydantic
import pytest
import wreq
import wreq.exceptions
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from yarl import URL

from fanfold import Anthropic, OpenAI, Session, prompt
from fanfold.errors import AccessError, FanfoldError, ModelError
from fanfold.models.endpoints import PROVIDERS, endpoint, is_loopback, shown
from fanfold.models.transport import chosen, open_transport
from tests.wire import raw

KEY = "sk-planted-secret-0123456789"
ASK = prompt("{input}")


@pytest.fixture
def env(monkeypatch):
    """Set variables of the environment."""

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def keyed(target: Any) -> bool:
    """Whether the key goes along."""
    return any(KEY in value for value in target.headers.values())


# -- where keys go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "variables", "base_url", "goes"),
    [
        ("openai", {"OPENAI_API_KEY": KEY}, None, True),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://api.openai.com/v1/", True),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://API.OpenAI.com/v1", True),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://api.openai.com/other/path", True),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://eu.api.openai.com/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://api.openai.com.evil.example/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://evil.example/api.openai.com/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://xapi.openai.com/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://api.openai.com:8443/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "https://127.0.0.1/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "http://127.0.0.1:8000/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY}, "http://localhost:8000/v1", False),
        ("openai", {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gate.example/v1"}, None, True),
        (
            "openai",
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gate.example/v1"},
            "https://gate.example/v2",
            True,
        ),
        (
            "openai",
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gate.example/v1"},
            "https://other.example/v1",
            False,
        ),
        (
            "openai",
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
            "http://127.0.0.1:10/v1",
            False,
        ),
        (
            "openai",
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
            "https://127.0.0.1:9/v1",
            False,
        ),
        ("groq", {"GROQ_API_KEY": KEY}, None, True),
        ("groq", {"GROQ_API_KEY": KEY, "OPENAI_BASE_URL": "https://gate.example/v1"}, "https://gate.example/v1", False),
        ("groq", {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "its-own"}, None, False),
        ("ollama", {"OPENAI_API_KEY": KEY}, None, False),
        ("lmstudio", {"OPENAI_API_KEY": KEY}, "http://localhost:1/v1", False),
        ("vllm", {"VLLM_API_KEY": KEY}, None, True),
        ("vllm", {"VLLM_API_KEY": KEY, "VLLM_BASE_URL": "https://gpu.example/v1"}, None, True),
        ("vllm", {"VLLM_API_KEY": KEY}, "https://gpu.example/v1", False),
        ("azure", {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://a.openai.azure.com"}, None, True),
        (
            "azure",
            {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://a.openai.azure.com"},
            "https://b.openai.azure.com",
            False,
        ),
        ("azure", {"AZURE_OPENAI_API_KEY": KEY}, "https://a.openai.azure.com", False),
    ],
)
def test_a_key_of_the_environment_goes_to_its_vendor_or_the_url_set_beside_it(env, provider, variables, base_url, goes):
    """The environment's key is sent to its vendor's host and to the URL beside it, and kept back everywhere else."""
    env(**variables)
    target = endpoint(provider, "m", base_url=base_url)
    assert keyed(target) == goes
    if not goes and PROVIDERS[provider].key in variables and "its-own" not in variables.values():
        assert target.withheld == PROVIDERS[provider].key


def test_azure_without_a_key_is_an_error_before_anything_is_sent(env):
    """Another provider's key does not help: the error names Azure's variable; a header of one's own does help."""
    env(OPENAI_API_KEY=KEY)
    with pytest.raises(ModelError, match="AZURE_OPENAI_API_KEY"):
        endpoint("azure", "m", base_url="https://a.openai.azure.com")
    own = {"Authorization": "Bearer token"}
    assert endpoint("azure", "m", base_url="https://a.openai.azure.com", headers=own).headers["Authorization"]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_no_provider_gets_the_key_of_another(env, provider):
    """With every provider's key in the environment, each host gets its own alone."""
    env(**{known.key: f"key-of-{name}" for name, known in PROVIDERS.items() if known.key})
    env(AZURE_OPENAI_ENDPOINT="https://a.openai.azure.com")
    headers = dict(endpoint(provider, "m").headers)
    headers.pop("Content-Type")
    assert set(headers.values()) <= {f"key-of-{provider}", f"Bearer key-of-{provider}"}
    assert bool(headers) == bool(PROVIDERS[provider].key)


def test_a_key_given_in_code_goes_where_the_code_points(env):
    """`api_key` is sent to any base URL, and wins over the environment's."""
    env(OPENAI_API_KEY="the-environments")
    target = endpoint("openai", "m", base_url="https://any.example/v1", api_key=KEY)
    assert target.headers["Authorization"] == f"Bearer {KEY}"
    assert endpoint("openai", "m", api_key=KEY).headers["Authorization"] == f"Bearer {KEY}"


def test_a_sessions_key_is_for_its_own_provider_alone(env):
    """The session's key and URL are not sent to another provider that a prompt names."""

    async def main():
        async with raw.raw_server(raw.whole(raw.reply())) as own, raw.raw_server(raw.whole(raw.reply())) as other:
            env(OLLAMA_BASE_URL=other.url)
            async with Session(model="openai:m", api_key=KEY, base_url=own.url) as session:
                await ASK.run("hi", session=session)
                await prompt("{input}", model="ollama:m").run("hi", session=session)
            return own.heard[0].headers, other.heard[0].headers

    own, other = asyncio.run(main())
    assert own["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in other


def test_a_refusal_says_which_key_was_kept_back(env):
    """A 401 from a host that did not get the environment's key explains why, and what to do."""
    env(OPENAI_API_KEY=KEY)

    async def main():
        async with raw.raw_server(raw.whole({"error": "who are you?"}, "401 Unauthorized")) as server:
            async with Session(model=OpenAI(name="m", base_url=server.url)) as session:
                with pytest.raises(AccessError, match="the key in OPENAI_API_KEY was not sent") as caught:
                    await ASK.run("hi", session=session)
            return caught.value, server.heard[0].headers

    error, headers = asyncio.run(main())
    assert "give api_key= if it is meant for it" in str(error)
    assert "authorization" not in headers


# -- which hosts are reached -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost.",
        "notlocalhost",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.2",
        "[::]",
        "[fe80::1]",
        "[::ffff:8.8.8.8]",
        "①27.0.0.1",
    ],
)
def test_plain_http_does_not_leave_this_machine(host):
    """Plain HTTP to anything but a loopback address is refused, with the way to allow it, and allowed if told to."""
    with pytest.raises(ModelError, match="allow_http=True"):
        endpoint("openai", "m", base_url=f"http://{host}:8000/v1")
    assert not is_loopback(host)
    assert not endpoint("openai", "m", base_url=f"http://{host}:8000/v1", allow_http=True).loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_plain_http_reaches_this_machine(host):
    """Loopback addresses and `localhost` need no permission."""
    assert endpoint("openai", "m", base_url=f"http://{host}:8000/v1").loopback


@pytest.mark.parametrize(
    ("base_url", "loopback"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("https://localhost/v1", True),
        ("https://example.com/v1", False),
        ("https://127.0.0.1.evil.example/v1", False),
    ],
)
def test_only_this_machine_is_told_the_draw(base_url, loopback):
    """The endpoint knows whether it is this machine; the wire's draw header goes by it."""
    assert endpoint("openai", "m", base_url=base_url).loopback == loopback


def test_the_draw_header_goes_to_loopback_and_nowhere_else():
    """A server on this machine is told the place and number of each sample; a remote one is not."""
    heard = []

    class Listening:
        def post(self, url, headers, body):
            heard.append((urlsplit(url).hostname, headers.get("x-fanfold-draw")))
            raise ModelError("far enough")

        async def close(self):
            pass

    async def main():
        for host in ("http://localhost:1", "https://example.com"):
            wire = OpenAI(name="m", base_url=f"{host}/v1", api_key="k").open(Listening())
            with pytest.raises(ModelError, match="far enough"):
                await prompt("{input}", model=_Opened(wire)).run("hi", session=Session())

    asyncio.run(main())
    assert heard == [("localhost", "prompt/0/0"), ("example.com", None)]


class _Opened:
    """A wire that is open already."""

    def __init__(self, wire):
        self.wire = wire
        self.label, self.made_up, self.structured = wire.label, wire.made_up, wire.structured

    async def send(self, request, watch):
        return await self.wire.send(request, watch)


def test_the_list_of_models_is_not_asked_for_elsewhere_than_told():
    """A quick GET with a key does not follow a redirect either."""

    async def main():
        async with raw.raw_server(raw.whole({"data": []})) as other:
            moved = raw.whole(b"", "302 Found", Location=f"{other.url}/models")
            async with raw.raw_server(moved) as server:
                transport = open_transport(chosen())
                status, _ = await transport.get(f"{server.url}/models", {"api-key": KEY}, 5)
                await transport.close()
            return status, other.heard

    assert asyncio.run(main()) == (302, [])


@pytest.mark.parametrize("provider", [name for name, known in PROVIDERS.items() if known.local])
@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_local_server_is_found_by_its_address_alone(env, provider, ending):
    """OLLAMA_BASE_URL and its kin are read by other tools, too, which want them without /v1."""
    env(**{PROVIDERS[provider].url_name: f"http://127.0.0.1:9{ending}"})
    assert endpoint(provider, "m").url == "http://127.0.0.1:9/v1/chat/completions"


def test_the_path_of_a_local_server_stays(env):
    """Behind a gateway it may be anywhere; and what is no local server is asked where it says."""
    env(OLLAMA_BASE_URL="http://127.0.0.1:9/ollama")
    assert endpoint("ollama", "m").url == "http://127.0.0.1:9/ollama/chat/completions"
    assert endpoint("openai", "m", base_url="http://127.0.0.1:9").url == "http://127.0.0.1:9/chat/completions"


# -- base URLs that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "//host/v1",
        "https://host:abc/v1",
        "https://host:99999/v1",
        "https://host:0/v1",
        "http://[::1/v1",
        "https://api.openai.com\\@evil.example/v1",
        "https://api.openai.com\t.evil.example/v1",
        "https://api.openai.com\n/v1",
        "https://api.openai.com /v1",
        "https://host/v1 HTTP/1.1\r\nX-Other: 1",
        "\x7fhttps://host/v1",
    ],
)
@pytest.mark.parametrize("where", ["given", "environment"])
def test_what_is_not_a_base_url_is_refused(env, base_url, where):
    """Anything that two parsers might read differently is no base URL; the error says how one looks."""
    if where == "environment":
        env(OPENAI_BASE_URL=base_url)
    with pytest.raises(ModelError, match="is not a URL"):
        endpoint("openai", "m", base_url=base_url if where == "given" else None, api_key=KEY)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:pass-word@host/v1",
        "https://pass-word@host/v1",
        "https://h/v1?key=pass-word",
        "https://h/v1#pass-word",
        "https://h/v1?",
        "https://h/v1#",
    ],
)
def test_secrets_do_not_belong_in_a_base_url(base_url):
    """A user name, a query or a fragment is refused without being shown; there are options for these."""
    with pytest.raises(ModelError, match="api_key=, headers= or query=") as caught:
        endpoint("openai", "m", base_url=base_url)
    assert "pass-word" not in f"{caught.value}{OpenAI(name='m', base_url=base_url)}"


FORMS = ("https://{}/v1", "http://{}", "https://api.openai.com{}", "http://127.0.0.1{}", "http://localhost{}/v1")
URLISH = st.text(alphabet="htps:/\\@.#?%[]: \t\nap.openi.comevil127.0.0.1localhost①", max_size=40)


def with_a_key(base_url):
    """Where a call would go that has a key for OpenAI; None where the URL is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        try:
            return endpoint("openai", "m", base_url=base_url)
        except ModelError:
            return None


@given(base_url=st.one_of(URLISH, st.builds("https://{}/v1".format, URLISH), st.builds("http://{}".format, URLISH)))
@example(base_url="https://api.openai.com@evil.example/v1")
@example(base_url="https://api.openai.com%2eevil.example/v1")
@example(base_url="https://api.openai.com%00.evil.example/v1")
def test_the_host_that_is_checked_is_the_host_that_is_asked(base_url):
    """For any base URL: refused, or the transport's parser finds the very host that decided about key and HTTP."""
    target = with_a_key(base_url)
    if target is None:
        return
    try:
        asked = URL(target.url, encoded=True)
    except ValueError:
        return  # the transport refuses it
    assert keyed(target) == (asked.origin() == URL("https://api.openai.com"))
    assert asked.scheme == "https" or is_loopback(asked.host or "")
    assert target.loopback == is_loopback(asked.host or "")


def test_wreq_asks_no_other_host_than_the_one_that_was_checked():
    """For any base URL: refused, or whoever wreq asks may have the key, and is this machine where that was said.

    A proxy that refuses hears whom it asks, and whether by TLS.
    """
    asked: list[tuple[bool, str]] = []

    async def proxy(reader, writer):
        method, target, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
        tunnel = method == "CONNECT"
        asked.append((tunnel, urlsplit(f"//{target}" if tunnel else target).hostname or ""))
        writer.write(raw.whole(b"", "502 Bad Gateway"))

    async def opened(stack):
        server = await stack.enter_async_context(raw.listening(proxy))
        return wreq.Client(http1_only=True, proxies=[wreq.Proxy.all(server.origin)])

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        client = runner.run(opened(stack))

        async def ask(url):
            with suppress(wreq.exceptions.ProxyConnectionError, wreq.exceptions.BuilderError):
                await (await client.post(url, body=b"")).bytes()

        @settings(max_examples=60)
        @given(base_url=st.one_of(URLISH, *(st.builds(form.format, URLISH) for form in FORMS)))
        @example(base_url="https://api.openai.com@evil.example/v1")
        @example(base_url="https://api.openai.com%2eevil.example/v1")
        @example(base_url="https://api.openai.com%00.evil.example/v1")
        @example(base_url="http://localhost%2eevil.example/v1")
        @example(base_url="https://api.openai.com/v1")
        @example(base_url="http://127.0.0.1:9/v1")
        def check(base_url):
            target = with_a_key(base_url)
            if target is None:
                return
            asked.clear()
            runner.run(ask(target.url))
            for tls, host in asked:
                assert host == "api.openai.com" or not keyed(target)
                assert tls or is_loopback(host)
                assert is_loopback(host) or not target.loopback

        check()
        assert asked  # the last example went out
        runner.run(stack.aclose())


# -- headers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["a\r\nX-Injected: 1", "a\nb", "a\0b", "a\x7f", "schlüssel", "a\u2028b"])
@pytest.mark.parametrize("where", ["api_key", "header value", "header name"])
def test_a_header_cannot_be_smuggled_in(bad, where):
    """A key or header with a line break or a character that HTTP cannot carry is refused, and not shown."""
    options: dict[str, Any] = {
        "api_key": {"api_key": bad},
        "header value": {"headers": {"X-Own": bad}},
        "header name": {"headers": {f"X-{bad}": "v"}},
    }[where]
    with pytest.raises(ModelError, match="line break") as caught:
        endpoint("openai", "m", base_url="https://host/v1", **options)
    if where != "header name":
        assert bad not in str(caught.value)


def test_a_key_of_the_environment_with_a_line_end_is_refused(env):
    """A key read from a file with its line end is a clear error, not an odd one from deep inside."""
    env(OPENAI_API_KEY=f"{KEY}\n")
    with pytest.raises(ModelError, match="Authorization") as caught:
        endpoint("openai", "m")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("kind", [OpenAI, Anthropic])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": KEY.encode()}, "api_key= takes text, not bytes"),
        ({"api_key": pydantic.SecretStr(KEY)}, "api_key= takes text, not SecretStr"),
        ({"base_url": 8000}, "base_url= takes text, not int"),
        ({"headers": {"X-Team": 7}}, "headers= takes a mapping"),
        ({"headers": f"X-Own: {KEY}"}, "headers= takes a mapping"),
    ],
)
def test_an_option_that_is_no_text_is_refused_where_it_is_given(kind, options, words):
    """Its own spelling would be sent in its place, and a server would refuse that as a wrong key."""
    with pytest.raises(ModelError, match=words) as caught:
        kind("m", **options)
    assert KEY not in str(caught.value)


# -- secrets are never written ---------------------------------------------------------------------------------------


def everything_written(thing: Any) -> str:
    """What repr, str, formatting and rich show of a thing."""
    out = io.StringIO()
    Console(file=out, width=1000).print(thing, [thing], {"thing": thing})
    return f"{thing!r}{thing}{[thing]!r}{out.getvalue()}"


def test_no_repr_shows_a_key():
    """Models, endpoints, wires, settings and sessions show where they lead, never with what key."""
    model = OpenAI(name="m", base_url="https://host/v1", api_key=KEY, headers={"X-Own": KEY}, query={"k": KEY})
    given = {"groq": {"api_key": KEY}}

    async def main():
        async with Session(model=model, api_key=KEY, providers=given) as session:
            line = session.line(model)
            return [model, line, line.model, line.model.target, session, session.settings, session.road]

    target = endpoint("openai", "m", base_url="https://host/v1", api_key=KEY, query={"k": KEY})
    written = [everything_written(thing) for thing in [*asyncio.run(main()), target]]
    assert not [text for text in written if KEY in text]
    assert "https://host/v1" in written[0]
    assert shown(target.url) in written[-1]


def test_no_failed_call_leaves_the_key_in_what_it_says(caplog):
    """Errors, their runs, events, tracebacks and logs of calls that failed hold no key."""
    caplog.set_level(logging.DEBUG)
    answers = [
        raw.whole({"error": "no"}, "401 Unauthorized"),
        raw.whole({"error": "no"}, "500 Internal Server Error"),
        raw.whole(b"nonsense"),
        b"",
        b"no HTTP\r\n\r\n",
        raw.whole(b"{}", Content_Encoding="br"),
        raw.open_ended() + b"data: {",
    ]

    async def main():
        errors = []
        for said in answers:
            async with raw.raw_server(said) as server:
                asked = OpenAI(name="m", base_url=server.url, api_key=KEY, query={"sig": KEY})
                async with Session(model=asked, attempts=1) as session:
                    with pytest.raises(FanfoldError) as caught:
                        await ASK.run("hi", session=session)
                assert server.heard[0].headers["authorization"] == f"Bearer {KEY}"
            errors.append(caught.value)
        return errors

    for error in asyncio.run(main()):
        written = f"{everything_written(error)}{error.run.events}{error.run.calls}{error.__cause__!r}{error.args}"
        assert KEY not in written
    assert KEY not in caplog.text


@pytest.mark.parametrize("said", ["key={key}", "{key}", "{quoted}"])
def test_what_a_query_holds_is_no_more_repeated_than_a_key(said):
    """A server that answers with the address it was asked at does not get what is secret of it into an error."""
    key = "planted/secret+01=="
    target = endpoint("azure", "m", base_url="https://host", query={"key": key}, api_key=KEY)
    words = said.format(key=key, quoted=quote_plus(key))
    assert target.hide(f"no {words} at 2024-10-21") == f"no {said.split('{')[0]}[hidden] at 2024-10-21"
    assert key in target.secrets()


@pytest.mark.parametrize("told", [7, 8, 12, len(KEY) - 1])
def test_a_key_that_is_cut_where_a_text_ends_stays_hidden(told):
    """Of a long refusal the start is told, and that may end within the key that the server repeats."""
    target = endpoint("openai", "m", base_url="https://host/v1", api_key=KEY)
    assert target.hide(f"no: {KEY[:told]}") == ("no: [hidden]" if told >= 8 else f"no: {KEY[:told]}")
    assert target.hide("Use Bearer") == "Use Bearer"


def test_a_key_with_a_space_at_its_end_stays_hidden():
    """On the way the space is lost, so a server repeats the key without it."""
    target = endpoint("openai", "m", base_url="https://host/v1", api_key=f"{KEY} ")
    assert target.hide(f"Incorrect API key provided: {KEY}.") == "Incorrect API key provided: [hidden]."


def test_the_beginning_of_a_key_that_was_cut_off_stays_hidden():
    """Of what a server says only the start is told, which may end in the middle of a key."""
    target = endpoint("openai", "m", base_url="https://host/v1", api_key=KEY)
    assert target.hide(f"Incorrect API key: {KEY[:-1]}") == "Incorrect API key: [hidden]"
    assert target.hide("write Authorization: Bearer") == "write Authorization: Bearer"


@pytest.mark.parametrize("said", [quote_plus("no/w +1="), quote("no/w +1="), quote("no/w +1=", safe=""), r"no\/w +1="])
def test_a_key_that_a_server_writes_in_another_way_stays_hidden(said):
    """A key in a header is no URL, and some servers repeat it as if it were; others escape it as JSON."""
    target = endpoint("openai", "m", base_url="https://host/v1", headers={"X-Key": "no/w +1="})
    assert target.hide(f"{said}!") == "[hidden]!"


def test_a_secret_that_begins_with_another_is_hidden_whole():
    """The longer one is looked for first."""
    target = endpoint("openai", "m", base_url="https://host/v1", api_key=KEY, headers={"X-Short": KEY[:8]})
    assert target.hide(f"{KEY} and {KEY[:8]}") == "[hidden] and [hidden]"


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-4o-mini", ["names no provider", "'openai:gpt-4o-mini'"]),
        ("claude-haiku-4-5", ["names no provider", "'anthropic:claude-haiku-4-5'"]),
        ("groq/llama-3.3-70b", ["names no provider", "'groq:llama-3.3-70b'"]),
        ("meta/llama", ["names no provider", "'openai:meta/llama'"]),
        ("openai:", ["names no provider"]),
        (
            "nobody:m",
            ["unknown provider 'nobody'", "openai", "ollama", "fake", "recorded", "OpenAI('model', base_url=...)"],
        ),
        ("recorded:gpt-9", ["no recordings of 'gpt-9'", "gpt-35-turbo"]),
    ],
)
def test_a_name_that_leads_nowhere_says_why_and_what_to_write(model, words):
    """An unknown provider, a bare name and an unknown recording are refused with the cause and the fix, at once."""
    with pytest.raises(ModelError) as caught:
        Session(model=model)
    assert not [word for word in words if word not in str(caught.value)]


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral", "deepseek"])
def test_a_missing_key_says_which(provider):
    """Without a key the error names the variable to set, the option, and what works without any."""

    async def main():
        async with Session(model=f"{provider}:m") as session:
            await ASK.run("hi", session=session)

    with pytest.raises(ModelError) as caught:
        asyncio.run(main())
    wanted = [PROVIDERS[provider].key, "api_key=", "'fake:'", "'recorded:gpt-35-turbo'"]
    assert not [word for word in wanted if word not in str(caught.value)]


def test_no_model_at_all_says_how_to_name_one():
    """Without a model anywhere the error names the option and the variable."""

    async def main():
        async with Session() as session:
            await ASK.run("hi", session=session)

    with pytest.raises(ModelError, match="FANFOLD_MODEL"):
        asyncio.run(main())


def test_an_unknown_option_of_a_provider_is_named():
    """A misspelt option in `providers` is an error that names the provider, and not its key."""
    with pytest.raises(ModelError, match=r"providers\['groq'\]") as caught:
        Session(model="groq:m", providers={"groq": {"api_kee": KEY}})
    assert KEY not in str(caught.value)
