"""The data plane keeps the control plane's sessions from services."""

from __future__ import annotations

from controlplane.api import session
from dataplane.proxy.http1.names import SESSION


def test_both_planes_know_the_same_cookies() -> None:
    names = {session._name(end, secure=secure) for end in ("", "-renew") for secure in (True, False)}
    assert names == {name.decode() for name in SESSION}
