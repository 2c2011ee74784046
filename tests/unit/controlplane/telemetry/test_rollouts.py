"""The spans of a change on its way to data planes: one for each answer, bounded, in the trace of the request."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from controlplane.model.stored import Change
from controlplane.telemetry.rollouts import LONGEST, MOST_ANSWERS, OtelRollouts

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECOND = 1_000_000_000


def change(revision: int, flags: str = "01", seen: float = 99.0) -> Change:
    return Change(revision, "ann", 98.0, "one route", f"00-{TRACE}-b7ad6b7169203331-{flags}", seen)


class Stage:
    def __init__(self) -> None:
        self.now, self.exporter = 100 * SECOND, InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.written: list[tuple[int, str]] = []
        self.rollouts = OtelRollouts(provider.get_tracer("test"), self.take, lambda: self.now)

    def take(self, revision: int) -> Sequence[tuple[int, str]]:
        found, self.written = self.written, []
        return found

    def spans(self, name: str = "headgate.serve") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def about(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_the_way_of_a_change(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    stage.now += SECOND
    stage.rollouts.sent("gw-1", 7)
    stage.now += 2 * SECOND
    stage.rollouts.acked("gw-1", 7)
    (publish,), (serve,) = stage.spans("headgate.publish"), stage.spans()
    assert publish.parent is not None and publish.parent.span_id == 0xB7AD6B7169203331
    assert (publish.start_time, publish.end_time) == (99 * SECOND, 100 * SECOND)
    assert serve.parent == publish.context and serve.context is not None
    assert f"{serve.context.trace_id:032x}" == TRACE
    assert (serve.start_time, serve.end_time) == (101 * SECOND, 103 * SECOND)
    assert about(serve)["headgate.seconds"] == 3.0
    assert serve.status.status_code is StatusCode.UNSET


def test_an_answer_that_is_read_before_the_end_of_the_write_is_noted(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    stage.rollouts.acked("gw-1", 7)
    stage.rollouts.sent("gw-1", 7)
    stage.rollouts.acked("gw-1", 7)
    (serve,) = stage.spans()
    assert serve.start_time == serve.end_time == 100 * SECOND


def test_a_rejection_is_an_error_with_its_reasons(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    stage.rollouts.sent("gw-1", 7)
    stage.rollouts.nacked("gw-1", 7, ["route/orders prefix: too many", "more"])
    (serve,) = stage.spans()
    assert serve.status.status_code is StatusCode.ERROR
    assert serve.status.description == "route/orders prefix: too many; more"


def test_a_later_rejection_is_none_of_a_change_that_is_served(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    stage.rollouts.sent("gw-1", 7)
    stage.rollouts.acked("gw-1", 7)
    stage.rollouts.published(8, [change(8)])
    stage.rollouts.sent("gw-1", 8)
    stage.rollouts.nacked("gw-1", 8, ["too many"])
    assert [about(span)["headgate.change_revision"] for span in stage.spans()] == [7, 8]


def test_one_answer_to_several_changes_is_in_the_trace_of_each(stage: Stage) -> None:
    stage.rollouts.published(9, [change(8), change(9)])
    stage.rollouts.sent("gw-1", 9)
    stage.rollouts.acked("gw-1", 9)
    assert sorted(str(about(span)["headgate.change_revision"]) for span in stage.spans()) == ["8", "9"]
    # It serves them already.
    stage.rollouts.sent("gw-1", 10)
    stage.rollouts.acked("gw-1", 10)
    assert len(stage.spans()) == 2


def test_what_is_not_sampled_or_not_traced_has_no_spans(stage: Stage) -> None:
    garbage = Change(5, "ann", 1.0, "x", "garbage", 1.0)
    stage.rollouts.published(7, [change(6, "00"), Change(7, "ann", 1.0, "x"), garbage])
    stage.rollouts.sent("gw-1", 7)
    stage.rollouts.acked("gw-1", 7)
    assert not stage.exporter.get_finished_spans()


def test_changes_of_instances_are_traced_where_they_were_made(stage: Stage) -> None:
    stage.written = [(6, change(6).trace)]
    stage.rollouts.published(7, [])
    assert [about(span)["headgate.revision"] for span in stage.spans("headgate.publish")] == [6]


def test_the_number_of_answers_is_bounded_and_rejections_have_room_of_their_own(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    for number in range(MOST_ANSWERS + 20):
        stage.rollouts.sent(f"gw-{number}", 7)
        stage.rollouts.acked(f"gw-{number}", 7)
    assert len(stage.spans()) == MOST_ANSWERS
    stage.rollouts.nacked("bad", 7, ["too many"])
    assert len(stage.spans()) == MOST_ANSWERS + 1


def test_a_change_is_followed_for_a_while(stage: Stage) -> None:
    stage.rollouts.published(7, [change(7)])
    stage.now += int(LONGEST + 1) * SECOND
    stage.rollouts.sent("late", 7)
    stage.rollouts.acked("late", 7)
    assert not stage.spans()
