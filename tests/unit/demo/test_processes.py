"""A process whose start fails is ended, and so are those that start beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from demo import processes
from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, StartError
from tests.support import pair as pairs
from tests.support.pair import Pair

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """All that the test has started."""
    found: list[Process] = []
    real = processes.start

    def start(*arguments: object) -> Process:
        found.append(real(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(processes, "start", start)
    return found


def interrupted(_: str) -> Callable[[], bool]:
    """In place of `answers`: nobody waits until it does."""

    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    return interrupt


STARTS: dict[str, Callable[[Path], Process]] = {
    "etcd": lambda folder: Etcd().start(folder),
    "controlplane": lambda folder: ControlPlane("http://" + NOWHERE, Secrets()).start(folder),
    "dataplane": lambda folder: DataPlane(NOWHERE, Secrets()).start(folder),
}


@pytest.mark.parametrize("what", STARTS)
def test_a_start_that_is_given_up_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Process], what: str
) -> None:
    monkeypatch.setattr(processes, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        STARTS[what](tmp_path)
    assert [process.running for process in started] == [False]


async def test_a_fleet_of_which_one_does_not_start_leaves_no_process(
    tmp_path: Path, started: list[Process]
) -> None:
    """The others are still waited for when the fleet is given up."""
    secrets = Secrets()
    a, b = ControlPlane(NOWHERE, secrets, "a"), ControlPlane(NOWHERE, secrets, "b")
    pair = Pair(tmp_path, a, b)
    broken = DataPlane(NOWHERE, secrets, "broken", module="tests.support.no_such_module")
    try:
        # Without a control plane and without a cache it never is ready.
        with pytest.raises(StartError, match="broken ended"):
            await asyncio.gather(pair.start(broken), pair.add("waiting", NOWHERE))
    finally:
        await pairs._end(pair)
    assert [process.running for process in started] == [False, False]


def test_one_that_is_not_ready_in_time_says_what_to_do(tmp_path: Path) -> None:
    process = processes.start("idle", ["sleep", "1000"], {}, tmp_path)
    with pytest.raises(StartError) as late:
        try:
            processes.wait_until(lambda: False, process, timeout=0)
        finally:
            process.kill()
    assert "try again" in str(late.value)
    assert str(tmp_path / "idle.log") in str(late.value)


def test_each_process_is_ended_whatever_comes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = DataPlane(NOWHERE, Secrets())
    first, last = (plane.start(tmp_path / name, wait=False) for name in ("first", "last"))
    kill = last.kill

    def fail() -> NoReturn:
        kill()
        raise TimeoutError

    monkeypatch.setattr(last, "kill", fail)
    with pytest.raises(TimeoutError):
        processes.kill_all([first, last])
    assert (first.running, last.running) == (False, False)
