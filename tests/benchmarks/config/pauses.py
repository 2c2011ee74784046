"""What one change costs each plane, without the wire: `python -m tests.benchmarks.config.pauses [routes]`.

The longest time for which an event loop is held up: in the control plane by taking a change in, publishing and encoding
it; in a worker by applying it, and by the longest step of the first snapshot.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from controlplane.distribute.deltas import Deltas
from controlplane.distribute.subscriber import Mark
from controlplane.model.config import Config
from controlplane.model.resources import parse
from controlplane.model.stored import encode, key_of
from controlplane.rpc.wire.encoder import Encoder
from controlplane.store import Entry
from dataplane.config.apply import Assembly
from dataplane.config.decode import NOTHING, Bundle, applied, difference, read_part, unpack
from dataplane.gateway.decide import Gateway
from dataplane.proxy.pool import Pool
from headgate_api.v1 import config_pb2 as pb
from tests.benchmarks.config.changes import changed, document

CHANGES = 200


def entry(kind: str, raw: object, revision: int) -> Entry:
    """As it lies in the store."""
    resource = parse(kind, raw)
    return Entry(key_of(kind, resource.name), encode(resource), revision)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of this thread's CPU time: what others do on the machine does not count."""
    began = time.thread_time()
    work()
    return 1000 * (time.thread_time() - began)


class Planes:
    """Both planes at one revision."""

    def __init__(self, routes: int) -> None:
        raw = cast(Any, document(routes, 9000))
        stored = [entry("scope", one, 2) for one in raw["scopes"]]
        stored += [entry("service", one, 2) for one in raw["services"]]
        stored += [entry("route", one, 2) for one in raw["routes"]]
        self.routes = routes
        self.revision = 2
        self.config = Config()
        self.deltas, self.encoder = Deltas(), Encoder()
        self.building = timed(lambda: self._take(stored))
        message = pb.StreamResponse.FromString(self.encoder.encode(self.current))
        self.bundle = NOTHING
        self.target = unpack(message.snapshot)
        self.assembly = Assembly()
        observer = cast(Any, SimpleNamespace(finished=lambda _: None))
        self.gateway = Gateway(observer, Pool())
        self.first = self._apply_first()

    def _take(self, entries: list[Entry]) -> None:
        for one in entries:
            self.config.put(one)
        self.current, touched = self.config.publish(self.revision)
        self.deltas.trail.add(self.revision, touched)

    def _apply_first(self) -> list[float]:
        """Each step on its own."""
        gc.disable()
        steps = []
        for data in difference(NOTHING, self.target):
            steps.append(timed(lambda data=data: self.assembly.take(read_part(data))))  # type: ignore[misc]
        completing = self.assembly.completing(self.target.revision, self.target.digest)
        while self.assembly.table.revision != self.target.revision:
            steps.append(timed(lambda: next(completing, None)))
        steps.append(timed(lambda: self.gateway.swap(self.assembly.table, 0.0)))
        gc.freeze()
        gc.enable()
        self.bundle = self.target
        return steps

    def change(self, number: int) -> tuple[float, float, float]:
        """One route: milliseconds in the control plane, the supervisor and the worker."""
        self.revision += 1
        stored = entry("route", changed(number % self.routes), self.revision)
        encoded: list[bytes] = []
        at_controlplane = timed(lambda: encoded.append(self._send(stored)))
        delta = pb.StreamResponse.FromString(encoded[0]).delta
        parts: list[bytes] = []
        at_supervisor = timed(lambda: parts.extend(self._receive(delta)))
        return at_controlplane, at_supervisor, timed(lambda: self._apply(parts))

    def _send(self, stored: Entry) -> bytes:
        base = Mark.of(self.current)
        self._take([stored])
        delta = self.deltas.between(base, self.current)
        assert delta is not None
        return self.encoder.encode(delta)

    def _receive(self, delta: pb.Delta) -> list[bytes]:
        before: Bundle = self.bundle
        self.bundle = applied(before, delta)
        return list(difference(before, self.bundle))

    def _apply(self, parts: list[bytes]) -> None:
        for data in parts:
            self.assembly.take(read_part(data))
        self.gateway.swap(self.assembly.complete(self.bundle.revision, self.bundle.digest), 0.0)


def main() -> int:
    """Print the figures."""
    routes = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    planes = Planes(routes)
    found = [planes.change(number * 37) for number in range(CHANGES)]
    say = sys.stdout.write
    say(f"{routes} routes; milliseconds, median and longest of {CHANGES} changes of one route\n")
    for name, times in zip(("control plane", "supervisor", "worker"), zip(*found, strict=True), strict=True):
        say(f"{name:16}{sorted(times)[CHANGES // 2]:8.2f}{max(times):8.2f}\n")
    say(f"first snapshot in the worker: {len(planes.first)} steps, {sum(planes.first):.0f} ms in all, ")
    say(f"the longest {max(planes.first):.1f} ms\n")
    say(f"building from nothing in the control plane: {planes.building:.0f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
