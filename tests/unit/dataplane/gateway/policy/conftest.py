"""An authenticator that trusts one RSA key."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.authenticate import Authenticator
from tests.unit.dataplane.gateway.policy.signed_tokens import rsa, trusted


@pytest.fixture
def gate() -> Authenticator:
    return Authenticator([trusted(rsa())])
