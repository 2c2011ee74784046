"""Refused calls are all counted, and logged once a minute for each address."""

from __future__ import annotations

import pytest

from controlplane.identity.refused_calls import EVERY, MOST_CALLERS, RefusedCalls


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.calls = RefusedCalls(lambda: self.now)

    def refuse(self, peer: str, times: int = 1, service: str = "config") -> None:
        for _ in range(times):
            self.calls.record(service, "unauthenticated", "Could not validate credentials", peer)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """Service, address and number of calls of each line; forgets them."""
    found = [(vars(line)["service"], vars(line)["address"], vars(line)["calls"]) for line in caplog.records]
    caplog.clear()
    return found


def test_a_caller_that_tries_again_and_again_is_logged_once_a_minute(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for port in range(1000):
        scene.refuse(f"ipv4:10.0.0.1:{port}")
    assert lines(caplog) == [("config", "10.0.0.1", 1)]
    scene.now = EVERY - 1
    scene.refuse("ipv4:10.0.0.1:1")
    assert lines(caplog) == []
    scene.now = EVERY
    scene.refuse("ipv4:10.0.0.1:1")
    assert lines(caplog) == [("config", "10.0.0.1", 1001)], (
        "those that had no line are counted in the next one"
    )
    assert scene.calls.counts == {("config", "unauthenticated"): 1002}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:52344", "10.0.0.1"),
        ("ipv6:%5B2001:db8::1%5D:52344", "2001:db8::1"),
        ("ipv6:[::1]:52344", "::1"),
        ("unix:/run/headgate.sock", "unix:/run/headgate.sock"),
        ("", ""),
    ],
)
def test_a_caller_is_known_by_its_address(
    scene: Scene, caplog: pytest.LogCaptureFixture, peer: str, address: str
) -> None:
    scene.refuse(peer)
    assert lines(caplog) == [("config", address, 1)]


def test_each_address_and_service_has_a_line(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.refuse("ipv4:10.0.0.1:1", 2)
    scene.refuse("ipv4:10.0.0.2:1", 2)
    scene.refuse("ipv4:10.0.0.1:1", 2, service="registry")
    assert lines(caplog) == [
        ("config", "10.0.0.1", 1),
        ("config", "10.0.0.2", 1),
        ("registry", "10.0.0.1", 1),
    ]


def test_a_flood_of_addresses_fills_neither_log_nor_memory(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MOST_CALLERS + 100):
        scene.refuse(f"ipv6:%5B2001:db8::{number:x}%5D:1")
    assert len(lines(caplog)) == MOST_CALLERS
    assert scene.calls.counts["config", "unauthenticated"] == MOST_CALLERS + 100
    scene.now = EVERY
    scene.refuse("ipv4:10.0.0.1:1")
    assert lines(caplog) == [("config", "10.0.0.1", 1)]
