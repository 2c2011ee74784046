"""A signing key for the control planes of this folder."""

from __future__ import annotations

import pytest

from controlplane.identity import KeyRing
from tests.support.control_plane import make_ring


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return make_ring()
