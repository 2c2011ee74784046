"""The start of a data plane, before its supervisor runs."""

from __future__ import annotations

import signal

import pytest

from dataplane import __main__ as start
from dataplane.settings import Settings, SettingsError


def test_a_rotation_of_logs_during_the_start_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Settings:
        signal.raise_signal(signal.SIGUSR1)
        raise SettingsError("still alive")

    monkeypatch.setattr("sys.argv", ["headgate-dataplane"])
    monkeypatch.setattr(start, "load", load)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        assert start.main() == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
