"""The test kit, for the users' own tests too: a fake model, virtual time, a model server, leak checks."""

from fanfold.models.fake import FakeModel
from fanfold.testing.leaks import Leak, no_leaks
from fanfold.testing.virtual import VirtualLoop, run_virtual

__all__ = ["FakeModel", "Leak", "VirtualLoop", "no_leaks", "run_virtual"]
