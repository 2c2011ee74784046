"""The open-loop generator: arrivals, percentiles, requests, and a server that stalls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import islice, repeat

import pytest

from tests.benchmarks.openloop import Load, gaps, percentile, requests, summary
from tests.benchmarks.sink import ANSWER, content_length, read_head

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answering(listener: socket.socket, answers: list[bytes]) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                read_head(connection)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_steady_arrivals_are_equally_far_apart() -> None:
    assert list(islice(gaps(100.0, "steady"), 3)) == [0.01, 0.01, 0.01]


def test_poisson_arrivals_have_the_rate_and_are_the_same_every_time() -> None:
    one = list(islice(gaps(100.0, "poisson"), 20_000))
    assert sum(one) / len(one) == pytest.approx(0.01, rel=0.03)
    assert one == list(islice(gaps(100.0, "poisson"), 20_000))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5), (0.9, 9), (0.91, 10), (0.99, 10), (1.0, 10), (0.0, 1)]
)
def test_percentiles_are_by_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 11), share) == expected


def test_every_path_and_every_token_is_used() -> None:
    made = requests("/r", 5, ["a", "b"])
    assert [request.split()[1] for request in made] == [b"/r/0", b"/r/1", b"/r/2", b"/r/3", b"/r/4"]
    assert {b"Bearer a" in request for request in made} == {True, False}
    assert len(requests("/orders", 0, ["a", "b", "c"])) == 3


def test_answers_are_counted_by_status(listener: socket.socket) -> None:
    bad = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    thread = answering(listener, [ANSWER, bad, ANSWER])
    load = Load(port(listener), [REQUEST], 1)
    load.run(0.025, repeat(0.01))
    thread.join()
    assert summary(load, 0.0)["statuses"] == {"200": 2, "503": 1}
    assert load.broken == 0


def test_a_stall_counts_for_every_request_that_was_due_meanwhile(listener: socket.socket) -> None:
    released = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for _ in range(10):
                read_head(connection)
                released.wait(5)
                connection.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    timer = threading.Timer(0.3, released.set)
    timer.start()
    load = Load(port(listener), [REQUEST], 1)
    load.run(0.095, repeat(0.01))
    thread.join()
    timer.join()
    # A closed loop would have seen one slow request and nine quick ones.
    assert len(load.latencies) == 10
    assert min(load.latencies) > 0.05


def test_a_connection_that_breaks_is_an_unanswered_request(listener: socket.socket) -> None:
    thread = answering(listener, [])
    load = Load(port(listener), [REQUEST], 1)
    load.run(0.005, repeat(0.01))
    thread.join()
    assert load.broken == 1


def test_the_length_of_a_body_is_read_and_chunks_are_not_understood() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\nA: b\r\nCONTENT-LENGTH: 12") == 12
    assert content_length(b"HTTP/1.1 204 No Content") == 0
    with pytest.raises(ConnectionError):
        content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
