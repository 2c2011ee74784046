"""What a worker of gunicorn does with the leases of others when it leaves."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from headgate import wsgi
from headgate.shares import Shares
from headgate.sync import Registration

LATEST = 2
"""The configuration that was read last."""


class FakeRegistration:
    """Says which leases would end with it."""

    registered = True

    def __init__(self) -> None:
        self.ended: list[int] = []

    def inherit(self, leases: Iterable[int]) -> None:
        self.ended += leases

    def __exit__(self, *_: object) -> None:
        self.ended.append(1)


@pytest.mark.parametrize(
    ("generation", "ended"),
    [
        pytest.param(LATEST, [7, 1], id="gunicorn stops: nobody else ends it"),
        pytest.param(LATEST - 1, [1], id="a reload: it may be of a successor, recycled at once"),
    ],
)
def test_the_lease_of_a_dead_worker(
    generation: int, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi, "_shared", bytearray(struct.pack("<QQ", LATEST, LATEST)))
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    shares = Shares()
    shares.leave(2, 7)
    worker = SimpleNamespace(alive=True, nr=0, max_requests=100, ppid=os.getppid(), age=1)
    registration = FakeRegistration()
    leaving = wsgi._Worker(worker, cast(Registration, registration), generation, shares)
    leaving.leave()
    assert registration.ended == ended
