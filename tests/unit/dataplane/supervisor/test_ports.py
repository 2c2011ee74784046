"""The ports of listeners beside those of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from dataplane.config.table import ResourceSet, build
from dataplane.gateway.policy.resources import Listener
from dataplane.setting_checks import taken_ports
from dataplane.supervisor.listen import ListenError, TrafficPort
from dataplane.supervisor.ports import Ports


@pytest.fixture
def traffic(unused_tcp_port: int) -> Iterator[TrafficPort]:
    """That of the settings, before a worker listens on it: the system would let others bind it, too."""
    port = TrafficPort("127.0.0.1", unused_tcp_port)
    yield port
    port.close()


@pytest.mark.usefixtures("traffic")
def test_the_port_of_the_settings_is_no_listener_s(unused_tcp_port: int) -> None:
    """A restart with a cached listener, after LISTEN was moved to its port: half of the connections would be its."""
    table = build(ResourceSet.of(Listener("web", unused_tcp_port)))
    ports = Ports("127.0.0.1", lambda: (), {unused_tcp_port: "LISTEN"})
    ports.bind_some(table)
    assert ports.open == frozenset()
    assert ports.missing == {unused_tcp_port: "is the port of the setting LISTEN"}
    ports.missing = {}
    assert [str(problem) for problem in ports.bind(table)] == [
        "listener/web port: is the port of the setting LISTEN"
    ]


def test_a_worker_that_gets_no_socket_is_left_without_it(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    passed: list[object] = []
    worker = cast(Any, type("Worker", (), {"index": 0, "ports": set(), "pass_ports": passed.append})())
    ports = Ports("127.0.0.1", lambda: (worker,))
    ports.bind_some(build(ResourceSet.of(Listener("web", unused_tcp_port))))

    def fail(self: TrafficPort, index: int) -> None:
        raise ListenError("Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(TrafficPort, "socket", fail)
        ports.offer(worker)
    assert passed == [{}]
    ports.close()


@pytest.mark.parametrize(
    ("listen", "secured", "found"),
    [
        ("0.0.0.0:8000", None, {8000: "LISTEN"}),
        ("0.0.0.0:8000", "127.0.0.1:8443", {8000: "LISTEN", 8443: "TLS_LISTEN"}),
        ("127.0.0.1:8000", "127.0.0.2:8443", {8000: "LISTEN"}),
    ],
)
def test_ports_of_the_settings(listen: str, secured: str | None, found: dict[int, str]) -> None:
    assert taken_ports(listen, secured) == found
