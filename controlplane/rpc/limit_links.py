"""Streams to the control planes that own limits: opened when there is something to ask, and again when they break."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

import grpc
import grpc.aio

from controlplane.fleet.members import Member
from controlplane.identity import PeerSecret
from controlplane.rpc.limit_routes import LimitRoutes
from controlplane.rpc.peer_link import CONNECT_WITHIN, LinkTls, channel_to
from controlplane.rpc.peer_stream import SCHEME
from headgate_api.leases import codec
from headgate_api.v1 import limits_pb2, peers_pb2
from headgate_api.v1.peers_pb2_grpc import PeerServiceStub

MOST_QUEUED = 1000
"""Messages that wait for a stream."""
IDLE = 60.0
"""Seconds without an ask after which a stream is closed."""
PAUSE = 0.2
"""Seconds after a stream broke within which asks are refused at once."""

logger = logging.getLogger(__name__)


class LimitLinks:
    """Implements `rpc.limit_routes.Link` for the control plane of this name. `member` finds the address of another
    one."""

    def __init__(
        self,
        routes: LimitRoutes,
        secret: PeerSecret,
        name: str,
        member: Callable[[str], Member | None],
        tls: LinkTls | None = None,
    ) -> None:
        self._routes = routes
        self._secret = secret
        self._name = name
        self._member = member
        self._tls = tls or LinkTls()
        self._links: dict[str, _Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, controlplane: str, asks: limits_pb2.LimitAsks) -> bool:
        link = self._links.get(controlplane)
        if link is None:
            member = self._member(controlplane)
            if member is None:
                return False
            link = self._links[controlplane] = _Link()
            task = asyncio.create_task(self._run(controlplane, member, link), name=f"limits: {controlplane}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if link.broken or len(link.queue) >= MOST_QUEUED:
            return False
        link.put(asks)
        return True

    def tell(self, asks: limits_pb2.LimitAsks) -> None:
        for link in self._links.values():
            if not link.broken and len(link.queue) < MOST_QUEUED:
                link.put(asks)

    async def close(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, name: str, member: Member, link: _Link) -> None:
        """One stream, from the first ask to the end."""
        try:
            async with channel_to(member, self._tls) as channel:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await channel.channel_ready()
                await self._exchange(name, channel, link)
        except (TimeoutError, OSError, grpc.aio.AioRpcError) as error:
            reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
            logger.info(
                "requests for leases cannot be forwarded to another control plane",
                extra={"controlplane": name, "reason": reason},
            )
        finally:
            link.broken = True
            self._refuse(link)
            # Asks that come at once after are refused, rather than wait for an address that does not answer.
            await asyncio.sleep(PAUSE)
            self._links.pop(name, None)

    async def _exchange(self, name: str, channel: grpc.aio.Channel, link: _Link) -> None:
        nonce = secrets.token_bytes(32)
        credential = self._secret.credential(self._name, name, time.time())
        stub: Any = PeerServiceStub(channel)
        call = stub.Lend(metadata=(("authorization", f"{SCHEME} {credential}"),))
        await call.write(peers_pb2.LendRequest(nonce=nonce))
        first = await call.read()
        proof = first.proof if isinstance(first, peers_pb2.LendResponse) else b""
        if not compare_digest(proof, self._secret.proof(name, nonce)):
            call.cancel()
            raise OSError("it has another SECRET_KEY, or is another control plane")
        reader = asyncio.create_task(self._read(call, link))
        reader.add_done_callback(lambda _: link.wake.set())
        try:
            while not reader.done():
                for asks in link.take():
                    link.sent(asks)
                    await call.write(peers_pb2.LendRequest(asks=asks))
                if not await link.wait(IDLE):
                    return
            reader.result()
        finally:
            reader.cancel()
            call.cancel()

    async def _read(self, call: Any, link: _Link) -> None:
        while isinstance(response := await call.read(), peers_pb2.LendResponse):
            link.answered(response.answers)
            self._routes.answered(response.answers)

    def _refuse(self, link: _Link) -> None:
        """The pending asks will not be answered."""
        for (node, run), asks in link.unanswered().items():
            self._routes.answered(
                limits_pb2.LimitAnswers(node=node, run=run, answers=map(codec.refusal, asks))
            )


class _Link:
    """Asks that wait for a stream, and asks sent over it."""

    def __init__(self) -> None:
        self.queue: list[limits_pb2.LimitAsks] = []
        self.broken = False
        self.wake = asyncio.Event()
        self._asked: dict[tuple[str, str, str, str], limits_pb2.LimitAsk] = {}
        """The last ask of each holder, without an answer yet: by data plane, run, worker, limit."""

    def put(self, asks: limits_pb2.LimitAsks) -> None:
        self.queue.append(asks)
        self.wake.set()

    def take(self) -> list[limits_pb2.LimitAsks]:
        self.wake.clear()
        taken, self.queue = self.queue, []
        return taken

    async def wait(self, seconds: float) -> bool:
        """Wait for something to send; whether there is."""
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return False
        return True

    def sent(self, asks: limits_pb2.LimitAsks) -> None:
        for ask in asks.asks:
            self._asked[asks.node, asks.run, ask.worker, ask.limit] = ask

    def answered(self, answers: limits_pb2.LimitAnswers) -> None:
        for one in answers.answers:
            key = answers.node, answers.run, one.worker, one.limit
            asked = self._asked.get(key)
            if asked is not None and asked.stamp <= one.stamp:
                del self._asked[key]

    def unanswered(self) -> dict[tuple[str, str], list[limits_pb2.LimitAsk]]:
        for asks in self.take():
            self.sent(asks)
        found: dict[tuple[str, str], list[limits_pb2.LimitAsk]] = {}
        for (node, run, _, _), ask in self._asked.items():
            found.setdefault((node, run), []).append(ask)
        self._asked.clear()
        return found
