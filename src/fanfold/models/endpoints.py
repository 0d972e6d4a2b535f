"""Where a model lives and which key goes there.

A key from the environment goes only to its vendor's own host, or to the base URL set beside it in the
environment; a key given in code goes where that code points. Plain HTTP reaches only this machine unless allowed.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit

import msgspec

from fanfold.errors import ModelError


class Provider(msgspec.Struct, frozen=True):
    """A known provider: its host, and the names of its key and URL."""

    url: str
    key: str = ""
    url_name: str = ""
    structured: bool = False
    local: bool = False
    start: str = ""


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL", structured=True),
    "anthropic": Provider("https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", structured=True),
    "azure": Provider("", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", structured=True),
    "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks": Provider("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", structured=True),
    "gemini": Provider("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", structured=True),
    "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY", structured=True),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Provider("https://api.together.xyz/v1", "TOGETHER_API_KEY", structured=True),
    "xai": Provider("https://api.x.ai/v1", "XAI_API_KEY", structured=True),
    "llamacpp": Provider(
        "http://127.0.0.1:8080/v1", url_name="LLAMACPP_BASE_URL", structured=True, local=True, start="llama-server"
    ),
    "lmstudio": Provider(
        "http://127.0.0.1:1234/v1", url_name="LMSTUDIO_BASE_URL", structured=True, local=True, start="lms server start"
    ),
    "ollama": Provider(
        "http://127.0.0.1:11434/v1", url_name="OLLAMA_BASE_URL", structured=True, local=True, start="ollama serve"
    ),
    "vllm": Provider(
        "http://127.0.0.1:8000/v1",
        "VLLM_API_KEY",
        "VLLM_BASE_URL",
        structured=True,
        local=True,
        start="vllm serve MODEL",
    ),
}
"""Providers by the name that stands before the colon; all but Anthropic speak OpenAI's dialect."""

KEYS = frozenset({"authorization", "api-key", "x-api-key"})
"""Headers that carry a key."""

PUBLIC = frozenset({"content-type", "anthropic-version", "api-version"})
"""Headers, and fields of a query, whose values are no secrets."""

AZURE_VERSION = "2024-10-21"
"""The version of Azure's dialect where nobody names one."""

SECRET = 6
"""Characters from which on a header's value may be a secret; shorter ones would blot out words."""

BEGUN = 8
"""Characters from which on the beginning of a secret is one; all keys of a kind may begin alike, and with "Bearer "."""


class Endpoint(msgspec.Struct, frozen=True):
    """A resolved address: the URL to post to, the headers to send, and whether it is this machine."""

    url: str
    headers: Mapping[str, str]
    loopback: bool
    withheld: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({shown(self.url)})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("url", shown(self.url))]

    def account(self) -> str:
        """Who asks there: the origin and a digest of its keys, which cannot be turned back into these."""
        parts = urlsplit(self.url)
        keys = "".join(
            f"{name.lower()}={value};" for name, value in sorted(self.headers.items()) if name.lower() in KEYS
        )
        return f"{parts.scheme}://{parts.netloc}#{blake2b(keys.encode(), digest_size=8).hexdigest()}"

    def hide(self, text: str) -> str:
        """The text without the secrets that were sent: a server may repeat them in what it says.

        Where the text was cut in the middle of one, its beginning goes, too.
        """
        secrets = sorted(self.secrets(), key=len, reverse=True)  # the longest first: one may begin with another
        for secret in secrets:
            text = text.replace(secret, "[hidden]")
        for secret in secrets:
            begun = next((n for n in range(len(secret) - 1, BEGUN - 1, -1) if text.endswith(secret[:n])), 0)
            text = f"{text[:-begun]}[hidden]" if begun else text
        return text

    def secrets(self) -> frozenset[str]:
        """What is sent along and is nobody else's business."""
        values = [value.strip() for name, value in self.headers.items() if name.lower() not in PUBLIC]
        parts = [part for value in values for part in (value, value.rpartition(" ")[2])]
        asked = [value for name, value in parse_qsl(urlsplit(self.url).query) if name.lower() not in PUBLIC]
        ways = (str, quote, quote_plus, partial(quote, safe=""), _escaped)  # how a server may write it
        return frozenset(way(part) for part in [*parts, *asked] if len(part) >= SECRET for way in ways)


def _escaped(text: str) -> str:
    """A text as some servers write it in JSON."""
    return text.replace("/", "\\/")


def known(provider: str) -> Provider:
    """The provider of that name; raises `ModelError` naming those there are."""
    found = PROVIDERS.get(provider)
    if found is None:
        names = ", ".join([*sorted(PROVIDERS), "fake", "recorded"])
        raise ModelError(
            f"unknown provider {provider!r}: write 'provider:model' with one of {names}; any other OpenAI-shaped "
            "server is reached by OpenAI('model', base_url=...)"
        )
    return found


def endpoint(  # these are the settings a user may give, each by name
    provider: str,
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    allow_http: bool = False,
) -> Endpoint:
    """Resolve where ``provider:name`` is and what is sent along; raises `ModelError`, never showing a key."""
    vendor = known(provider)
    beside = beside_key(vendor)
    base = ((base_url or "").strip() or beside or vendor.url).rstrip("/")
    if not base:
        raise ModelError(f"{provider}:{name}: set {vendor.url_name} or give base_url=")
    loopback = _check_url(base, allow_http=allow_http)
    key, withheld = (api_key, "") if api_key else _key_for(vendor, base, beside)
    own_header = KEYS & {name.lower() for name in headers or ()}
    expected = provider == "azure" or (vendor.key and not vendor.local and base == vendor.url)
    if expected and not key and not withheld and not own_header:
        raise ModelError(
            f"no key for {provider}:{name}: set {vendor.key}, or give api_key=; without any key, 'fake:' makes "
            "answers up and 'recorded:gpt-35-turbo' serves recorded ones"
        )
    sent = _merged({"Content-Type": "application/json", **_key_header(provider, key)}, headers or {})
    return Endpoint(_post_url(provider, name, base, query), _checked(sent), loopback, withheld)


def beside_key(vendor: Provider) -> str:
    """The base URL that the environment sets beside the vendor's key; an empty text where it sets none."""
    return os.environ.get(vendor.url_name, "").strip() if vendor.url_name else ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost`` or a loopback address, nothing that merely looks like it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(url: str) -> str:
    """A URL as people may see it: without user name, password and query, which may be secret."""
    return re.sub(r"(?<=//)[^/]*@", "", re.split(r"[?#]", url, maxsplit=1)[0])


def _check_url(base: str, *, allow_http: bool) -> bool:
    """Refuse what is not a plain base URL, and plain HTTP to elsewhere; gives whether it is this machine."""
    parts = _parts(base)
    if parts.username is not None or {"?", "#"} & set(base):
        raise ModelError(
            f"base_url={shown(base)!r} comes with a user name, a query or a fragment: give api_key=, headers= or "
            "query= instead, where secrets stay hidden"
        )
    loopback = is_loopback(parts.hostname or "")
    if parts.scheme == "http" and not loopback and not allow_http:
        raise ModelError(
            f"{base} is plain HTTP to another machine, where prompts and keys can be read on the way: use https, or "
            "allow it with allow_http=True (the command: --allow-http)"
        )
    return loopback


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Parsers of URLs disagree on backslashes and white space, and so on which host is meant.
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        reason = "" if whole and url.isprintable() and not {" ", "\\"} & set(url) else "write it like https://host/v1"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise ModelError(f"base_url={shown(url)!r} is not a URL: {reason}")
    return parts


def _key_for(vendor: Provider, base: str, beside: str) -> tuple[str | None, str]:
    """The environment's key for this host; and the name of a key that was kept back."""
    key = os.environ.get(vendor.key) if vendor.key else None
    if not key:
        return None, ""
    meant = {_origin(url) for url in (vendor.url, beside) if url}
    return (key, "") if _origin(base) in meant else (None, vendor.key)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = _parts(url)
    return parts.scheme, parts.hostname, parts.port


def _key_header(provider: str, key: str | None) -> dict[str, str]:
    if not key:
        return {}
    if provider == "anthropic":
        return {"x-api-key": key}
    return {"api-key": key} if provider == "azure" else {"Authorization": f"Bearer {key}"}


def _merged(ours: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The user's headers win, however they are written: a header sent twice is read in two ways."""
    names = {name.lower() for name in own}
    return {**{name: value for name, value in ours.items() if name.lower() not in names}, **own}


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not (name + value).isprintable() or not (name + value).isascii():
            raise ModelError(f"the header {name!r} holds a line break or a character that HTTP cannot carry")
    return headers


def _post_url(provider: str, name: str, base: str, query: Mapping[str, str] | None) -> str:
    fields = dict(query or {})
    path = "chat/completions"
    if PROVIDERS[provider].local and not urlsplit(base).path:
        base += "/v1"  # others' tools read the same variables, and write the server's address alone
    if provider == "anthropic":
        # Its base URLs come without the version, those of all others with it: both are understood.
        base, path = base.removesuffix("/v1"), "v1/messages"
    if provider == "azure" and "/openai/v1" not in base:
        base = _deployment(base, name)
        fields.setdefault("api-version", os.environ.get("OPENAI_API_VERSION") or AZURE_VERSION)
    return f"{base}/{path}" + (f"?{urlencode(fields)}" if fields else "")


def _deployment(base: str, name: str) -> str:
    """The URL of a deployment; Azure's own pages show its endpoints with /openai, without, and with the deployment."""
    origin, found, there = base.removesuffix("/chat/completions").partition("/openai/deployments/")
    if found and unquote(there) != name:
        raise ModelError(
            f"base_url={shown(base)!r} is that of the deployment {unquote(there)!r}, and the model's name is {name!r}: "
            "name the deployment (price= gives its price), or give the endpoint without it"
        )
    return f"{origin.removesuffix('/openai')}/openai/deployments/{quote(name, safe='')}"
