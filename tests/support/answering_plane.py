"""A data plane in the test's process that answers questions: the stream, the supervisor's part and one worker's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

from dataplane.channel import Kind
from dataplane.config.apply import Assembly
from dataplane.config.decode import NOTHING, Bundle, difference, read_part
from dataplane.config.reports import NodeState
from dataplane.config.stream import ConfigStream, ControlPlanes
from dataplane.gateway.decide import Gateway
from dataplane.observe.record import Recorder
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.parsed import read_head
from dataplane.proxy.pool import Pool
from dataplane.proxy.trust import Peer, TrustedProxies
from dataplane.supervisor.answering import Answering as Passing
from dataplane.worker.answering import Answering, Place
from tests.support.control_plane import DATAPLANE_TOKEN


class _Channel:
    """The channel of the worker: frames arrive at once."""

    backlog = 0

    def __init__(self, plane: AnsweringPlane) -> None:
        self._plane = plane

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self._plane.passing.answered(self._plane, payload)


class AnsweringPlane:
    """`hangs`: its worker does not answer."""

    name = "0.1"

    def __init__(self, address: str, node: str = "gw-1", redact: tuple[str, ...] = ()) -> None:
        self.state = NodeState(node, "0.1.0", 0, "")
        self.hangs = False
        self.recorder = Recorder(None)
        self.gateway = Gateway(self.recorder, Pool())
        self.assembly = Assembly()
        control_planes = ControlPlanes((address,), DATAPLANE_TOKEN)
        self.stream = ConfigStream(lambda: control_planes, lambda: self.state)
        self.passing = Passing(lambda: [self], self.stream.answer, within=1.0)
        self.stream.on_question = self.passing.take
        self.stream.on_lost = self.passing.lost
        place = Place(0, Bounds(), TrustedProxies(()), redact)
        channel = cast(Any, _Channel(self))
        self.answering = Answering(self.gateway, self.recorder, self.assembly, place, channel)
        self._served: Bundle = NOTHING

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """A frame for the worker."""
        assert kind is Kind.QUESTION
        if not self.hangs:
            self.answering.take(payload)

    def request(self, head: bytes, status: int = 200) -> None:
        """One request, which its instance answers with this status if it gets there."""
        client = Nobody(Peer("203.0.113.9"))
        exchange = read_head(head, client, self.gateway, Bounds(), TrustedProxies(()))
        now = exchange.started = time.monotonic()
        refusal = self.gateway.decide(exchange, now)
        self._end(exchange, status if refusal is None else self.gateway.refuse(exchange, refusal).status)

    def _end(self, exchange: Exchange, status: int) -> None:
        exchange.status, exchange.result, exchange.ended = status, Result.ANSWERED, time.monotonic()
        self.gateway.finished(exchange)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[AnsweringPlane]:
        """Connected within the block."""
        tasks = [asyncio.create_task(self.stream.run()), asyncio.create_task(self._apply())]
        try:
            yield self
        finally:
            self.answering.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _apply(self) -> None:
        while True:
            bundle = await self.stream.next_bundle(self._served)
            for part in difference(self._served, bundle):
                self.assembly.take(read_part(part))
            self.gateway.swap(self.assembly.complete(bundle.revision, bundle.digest), time.monotonic())
            self._served = bundle
            self.state = replace(self.state, revision=bundle.revision, digest=bundle.digest)
            self.stream.ack(bundle.revision)
