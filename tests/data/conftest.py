"""What tests of tables ask for."""

import pytest


@pytest.fixture
def same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that break off differ in what they are made of; here they pass for the one that does not."""
    monkeypatch.setattr("fanfold.data.table.fingerprint", lambda _: "one")
