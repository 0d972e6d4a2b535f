"""The test kit, for the users' own tests too: a fake model, virtual time, a model server, leak checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.models.fake import FakeModel
from fanfold.testing.leaks import Leak, no_leaks
from fanfold.testing.virtual import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from fanfold.testing.server import ModelServer

__all__ = ["FakeModel", "Leak", "ModelServer", "VirtualLoop", "no_leaks", "run_virtual"]


def __getattr__(name: str) -> Any:
    # Tests in virtual time do without a server, and without the weight of one.
    if name == "ModelServer":
        from fanfold.testing.server import ModelServer

        return ModelServer
    raise AttributeError(f"module 'fanfold.testing' has no attribute {name!r}")
