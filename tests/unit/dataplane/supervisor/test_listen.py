"""Listening sockets: a port in use is told in one line, a crash of one worker frees its queue."""

from __future__ import annotations

import socket

import pytest

from dataplane.supervisor.listen import ListenError, TrafficPort, listen


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0, "LISTEN") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            TrafficPort("127.0.0.1", port)
        assert str(caught.value) == f"cannot listen on 127.0.0.1:{port} (LISTEN): Address already in use"


def test_a_port_shared_by_a_stranger_is_in_use_too(unused_tcp_port: int) -> None:
    stranger = TrafficPort("127.0.0.1", unused_tcp_port)
    with stranger.socket() as listening:
        listening.listen()
        with pytest.raises(ListenError):
            TrafficPort("127.0.0.1", unused_tcp_port)
    stranger.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "300.1.1.1"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(ListenError, match=r"^cannot listen on .*:8000 \(STATUS_LISTEN\): \S"):
        listen(host, 8000, "STATUS_LISTEN")


def test_every_worker_has_a_queue_of_its_own(unused_tcp_port: int) -> None:
    port = TrafficPort("127.0.0.1", unused_tcp_port)
    with port.socket() as first, port.socket() as second:
        first.listen()
        second.listen()
        first.close()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", unused_tcp_port)):
                second.accept()[0].close()
    port.close()


def test_while_no_worker_listens_connections_are_refused(unused_tcp_port: int) -> None:
    port = TrafficPort("127.0.0.1", unused_tcp_port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_tcp_port))
    port.close()
