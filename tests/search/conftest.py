"""Fixtures of the search's tests."""

import pytest

from cnn_blocks import registry


@pytest.fixture
def components_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unregisters at its end what a test registers: other tests look at all components."""
    for role in registry.ROLES:
        known = registry.components(role)
        monkeypatch.setitem(registry._registered, role, dict(known))
