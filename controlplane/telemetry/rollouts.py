"""The way of a change to the data planes, as further spans of the trace of the request that made it.

Every control plane that publishes the change adds its part: the traceparent is in the change entry of the store. A span
for the publication, and one for each data plane that is connected there, from the message to its answer. Their number
is bounded; refusals have a bound of their own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from controlplane.model.stored import Change
from controlplane.telemetry.spans import Rollouts
from controlplane.telemetry.texts import valid

MOST_ANSWERS: Final = 100
"""Spans of data planes that serve a change; and of data planes that reject it."""
MOST_ROLLOUTS: Final = 16
"""Changes that are followed at once: the last ones."""
LONGEST: Final = 60.0
"""Seconds for which a change is followed."""
MOST_REASONS: Final = 10

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NANO: Final = 1_000_000_000


@dataclass(slots=True)
class _Rollout:
    revision: int
    """Of the change."""
    context: Context
    """Of the span of its publication."""
    began: int
    """Nanoseconds."""
    sent: dict[str, int] = field(default_factory=dict)
    """When it was sent to data planes that have not answered."""
    answered: set[str] = field(default_factory=set)
    served: int = 0
    rejected: int = 0


class OtelRollouts(Rollouts):
    """Follows the last changes that are traced."""

    def __init__(
        self,
        tracer: Tracer,
        written: Callable[[int], Sequence[tuple[int, str]]] = lambda revision: (),
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """`written` takes the changes without a change entry that this control plane has made, up to a revision. `now`
        gives Unix nanoseconds."""
        self._tracer, self._written, self._now = tracer, written, now
        self._open: deque[_Rollout] = deque(maxlen=MOST_ROLLOUTS)

    def published(self, revision: int, changes: Iterable[Change]) -> None:
        """A span from the moment at which this control plane saw the change."""
        now = self._now()
        named = [(one.revision, one.trace, int(one.seen * _NANO)) for one in changes]
        found = [*named, *((*one, now) for one in self._written(revision))]
        for change, traceparent, seen in found:
            parent = (
                _PROPAGATOR.extract({"traceparent": traceparent}, Context()) if traceparent else Context()
            )
            if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
                continue
            about = {"headgate.revision": change, "headgate.published_revision": revision}
            span = self._tracer.start_span(
                "headgate.publish", parent, SpanKind.INTERNAL, about, start_time=seen
            )
            span.end(now)
            self._open.append(_Rollout(change, trace.set_span_in_context(span, Context()), now))

    def sent(self, node: str, revision: int) -> None:
        """Note the time."""
        now = self._now()
        for rollout in self._followed(revision, now):
            if node not in rollout.answered:
                rollout.sent.setdefault(node, now)

    def acked(self, node: str, revision: int) -> None:
        """A span from the message to this answer."""
        now = self._now()
        for rollout in self._followed(revision, now):
            # The answer may be read before the end of the write is noted.
            sent = rollout.sent.pop(node, now)
            if node in rollout.answered:
                continue
            rollout.answered.add(node)
            if rollout.served < MOST_ANSWERS:
                rollout.served += 1
                self._answer(rollout, node, revision, sent, now).end(now)

    def nacked(self, node: str, revision: int, reasons: Iterable[str]) -> None:
        """A span with the reasons."""
        now, told = self._now(), valid("; ".join(list(reasons)[:MOST_REASONS]))
        for rollout in self._followed(revision, now):
            # What is withheld was not sent.
            sent = rollout.sent.pop(node, now)
            if node not in rollout.answered and rollout.rejected < MOST_ANSWERS:
                rollout.answered.add(node)
                rollout.rejected += 1
                span = self._answer(rollout, node, revision, sent, now)
                span.set_status(StatusCode.ERROR, told)
                span.set_attribute("error.type", "rejected")
                span.end(now)

    def _answer(self, rollout: _Rollout, node: str, revision: int, sent: int, now: int) -> trace.Span:
        about: dict[str, str | int | float] = {
            "headgate.node": node,
            "headgate.revision": revision,
            "headgate.change_revision": rollout.revision,
            "headgate.seconds": round((now - rollout.began) / _NANO, 3),
        }
        return self._tracer.start_span(
            "headgate.serve", rollout.context, SpanKind.CLIENT, about, start_time=sent
        )

    def _followed(self, revision: int, now: int) -> list[_Rollout]:
        """Those that a configuration of this revision includes."""
        while self._open and now - self._open[0].began > LONGEST * _NANO:
            self._open.popleft()
        return [one for one in self._open if one.revision <= revision]
