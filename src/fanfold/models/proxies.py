"""Which proxy the environment names for a host, the same for every transport."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from fanfold.models.endpoints import is_loopback


class Proxies:
    """The proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY (or of the system's settings), read once."""

    def __init__(self) -> None:
        self._given = getproxies()

    def of(self, scheme: str, host: str | None) -> str | None:
        """The proxy's URL, or None where a host is reached directly."""
        # What is meant for this machine stays on it, also where nobody set NO_PROXY.
        if not self._given or host is None or is_loopback(host) or proxy_bypass(host):
            return None
        return self._given.get(scheme)
