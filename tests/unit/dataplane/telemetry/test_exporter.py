"""The queue and the thread of one signal, with a transport that the test answers for."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from dataplane.telemetry import exporter as module
from dataplane.telemetry.envelope import Envelope, describe
from dataplane.telemetry.exporter import Exporter
from dataplane.telemetry.options import Queue
from dataplane.telemetry.otlp import sized
from dataplane.telemetry.transport import NotSent
from tests.support.collector import texts
from tests.support.waiting import PATIENCE

MOST = 1_000_000
ENVELOPE = Envelope(describe("node-1", "1.0", [("service.name", "edge")]), "1.0")


class Scripted:
    """Answers as the test says, and keeps what was sent."""

    def __init__(self) -> None:
        self.answers: queue.Queue[tuple[int, str] | Exception] = queue.Queue()
        self.sent: queue.Queue[bytes] = queue.Queue()
        self.closed = threading.Event()

    def send(self, message: bytes) -> tuple[int, str]:
        self.sent.put(message)
        answer = self.answers.get(timeout=PATIENCE)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed.set()

    def next(self) -> list[str]:
        """The names of the spans in the next message."""
        message = TracesData.FromString(self.sent.get(timeout=PATIENCE))
        return [span.name for span in message.resource_spans[0].scope_spans[0].spans]


@pytest.fixture
def transport() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    for _ in range(100):  # let a thread that waits for an answer end
        scripted.answers.put((0, ""))


def exporter(transport: Scripted, queue: Queue, *, start: bool = True, most: int = MOST) -> Exporter:
    made = Exporter("traces", transport, ENVELOPE, queue, chance=lambda: 0.0, most=most)
    if start:
        made.start()
    return made


def span(name: str) -> bytes:
    return sized(b"\x12", Span(name=name).SerializeToString())


def test_items_are_sent_within_the_resource_and_the_scope(transport: Scripted) -> None:
    transport.answers.put((0, ""))
    made = exporter(transport, Queue(delay=0.01))
    made.put(2, span("a") + span("b"))
    message = TracesData.FromString(transport.sent.get(timeout=PATIENCE))
    (resource,) = message.resource_spans
    assert texts(resource.resource.attributes)["service.name"] == "edge"
    assert texts(resource.resource.attributes)["service.instance.id"] == "node-1"
    assert resource.schema_url.startswith("https://opentelemetry.io/schemas/")
    assert (resource.scope_spans[0].scope.name, resource.scope_spans[0].scope.version) == (
        "headgate.dataplane",
        "1.0",
    )
    assert [each.name for each in resource.scope_spans[0].spans] == ["a", "b"]
    made.close(PATIENCE)
    assert (made.exported, made.dropped) == (2, 0) and transport.closed.is_set()


def test_messages_have_a_bounded_number_of_items(transport: Scripted) -> None:
    made = exporter(transport, Queue(size=10, batch=2, delay=60), start=False)
    for name in "abcde":
        made.put(1, span(name))
    for _ in range(3):
        transport.answers.put((0, ""))
    made.start()
    made.close(PATIENCE)
    assert [transport.next() for _ in range(3)] == [["a", "b"], ["c", "d"], ["e"]]
    assert made.exported == 5


def test_what_does_not_fit_is_dropped_and_counted(transport: Scripted) -> None:
    made = exporter(transport, Queue(size=2), start=False)
    for name in "abc":
        made.put(1, span(name))
    assert made.dropped == 1
    made.put(1, b"x" * (MOST + 1))
    assert made.dropped == 2


def test_bytes_are_bounded_with_those_that_are_being_sent(transport: Scripted) -> None:
    made = exporter(transport, Queue(batch=1, delay=60), most=100)
    made.put(1, b"x" * 60)
    transport.sent.get(timeout=PATIENCE)  # and the collector does not answer
    made.put(1, b"x" * 60)
    assert made.dropped == 1
    made.put(1, b"x" * 40)
    assert made.dropped == 1
    for _ in range(2):
        transport.answers.put((0, ""))
    transport.sent.get(timeout=PATIENCE)
    made.close(PATIENCE)
    made.put(1, b"x" * 100)
    assert (made.exported, made.dropped) == (2, 1), "all of them are free again"


def test_a_message_is_sent_again_until_it_is_taken(
    transport: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "RETRY_FIRST", 0.001)
    for answer in (NotSent("away", again=True), NotSent("away", again=True), (0, "")):
        transport.answers.put(answer)
    made = exporter(transport, Queue(delay=0.01))
    made.put(1, span("a"))
    assert [transport.next() for _ in range(3)] == [["a"]] * 3
    made.close(PATIENCE)
    assert (made.exported, made.dropped) == (1, 0)
    assert [record.message for record in caplog.records] == [
        "telemetry cannot be exported",
        "telemetry is exported again",
    ]


def test_a_refused_message_is_not_sent_again(transport: Scripted) -> None:
    transport.answers.put(NotSent("HTTP status 400", again=False))
    transport.answers.put((1, "bad"))
    made = exporter(transport, Queue(batch=2, delay=0.01))
    made.put(2, span("a") + span("b"))
    assert transport.next() == ["a", "b"]
    made.put(2, span("c") + span("d"))
    assert transport.next() == ["c", "d"]
    made.close(PATIENCE)
    assert (made.exported, made.dropped) == (1, 3)


def test_an_old_message_gives_way_to_newer_ones(transport: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP", 0.0)
    transport.answers.put(NotSent("away", again=True))
    transport.answers.put((0, ""))
    made = exporter(transport, Queue(delay=0.01))
    made.put(1, span("a"))
    assert transport.next() == ["a"]
    made.put(1, span("b"))
    assert transport.next() == ["b"]
    made.close(PATIENCE)
    assert (made.exported, made.dropped) == (1, 1)


def test_the_end_waits_for_a_collector_no_longer_than_it_may(transport: Scripted) -> None:
    made = exporter(transport, Queue(delay=0.01))
    made.put(1, span("a"))
    assert transport.next() == ["a"]  # and no answer comes
    made.put(5, span("b"))
    made.close(0.01)
    assert made.dropped == 5


def test_the_end_does_not_wait_out_a_pause(transport: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST", 30.0)
    transport.answers.put(NotSent("away", again=True))
    made = exporter(transport, Queue(delay=0.01))
    made.put(1, span("a"))
    assert transport.next() == ["a"]
    transport.answers.put((0, ""))
    made.close(PATIENCE)
    assert (made.exported, made.dropped) == (1, 0)


def test_messages_after_a_lost_one_keep_to_the_pause_as_well(
    transport: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport.answers.put(NotSent("HTTP status 503", again=True, wait=3600.0))
    made = exporter(transport, Queue(batch=1, delay=0.01))
    waits: queue.Queue[float] = queue.Queue()
    pause = made._closing.wait

    def wait(seconds: float) -> bool:
        waits.put(seconds)
        return pause(seconds)

    monkeypatch.setattr(made._closing, "wait", wait)
    made.put(1, span("a"))
    made.put(1, span("b"))
    assert waits.get(timeout=PATIENCE) == module.GIVE_UP
    transport.answers.put((0, ""))
    made.close(PATIENCE)
    assert [transport.next(), transport.next()] == [["a"], ["b"]]
    assert (made.exported, made.dropped) == (1, 1)
