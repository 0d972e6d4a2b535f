"""Which proxy the environment names for a host, the same for every transport."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fanfold.errors import UsageError
from fanfold.models.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection

NAMES = "the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY)"
NO_URL = f"{NAMES} is not a URL: write http://host:port"
"""What to say of such a proxy; not what it is, for it may hold a password."""

HTTP = frozenset({"http", "https"})
SOCKS = frozenset({"socks4", "socks4a", "socks5", "socks5h"})
"""Schemes of proxies: what a transport does not speak must not be spoken to in HTTP."""

PORTS = {"http": 80, "https": 443}
"""The ports of URLs that name none."""


class Proxies:
    """The proxies of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (or of the system's settings), read once.

    ALL_PROXY stands for those of the first two that are missing. NO_PROXY holds hosts, which stand for all below them
    (`.host` and `*.host` say the same), a host with a port, addresses and networks (10.0.0.0/8), or `*` alone.
    """

    def __init__(self, spoken: Collection[str] = HTTP) -> None:
        self._spoken = spoken
        self._given = getproxies()
        entries = [entry.strip() for entry in self._given.get("no", "").split(",")]
        self._below = tuple(entry[1:].lower() for entry in entries if entry.startswith("*."))
        self._networks = [network for entry in entries if "/" in entry and (network := _network(entry))]

    def of(self, scheme: str, host: str | None, port: int | None) -> str | None:
        """The proxy's URL, or None where a host is reached directly; raises `UsageError` for what is no URL."""
        # What is meant for this machine stays on it, also where nobody set NO_PROXY.
        if not self._given or host is None or is_loopback(host) or self._is_left_out(scheme, host, port):
            return None
        given = self._given.get(scheme) or self._given.get("all")
        if given is not None:
            self._check(given)
        return given

    def _is_left_out(self, scheme: str, host: str, port: int | None) -> bool:
        """Whether NO_PROXY names the host, by itself or with the port that is asked."""
        written = f"[{host}]" if ":" in host else host
        asked = (host, f"{written}:{port or PORTS.get(scheme, 0)}")
        named = any(proxy_bypass(one) or f".{one.lower()}".endswith(self._below) for one in asked)
        return named or bool(self._networks and self._is_within(host))

    def _is_within(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _check(self, given: str) -> None:
        try:
            parts = urlsplit(given)
            whole = bool(parts.scheme and parts.hostname) and parts.port != 0
        except ValueError:
            whole = False
        if whole and parts.scheme in SOCKS - set(self._spoken):
            raise UsageError(
                f"{NAMES} speaks SOCKS, which aiohttp does not: pip install 'fanfold[wreq]', and say "
                "transport='wreq' (or FANFOLD_TRANSPORT=wreq)"
            )
        if not whole or parts.scheme not in self._spoken:
            raise UsageError(NO_URL)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
