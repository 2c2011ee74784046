"""Listening sockets: a port in use is told in one line, a worker that dies leaves its queue to the next one."""

from __future__ import annotations

import os
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
    with stranger.socket(0) as listening:
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
    first, second = port.socket(0), port.socket(1)
    first.listen()
    second.listen()
    port.release(0)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", unused_tcp_port)):
            second.accept()[0].close()
    port.close()


def test_a_worker_that_dies_leaves_its_queue_to_the_next(unused_tcp_port: int) -> None:
    port = TrafficPort("127.0.0.1", unused_tcp_port)
    with socket.socket(fileno=os.dup(port.socket(0).fileno())) as worker:
        worker.listen()
    with socket.create_connection(("127.0.0.1", unused_tcp_port)) as client:
        accepted, _ = port.socket(0).accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
    port.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_tcp_port))


def test_while_no_worker_listens_connections_are_refused(unused_tcp_port: int) -> None:
    port = TrafficPort("127.0.0.1", unused_tcp_port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_tcp_port))
    port.close()
