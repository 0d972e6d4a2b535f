"""A model server for tests, demos and benchmarks: it speaks OpenAI's and Anthropic's dialects on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fanfold.testing.server.apart import apart

if TYPE_CHECKING:
    from fanfold.testing.server.bill import Bill, Charge
    from fanfold.testing.server.book import Seen, ServerStatistics
    from fanfold.testing.server.faults import Fault
    from fanfold.testing.server.limits import Limits
    from fanfold.testing.server.model_server import ModelServer
    from fanfold.testing.server.simulated import SimulatedModel

__all__ = [
    "Bill",
    "Charge",
    "Fault",
    "Limits",
    "ModelServer",
    "Seen",
    "ServerStatistics",
    "SimulatedModel",
    "apart",
]

_HOMES = {
    "Bill": "bill",
    "Charge": "bill",
    "Fault": "faults",
    "Limits": "limits",
    "ModelServer": "model_server",
    "Seen": "book",
    "ServerStatistics": "book",
    "SimulatedModel": "simulated",
}


def __getattr__(name: str) -> Any:
    # Tests in virtual time use the service without its sockets, and without the weight of an HTTP server.
    if name in _HOMES:
        return getattr(import_module(f"fanfold.testing.server.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fanfold.testing.server' has no attribute {name!r}")
