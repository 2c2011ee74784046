"""Spans as the rest of the control plane makes them. These do nothing; `otel` has those that are exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from controlplane.model.stored import Change

Value = str | int | float | bool


class Span:
    """A span that is under way."""

    trace_id: str = ""
    """32 hexadecimal digits; empty if it is not exported."""

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""

    def fail(self, reason: str) -> None:
        """The operation failed."""


NO_SPAN = Span()


class Rollouts:
    """Told of the way of configurations to the data planes that are connected here."""

    def published(self, revision: int, changes: Iterable[Change]) -> None:
        """A configuration with these new changes is published."""

    def sent(self, node: str, revision: int) -> None:
        """A configuration was sent to a data plane."""

    def acked(self, node: str, revision: int) -> None:
        """A data plane serves it."""

    def nacked(self, node: str, revision: int, reasons: Iterable[str]) -> None:
        """A data plane rejected it, or it is withheld from it."""


class Spans:
    """Makes spans. A span is the parent of those that are made within its block, by the same task."""

    def __init__(self) -> None:
        self.rollouts = Rollouts()

    @contextmanager
    def request(
        self,
        method: str,
        route: str,
        headers: Mapping[str, str],
        *,
        obeyed: bool,
        attributes: Mapping[str, Value],
    ) -> Iterator[Span]:
        """A request to the admin API. `obeyed`: the caller's `traceparent` decides; otherwise it is only linked."""
        yield NO_SPAN

    @contextmanager
    def call(self, service: str, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """A gRPC call; the caller's `traceparent` is linked."""
        yield NO_SPAN

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Value], *, remote: bool = False) -> Iterator[Span]:
        """A part of what is under way, and nothing by itself. `remote`: another process does it."""
        yield NO_SPAN

    def carried(self) -> str:
        """The `traceparent` of the span that is under way; empty if it is not exported."""
        return ""

    def wrote(self, revision: int) -> None:
        """The span under way wrote this revision, and its change entry does not name it."""
