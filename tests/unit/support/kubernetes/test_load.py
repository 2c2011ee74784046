"""The load that runs in a pod counts what a client sees."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from demo.ports import free_port
from tests.support.kubernetes.workloads import load as workload
from tests.support.kubernetes.workloads.load import Load

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npod-1"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"
SILENCE = b""
RESET = b"reset"


class Server:
    """Answers each connection's requests; what `answers` has comes first."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self.accepted = 0
        """Connections."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Ends the accept, which a close does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                # The second part of an answer must not wait for the acknowledgement of the first one.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.accepted += 1
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                if self._answers[:1] == [RESET]:
                    self._reset(connection)
                    return
                answer = self._answers.pop(0) if self._answers else OK
                # In two parts, as they may arrive.
                connection.sendall(answer[:30])
                connection.sendall(answer[30:])
                if answer is not OK:
                    return

    def _reset(self, connection: socket.socket) -> None:
        """Answer, then end the idle connection with a reset."""
        self._answers.pop(0)
        connection.sendall(OK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def serve() -> Iterator[Callable[[list[bytes]], int]]:
    """A function that starts a server with these first answers and returns its port."""
    with contextlib.ExitStack() as stack:

        def start(answers: list[bytes]) -> int:
            server = Server(answers)
            stack.callback(server.close)
            return server.port

        yield start


def run(port: int, until: Callable[[Load], bool], rate: float = 1000) -> Load:
    with contextlib.closing(Load(("127.0.0.1", port), "/", rate, connections=1)) as load:
        load.run(lambda: until(load))
    return load


def test_counts_answers_by_pod_and_opens_new_connections(serve: Callable[[list[bytes]], int]) -> None:
    load = run(serve([]), lambda load: load.pods["pod-1"] > 2.5 * 200)
    assert not load.errors


def test_keeps_the_rate(serve: Callable[[list[bytes]], int]) -> None:
    load = run(serve([]), lambda load: load.pods["pod-1"] >= 50, rate=100)
    assert load.counts()["seconds"] >= 0.49  # type: ignore[operator]


def test_counts_refusals_and_broken_connections_and_goes_on(serve: Callable[[list[bytes]], int]) -> None:
    load = run(serve([BUSY, SILENCE, OK]), lambda load: load.pods["pod-1"] > 10)
    assert load.errors == {"http/1.1 503 service unavailable busy": 1, "request: closed": 1}


def test_the_end_of_an_idle_connection_fails_nothing() -> None:
    server, now = Server([RESET, RESET]), [0.0]
    with (
        contextlib.closing(server),
        contextlib.closing(Load(("127.0.0.1", server.port), "/", 1, 1, clock=lambda: now[0])) as load,
    ):
        for number in (1, 2, 3):
            # The next request is due only after the load has seen the end, and has a new connection.
            load.run(lambda number=number: load.pods["pod-1"] == number and server.accepted > min(number, 2))  # type: ignore[misc]
            now[0] += 1.0
    assert not load.errors


def test_counts_connections_that_are_refused() -> None:
    port = free_port()
    load = run(port, lambda load: load.errors.total() >= 2)
    assert load.errors == {"connect: Connection refused": 2}


def test_a_request_without_an_answer_has_failed(
    serve: Callable[[list[bytes]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "PATIENCE", 0.0)
    load = run(serve([OK[:20]]), lambda load: bool(load.errors))
    assert load.errors.total() == 1


def test_the_time_of_a_request_counts_from_when_it_was_due(serve: Callable[[list[bytes]], int]) -> None:
    now = [0.0]
    with contextlib.closing(Load(("127.0.0.1", serve([])), "/", 1, 1, clock=lambda: now[0])) as load:
        load.run(lambda: load.pods["pod-1"] == 1)
        now[0] = 5.0
        load.run(lambda: load.pods["pod-1"] == 2)
    assert load.slowest == 4.0
