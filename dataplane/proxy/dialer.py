"""New connections to instances, and exchanges that are sent again.

An exchange that finds no pooled connection becomes a task, for as long as it takes to connect. A failed exchange may
go to another instance, perhaps after a back-off.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from random import uniform
from time import monotonic
from typing import cast

from dataplane.proxy.address import certified_name
from dataplane.proxy.connector import Connector
from dataplane.proxy.descriptors import EXHAUSTED
from dataplane.proxy.errors import CONNECT, Exhausted, TimedOut, Unavailable
from dataplane.proxy.exchange import Exchange, InstanceSide, Result, Sender, take_idle
from dataplane.proxy.happy_eyeballs import connect_first
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.pool import Endpoint, Pool
from dataplane.proxy.resolver import Resolver
from dataplane.proxy.shared import Shared
from dataplane.proxy.tls import ClientContexts
from dataplane.proxy.tls_upstream import TlsUpstream
from dataplane.proxy.upstream import Upstream

logger = logging.getLogger(__name__)


class Dialer(Sender):
    """Connects for the exchanges of one worker."""

    def __init__(
        self, shared: Shared, pool: Pool, lookups: Lookups | None = None, connector: Connector | None = None
    ) -> None:
        self.resolver = Resolver(lookups or Lookups())
        """Of instances whose host is a name."""
        self.contexts = ClientContexts()
        """For connections to instances over TLS."""
        self._connector = connector or Connector()
        self._shared = shared
        self._pool = pool
        self._tasks: set[asyncio.Task[None]] = set()

    def dial(self, exchange: Exchange) -> None:
        """Connect to the exchange's endpoint, or another that accepts, and send it there."""
        task = asyncio.get_running_loop().create_task(self._dial(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._dialled)

    def try_again(self, exchange: Exchange, cause: str) -> bool:
        """Send an exchange that has lost its connection to another instance, perhaps later; False if it may not be.

        Only these exchanges get a timer; the others have their client's deadline.
        """
        wait = self._shared.decider.retry(exchange, cause, monotonic())
        if wait is None:
            return False
        if exchange.replay:
            exchange.body, exchange.replay = exchange.replay + exchange.body, []
        exchange.client.connecting(exchange, monotonic(), wait + 1.0)
        exchange.client.settle_reading()
        if wait:
            self.back_off(exchange, wait)
        else:
            self.resume(exchange)
        return True

    def back_off(self, exchange: Exchange, seconds: float) -> None:
        """Resume the exchange after a while."""
        asyncio.get_running_loop().call_later(seconds, self.resume, exchange)

    def resume(self, exchange: Exchange) -> None:
        """Send an exchange to the endpoint it has now, unless it has ended."""
        endpoint = exchange.endpoint
        if _answered(exchange) or endpoint is None:
            return
        if endpoint.idle:
            self._send(exchange, take_idle(endpoint))
        else:
            self.dial(exchange)

    def connected(self, exchange: Exchange, upstream: InstanceSide) -> None:
        """A connection for the exchange has been made."""
        if _answered(exchange):
            # The client left meanwhile: another exchange may use the connection.
            upstream.keep(monotonic())
        else:
            self._send(exchange, upstream)

    def unconnected(self, exchange: Exchange, refusal: object) -> None:
        """No connection for the exchange could be made: another instance may accept."""
        if not _answered(exchange) and not self.try_again(exchange, CONNECT):
            self._fail(exchange, refusal, Result.FAILED)

    async def stop(self) -> None:
        """Cancel all connection attempts."""
        self.resolver.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- inside

    async def _dial(self, exchange: Exchange) -> None:
        if _answered(exchange):
            return
        plan, endpoint = exchange.plan, exchange.endpoint
        assert plan is not None and endpoint is not None
        exchange.client.connecting(exchange, monotonic(), plan.connect_timeout + 1.0)
        refusal: TimedOut | Unavailable
        try:
            async with asyncio.timeout(plan.connect_timeout):
                upstream = await self._connect(endpoint)
        except TimeoutError:
            # Its name may resolve to other addresses by now.
            self.resolver.doubt(endpoint)
            refusal = TimedOut(f"no connection to {endpoint.id} in time")
        except OSError as error:
            # Its traceback leads to frames that refer to it and to the exchange: break the cycle.
            error.__traceback__ = None
            if error.errno in EXHAUSTED:
                # This process lacks descriptors or ports: the instance is not charged, and another one would not help.
                self._pool.shed()
                self._fail(exchange, Exhausted(), Result.ABANDONED)
                return
            refusal = Unavailable(f"no connection to {endpoint.id}: {error.strerror or error}")
        else:
            if not upstream.transport.is_closing():
                self.connected(exchange, upstream)
                return
            refusal = Unavailable(f"{endpoint.id} closed the connection at once")
        self.unconnected(exchange, refusal)

    def _fail(self, exchange: Exchange, refusal: object, result: Result) -> None:
        if not _answered(exchange):
            exchange.client.failed(exchange, refusal, result)

    async def _connect(self, endpoint: Endpoint) -> Upstream:
        """A connection to the first of its addresses that accepts."""
        addresses = await self.resolver.addresses(endpoint)
        if not addresses:
            raise OSError(f"{endpoint.instance.host} has no address")
        try:
            return await connect_first(addresses, partial(self._connect_to, endpoint), _end)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                self.resolver.doubt(endpoint)
            raise

    async def _connect_to(self, endpoint: Endpoint, address: str) -> Upstream:
        host, port, tls = endpoint.instance.host, endpoint.instance.port, endpoint.tls
        upstream = Upstream(endpoint, self._shared, self)
        if tls is None:
            await self._connector.connect(lambda: upstream, address, port)
        else:
            context = await self.contexts.get(tls.ca)
            secured = TlsUpstream(context, tls.server_name or certified_name(host), upstream)
            await self._connector.connect(lambda: cast(asyncio.Protocol, secured), address, port)
            await secured.secure()
        # Spread, so that connections that were opened together do not expire together.
        age = self._shared.bounds.pool_age * uniform(0.9, 1.0)  # noqa: S311
        upstream.address, upstream.expires = address, monotonic() + age
        return upstream

    def _send(self, exchange: Exchange, upstream: InstanceSide) -> None:
        upstream.send(exchange, monotonic())
        exchange.client.settle_reading()

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("connecting to an instance failed unexpectedly", exc_info=error)


def _end(upstream: Upstream) -> None:
    """Close a connection that was established too late."""
    upstream.outgoing.abort()


def _answered(exchange: Exchange) -> bool:
    """It has ended, or a response to it has begun: a slow client may take a while to read a refusal."""
    return exchange.ended > 0 or exchange.status > 0
