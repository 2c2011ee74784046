"""How a watch waits between attempts, and what it logs."""

from __future__ import annotations

import logging

import pytest

from controlplane.store import StoreUnavailable
from controlplane.store.etcd import Outage

DOWN = StoreUnavailable("etcd:2379: Connection refused")


def test_pauses_double_up_to_two_seconds() -> None:
    outage = Outage("/a/")
    pauses = [outage.pause(7, DOWN) for _ in range(40)]
    for number, pause in enumerate(pauses):
        longest = min(0.05 * 2**number, 2.0)
        assert longest / 2 <= pause <= longest


def test_they_start_again_only_after_it_worked() -> None:
    outage = Outage("/a/")
    for _ in range(8):
        outage.pause(7, DOWN)
    outage.mended(7)  # taken on, and broken before anything came: no reason to hurry
    assert outage.pause(7, DOWN) >= 1.0
    outage.over()
    assert outage.pause(7, DOWN) <= 0.05


def test_an_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("/a/")
    for _ in range(3):
        outage.pause(7, DOWN)
    outage.mended(7)
    outage.mended(7)
    assert caplog.messages == [
        "watch of /a/ lost revision=7: etcd:2379: Connection refused",
        "watch of /a/ resumed revision=7",
    ]
