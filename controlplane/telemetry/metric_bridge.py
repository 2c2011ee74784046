"""The metrics that Prometheus gets, for OpenTelemetry: `headgate_controlplane_store_up` is
`headgate.controlplane.store_up` here.

They are read from the parts within the event loop, which changes those, and not by the thread that exports them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from prometheus_client.core import Metric

PREFIXES: Final = (("headgate_controlplane_", "headgate.controlplane."), ("headgate_", "headgate."))
READ_WITHIN: Final = 5.0
"""Seconds that the event loop has for it."""
FRESH: Final = 1.0
"""Seconds for which what was read serves all metrics."""
_KINDS: Final = {"gauge": False, "counter": True}


class Source(Protocol):
    """Gives the families; `api.metrics.PartsCollector` is one."""

    def collect(self) -> Iterable[Metric]: ...


class Bridge:
    """An observed instrument for each family."""

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, meter: Meter) -> None:
        self._source, self._loop = source, loop
        self._read_at = float("-inf")
        self._families: dict[str, Metric] = {}
        for family in source.collect():
            if family.type in _KINDS:
                self._add(family, meter)

    def _add(self, family: Metric, meter: Meter) -> None:
        counts, name = _KINDS[family.type], _name(family.name)
        observe = self._observer(family.name, counts)
        if counts:
            meter.create_observable_counter(name, [observe], description=family.documentation)
        else:
            meter.create_observable_gauge(name, [observe], description=family.documentation)

    def _observer(self, name: str, counts: bool) -> Callable[[CallbackOptions], Iterable[Observation]]:
        sample_name = f"{name}_total" if counts else name

        def observe(_: CallbackOptions) -> list[Observation]:
            family = self._read().get(name)
            samples = family.samples if family is not None else ()
            return [Observation(one.value, dict(one.labels)) for one in samples if one.name == sample_name]

        return observe

    def _read(self) -> dict[str, Metric]:
        if time.monotonic() - self._read_at > FRESH:
            future = asyncio.run_coroutine_threadsafe(self._collect(), self._loop)
            try:
                self._families = future.result(READ_WITHIN)
            except TimeoutError:
                # This message has none of these metrics. Each of the instruments would wait otherwise.
                future.cancel()
                self._families = {}
            self._read_at = time.monotonic()
        return self._families

    async def _collect(self) -> dict[str, Metric]:
        return {family.name: family for family in self._source.collect()}


def _name(name: str) -> str:
    for prefix, other in PREFIXES:
        if name.startswith(prefix):
            return other + name.removeprefix(prefix)
    return name
