"""A worker: serves traffic on one event loop, with the table that the supervisor sent.

Started as `python -m dataplane.worker <options as JSON>`, with inherited file descriptors: its end of the channel and a
bound socket for each port. It does not know the control plane and does not import gRPC. When the supervisor dies, it
drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence

import uvloop

from dataplane.certificates import NodeCertificates
from dataplane.channel import Channel, Kind, read_json
from dataplane.config.apply import Assembly
from dataplane.config.builtin import status_items
from dataplane.config.decode import Part, read_part
from dataplane.config.table import Problem, TableError
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.bucket_reports import BucketReport
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import coarse_limit
from dataplane.gateway.resets import Outcome
from dataplane.observe import logs
from dataplane.observe.access import AccessLog
from dataplane.observe.frames import StatsFrames
from dataplane.observe.line_format import read_format
from dataplane.observe.lines import make_lines
from dataplane.observe.record import Recorder
from dataplane.options import WorkerOptions
from dataplane.proxy.connector import Connector
from dataplane.proxy.descriptors import within_descriptors
from dataplane.proxy.fields.trace import Parents, threshold
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.pool import Pool
from dataplane.proxy.proxy import Proxy
from dataplane.proxy.targets import Targets
from dataplane.proxy.tls import Front
from dataplane.proxy.trust import TrustedProxies
from dataplane.proxy.unix_sockets import UnixSockets
from dataplane.redis.options import RedisOptions
from dataplane.redis.store import RedisStore, make_store
from dataplane.telemetry.worker import WorkerTelemetry
from dataplane.worker.answering import Answering, Place
from dataplane.worker.garbage import GarbageCollector
from dataplane.worker.leasing import Leasing
from dataplane.worker.ports import Ports
from dataplane.worker.steps import in_steps

STATS_INTERVAL = 1.0
"""Seconds between two statistics frames."""

LEASED_WITHIN = 0.5
"""Seconds that connections wait in the backlog, at most, for the owners of leased limits: until they answer, requests
are refused."""

MAX_UNREAD = 1024 * 1024
"""Bytes the supervisor may leave unread before the worker sends no more statistics."""

_log = logging.getLogger(__name__)


class Worker:
    """Connects the parts of a worker."""

    def __init__(self, options: WorkerOptions, channel: Channel) -> None:
        self._options = options
        self._channel = channel
        self._collector = GarbageCollector()
        self._drain = asyncio.Event()
        self._may_serve = asyncio.Event()
        trusted = TrustedProxies(options.trusted_proxies)
        self._access_log: AccessLog | None = None
        recorder = Recorder(None)
        if (log := options.access_log) is not None:
            self._access_log = AccessLog(shared=options.workers > 1, file=log.file)
            lines = make_lines(read_format(log.format, log.fields), log.redact)
            recorder = Recorder(self._access_log, lines, threshold(log.sampling))
        self._telemetry = WorkerTelemetry(options, channel, recorder)
        self._leaving: dict[str, int] = {}
        self._front: Front | None = None
        self._store: RedisStore | None = None
        bounds = within_descriptors(options.bounds)
        pool = self._pool = Pool(bounds)
        pool.left = self._report_leaving
        self._gateway = Gateway(
            self._telemetry.observer,
            pool,
            limiter=Limiter(share=1 / options.workers, secret=bytes.fromhex(options.limit_secret)),
            default_limit=coarse_limit(
                options.rate_limit_per_second,
                options.rate_limit_burst,
                options.rate_limit_mode,
                options.rate_limit_on_store_failure,
            ),
            trusted=trusted,
            start=options.index,
        )
        self._proxy = Proxy(
            self._gateway,
            pool,
            bounds,
            trusted,
            Lookups(targets=Targets(options.register_allow, options.register_deny)),
            Connector(UnixSockets(options.unix_sockets)),
            trace_sampling=options.trace_sampling,
            send_via=options.send_via,
            parents=Parents(options.trace_parents, options.trace_client_sampling),
        )
        passed = socket.socket(fileno=options.ports_fd) if options.ports_fd >= 0 else None
        self._ports = Ports(self._proxy, self._gateway, passed, options.drain_timeout)
        self._leasing = Leasing(self._gateway.limiter, channel)
        self._frames = StatsFrames(recorder, self._gateway.breakers, self._gateway.limiter)
        status = status_items(options.status_host, options.status_port, expose_metrics=options.expose_metrics)
        self._assembly = Assembly(status)
        place = Place(options.index, bounds, trusted, options.redact)
        self._answering = Answering(self._gateway, self._telemetry.observer, self._assembly, place, channel)
        self._gateway.resets.done = self._report_reset
        self._gateway.swap(self._assembly.table, time.monotonic())

    async def run(self) -> None:
        """Serve until a drain or the end of the supervisor; then finish the requests in flight."""
        # Those that are for the supervisor alone are blocked (see its `process.UNHEARD`).
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._drain.set)
        following = asyncio.create_task(self._follow(), name="channel")
        following.add_done_callback(lambda _: self._drain.set())
        counting = asyncio.create_task(self._report_stats(), name="statistics")
        counting.add_done_callback(lambda _: self._drain.set())
        leasing = asyncio.create_task(self._leasing.run(), name="leases")
        leasing.add_done_callback(lambda _: self._drain.set())
        serving = asyncio.create_task(self._serve(), name="serve")
        serving.add_done_callback(self._served)
        await self._drain.wait()
        serving.cancel()
        self._ports.end()
        await self._proxy.drain(self._options.drain_timeout)
        self._answering.close()
        tasks = following, counting, leasing, serving
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._telemetry.close()
        self._send_stats()
        if self._store is not None:
            self._store.close()
        await self._channel.close()
        if self._access_log is not None:
            self._access_log.close()
        _raise_unexpected(results)

    def _served(self, serving: asyncio.Task[None]) -> None:
        """The start of the listeners has ended: drain if it failed."""
        if not serving.cancelled() and serving.exception() is not None:
            self._drain.set()

    async def _follow(self) -> None:
        """Handle the supervisor's frames one at a time, with traffic in between."""
        while (frame := await self._channel.receive()) is not None:
            kind, payload = frame
            if kind is Kind.DRAIN:
                return
            await self._handle(kind, payload)
            await asyncio.sleep(0)
        # The supervisor is dead: the next one reports to the owners of limits that this worker is gone, too.
        self._gateway.limiter.end()
        if self._options.folder_fd >= 0:
            # The next one may go on with this worker's shares.
            os.close(self._options.folder_fd)

    async def _handle(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.PART | Kind.DELTA:
                part = read_part(payload)
                await asyncio.sleep(0)
                await self._change(part, last=kind is Kind.DELTA)
            case Kind.PORTS:
                self._ports.take(read_json(payload))
                self._ports.follow(self._gateway.table)
            case Kind.CLOSE:
                self._ports.close(read_json(payload))
            case Kind.HEALTH:
                self._gateway.set_health(frozenset(read_json(payload)))
            case Kind.GRANTS:
                self._leasing.answered(payload)
            case Kind.SHARES:
                self._leasing.succeed(read_json(payload))
            case Kind.LOST:
                self._gateway.limiter.lost(fleet=True)
            case Kind.REDIS:
                self._use_redis(RedisOptions.from_json(payload))
            case Kind.CERTIFICATES:
                self._use_certificates(NodeCertificates.from_bytes(payload))
            case Kind.QUESTION:
                self._answering.take(payload)
            case Kind.REOPEN:
                if self._access_log is not None:
                    self._access_log.reopen()
            case Kind.SERVE:
                self._collector.freeze()
                self._may_serve.set()

    async def _serve(self) -> None:
        """Accept connections on the plain and the TLS port, once the supervisor allows it and leased limits let
        requests through."""
        await self._may_serve.wait()
        await self._leasing.ready(LEASED_WITHIN)
        options = self._options
        proxies = TrustedProxies(options.proxy_protocol_from) if options.proxy_protocol_from else None
        await self._proxy.start(socket.socket(fileno=options.listen_fd), proxies=proxies)
        if self._front is not None:
            secured = socket.socket(fileno=options.tls_listen_fd)
            await self._proxy.start(secured, self._front, proxies)
        self._ports.serve()
        self._channel.send(Kind.SERVING)

    def _use_certificates(self, certificates: NodeCertificates) -> None:
        """Use these certificates for new connections. The supervisor has checked them."""
        self._proxy.dialer.contexts.adopt(certificates.upstream)
        if self._front is not None:
            self._front.adopt(certificates.downstream)
        elif certificates.downstream:
            self._front = Front(certificates.downstream)

    def _use_redis(self, options: RedisOptions) -> None:
        self._store = make_store(options, self._report_redis)
        self._gateway.use_store(self._store)

    def _report_redis(self) -> None:
        """Redis answers, or no longer does: notify the supervisor, and send Redis the orders that it missed."""
        outage = self._store.outage() if self._store is not None else None
        if outage is None:
            self._gateway.store_answers(time.monotonic())
            outage = self._store.refusal() if self._store is not None else None
        state = None
        if outage is not None:
            names = "since", "reason", "lacks", "denied"
            state = {name: getattr(outage, name) for name in names}
        self._channel.send_json(Kind.REDIS_STATE, state)

    async def _change(self, part: Part, *, last: bool) -> None:
        """Collect a part of a change; after the last one, swap the table and answer.

        In short steps, with traffic in between.
        """
        self._collector.take_part()
        self._assembly.take(part)
        await asyncio.sleep(0)
        if not last:
            return
        answer = {"revision": part.revision, "digest": part.digest}
        try:
            await self._swap(part)
        except TableError as error:
            problems = [[problem.resource, problem.field, problem.detail] for problem in error.problems]
            self._channel.send_json(Kind.REJECTED, {**answer, "problems": problems})
        else:
            self._report_leaving()
            self._channel.send_json(Kind.APPLIED, answer)
        self._collector.end_change()

    async def _swap(self, part: Part) -> None:
        table = await in_steps(self._assembly.completing(part.revision, part.digest))
        try:
            self._ports.prepare(table)
            self._gateway.swap(table, time.monotonic())
        except Exception as error:
            # A bug that the supervisor's check did not find: keep the old table instead of dying.
            _log.exception("the table cannot be used", extra={"revision": part.revision})
            self._assembly.revert()
            raise TableError([Problem("", "", f"{type(error).__name__}: {error}")]) from None
        self._ports.follow(table)
        self._leasing.wake()

    def _report_leaving(self) -> None:
        """Send the requests in flight at leaving instances, if they changed."""
        before, self._leaving = self._leaving, self._pool.leaving()
        if self._leaving != before:
            self._channel.send_json(Kind.LEAVING, self._leaving)

    def _report_reset(self, outcome: Outcome) -> None:
        """Report the outcome of an order to refill buckets."""
        found = {
            "limits": sorted(outcome.limits),
            "shared": sorted(outcome.shared),
            "unreached": sorted(outcome.unreached),
        }
        self._channel.send_json(Kind.RESET, {"revision": outcome.revision, **found})

    async def _report_stats(self) -> None:
        while True:
            await asyncio.sleep(STATS_INTERVAL)
            self._send_stats(await in_steps(self._gateway.limiter.survey(time.monotonic())))
            self._report_leaving()

    def _send_stats(self, buckets: Sequence[BucketReport] | None = None) -> None:
        self._telemetry.flush()
        if self._channel.backlog > MAX_UNREAD:
            return  # the counters stay, and the next frame has them
        connections = self._proxy.connections
        frame = self._frames.next(
            time.monotonic(),
            time.time(),
            len(connections),
            connections.refused,
            self._gateway.backends.ejected(),
            buckets,
            in_flight=self._pool.in_flight(),
            telemetry={**self._telemetry.report(connections), **self._gateway.mirrors.report()},
            compressed=self._proxy.shared.compression.report(),
            authorizations=self._gateway.authorizers.report() if self._gateway.authorizers else (),
        )
        self._channel.send_json(Kind.STATS, frame)
        self._collector.tick(idle=not frame["requests"])


def _raise_unexpected(results: Iterable[BaseException | None]) -> None:
    """Raise the error that caused the drain, if there was one."""
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _main(options: WorkerOptions) -> None:
    control = socket.socket(fileno=options.control_fd)
    channel = Channel(*await asyncio.open_connection(sock=control))
    await Worker(options, channel).run()


def main() -> int:
    """The process; 0 after a drain."""
    options = WorkerOptions.from_json(sys.argv[1])
    logs.set_up(options.level, node=options.node, worker=options.index)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(options))
    return 0
