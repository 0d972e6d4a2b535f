"""Which proxy the environment names for a host, the same for every transport."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fanfold.errors import UsageError
from fanfold.models.endpoints import is_loopback

NO_URL = "the proxy that the environment names (HTTPS_PROXY or HTTP_PROXY) is not a URL: write http://host:port"
"""What to say of such a proxy; not what it is, for it may hold a password."""


PORTS = {"http": 80, "https": 443}
"""The ports of URLs that name none."""


class Proxies:
    """The proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY (or of the system's settings), read once."""

    def __init__(self) -> None:
        self._given = getproxies()

    def of(self, scheme: str, host: str | None, port: int | None) -> str | None:
        """The proxy's URL, or None where a host is reached directly; raises `UsageError` for what is no URL."""
        # What is meant for this machine stays on it, also where nobody set NO_PROXY.
        if not self._given or host is None or is_loopback(host) or _is_left_out(scheme, host, port):
            return None
        given = self._given.get(scheme)
        if given is not None and not _is_url(given):
            raise UsageError(NO_URL)
        return given


def _is_left_out(scheme: str, host: str, port: int | None) -> bool:
    """Whether NO_PROXY names the host, by itself or with the port that is asked."""
    written = f"[{host}]" if ":" in host else host
    return bool(proxy_bypass(host) or proxy_bypass(f"{written}:{port or PORTS.get(scheme, 0)}"))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        return False
