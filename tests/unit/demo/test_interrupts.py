"""The first signal ends the demo in order, every later one hurries that, and none comes while a process begins."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from demo.interrupts import SIGNALS, Interrupts, held_back


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_interrupts_and_later_ones_hurry() -> None:
    hurried: list[bool] = []
    Interrupts(lambda: hurried.append(True)).install()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not hurried
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert len(hurried) == 2


def test_a_signal_waits_until_the_process_is_known() -> None:
    Interrupts(lambda: None).install()
    known = False
    with pytest.raises(KeyboardInterrupt):
        with held_back():
            signal.raise_signal(signal.SIGTERM)
            known = True
        pytest.fail("it was delivered before")
    assert known


def test_handlers_of_others_are_left_alone() -> None:
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    with held_back():
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
