"""The test kit, for the users' own tests too: a fake model, virtual time, leak checks, and a model server.

The server has limits, faults on demand and a bill, over sockets (`ModelServer`) or without them (`SimulatedModel`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.models.fake import FakeModel
from fanfold.testing.leaks import Leak, no_leaks
from fanfold.testing.virtual import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from fanfold.testing.server import Bill, Charge, Fault, Limits, ModelServer, SimulatedModel

__all__ = [
    "Bill",
    "Charge",
    "FakeModel",
    "Fault",
    "Leak",
    "Limits",
    "ModelServer",
    "SimulatedModel",
    "VirtualLoop",
    "no_leaks",
    "run_virtual",
]

_SERVED = {"Bill", "Charge", "Fault", "Limits", "ModelServer", "SimulatedModel"}


def __getattr__(name: str) -> Any:
    # Tests in virtual time do without a server, and without the weight of one.
    if name in _SERVED:
        from fanfold.testing import server

        return getattr(server, name)
    raise AttributeError(f"module 'fanfold.testing' has no attribute {name!r}")
