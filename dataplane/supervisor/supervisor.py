"""The supervisor: everything of a data plane that is not on the request path, in one process and event loop.

    control plane ══ config stream ══ Changes ── frames ──▶ workers ═══ traffic
                          ▲             │  ▲
                       reports      journal └─ prober

It keeps the workers running, applies configurations to them, probes instances, writes the journal and serves the
status port. A failure here never stops traffic: it is logged, and the part starts again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from dataplane.certificates import CertificateWatcher, NodeCertificates
from dataplane.config.apply import Assembly
from dataplane.config.builtin import status_items, status_paths
from dataplane.config.cache import Cache
from dataplane.config.decode import cache_key
from dataplane.config.decode.certificate_files import FileReader
from dataplane.config.journal import Journal
from dataplane.config.reports import NodeState, TrafficStats
from dataplane.config.stream import ConfigStream
from dataplane.gateway.policy.resources import LimitMode, coarse_limit
from dataplane.health import EndpointChecker, Prober
from dataplane.observe.metrics import NodeCollector
from dataplane.observe.stats import NodeStats
from dataplane.observe.status_server import StatusServer
from dataplane.observe.traffic import TrafficMeter
from dataplane.observe.view import NodeView, RedisView
from dataplane.proxy.connector import Connector
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.targets import Targets
from dataplane.proxy.unix_sockets import UnixSockets
from dataplane.setting_checks import taken_ports
from dataplane.setting_types import split_address
from dataplane.settings import Settings
from dataplane.supervisor import orphans
from dataplane.supervisor.answering import Answering
from dataplane.supervisor.change import Changes
from dataplane.supervisor.file_watch import FileWatch, reports
from dataplane.supervisor.launch import Launcher, credential
from dataplane.supervisor.lending import Lending
from dataplane.supervisor.ports import Ports, ports_view
from dataplane.supervisor.readiness import Readiness
from dataplane.supervisor.redis_state import RedisState
from dataplane.supervisor.share_record import ShareRecord
from dataplane.supervisor.uplink import Uplink
from dataplane.supervisor.workers import Workers
from dataplane.telemetry.metrics import Moment
from dataplane.telemetry.node import NodeTelemetry
from dataplane.telemetry.options import OFF, Telemetry

HEALTH_EVERY = 5
"""Statistics reports per health report that is sent even when nothing changed."""
GATHER = 0.01
"""Seconds for which changes of health are collected into one message."""

_log = logging.getLogger(__name__)


class Supervisor:
    """Connects the parts of a data plane. The sockets are already bound, so a port in use was reported earlier."""

    def __init__(
        self, settings: Settings, launcher: Launcher, status: socket.socket, telemetry: Telemetry = OFF
    ) -> None:
        """Raises BadFiles or OSError when certificates can no longer be read."""
        self._settings = settings
        self._launcher = launcher
        self._status_socket = status
        self._version = version("headgate-dataplane")
        self._started = time.time()
        self._stop = asyncio.Event()
        self._health_sent = True
        self._leaving: dict[str, int] = {}
        self._checker = EndpointChecker(
            Lookups(targets=Targets(map(str, settings.register_allow), map(str, settings.register_deny))),
            Connector(UnixSockets(settings.unix_sockets)),
        )
        self._stats = NodeStats()
        self._traffic = TrafficMeter()
        self._cache = Cache(settings.cache_dir / settings.node_name)
        self._prober = Prober(self._checker, self._notify_router)
        self._workers = Workers(
            settings.workers, launcher, settings.drain_timeout, self._stats, launcher.release
        )
        self._redis = RedisState()
        if (redis := settings.redis_options()) is not None:
            self._workers.set_redis(redis.to_json())
        self._certificates = CertificateWatcher(settings.certificates, self._use_certificates)
        self._stream = ConfigStream(Uplink(settings).control_planes, self._node_state)
        host, port = split_address(settings.status_listen)
        builtin = status_items(host, port, expose_metrics=settings.expose_metrics)
        assembly = Assembly(builtin, settings.max_routes)
        taken = taken_ports(settings.listen, settings.tls_listen)
        self._ports = Ports(split_address(settings.listen)[0], lambda: self._workers.living, taken)
        self._workers.on_move = self._ports.offer
        launcher.on_release = self._ports.release
        self._workers.on_leaving = self._report_leaving
        self._workers.on_redis = self._note_redis
        self._workers.on_reset = self._note_reset
        self._changes = Changes(
            assembly,
            self._prober,
            self._workers,
            self._stream,
            Journal(self._cache, cache_key(credential(settings))),
            self._ports,
            FileReader(settings.certificate_dir),
            self._on_served,
        )
        self._files = FileWatch(self._changes)
        self._lending = Lending(
            lambda: self._workers.living,
            settings.workers,
            self._stream,
            lambda: self._changes.table.limits,
            coarse_limit(settings.rate_limit_per_second, settings.rate_limit_burst, settings.rate_limit_mode),
            record=ShareRecord(settings.cache_dir / settings.node_name, launcher.folder_fd),
        )
        self._telemetry = NodeTelemetry(
            telemetry, settings.node_name, self._version, most=settings.telemetry_queue_bytes
        )
        self._workers.on_telemetry = self._telemetry.take
        self._answering = Answering(lambda: self._workers.answering, self._stream.answer)
        self._stream.on_question = self._answering.take
        self._workers.on_answer = self._answering.answered
        self._workers.on_started = self._lending.started
        self._workers.on_asks = self._lending.take
        self._workers.on_ended = self._worker_ended
        self._stream.on_limits = self._lending.answered
        self._stream.on_lost = self._stream_lost
        self._status = StatusServer(self.view, status_paths(expose_metrics=settings.expose_metrics))
        self._readiness = Readiness(self._changes, self._workers, self._prober, settings.workers)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal ends it immediately."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGUSR1, self._workers.reopen_logs)
        if self._settings.certificate_dir is not None or self._certificates.current != NodeCertificates():
            loop.add_signal_handler(signal.SIGHUP, self._check_files)
        orphans.adopt(loop)
        tasks = [
            self._keep("status server", lambda: self._status.run_on(self._status_socket)),
            self._keep("probes", self._prober.run),
        ]
        if self._certificates.current != NodeCertificates():
            self._use_certificates(self._certificates.current)
        self._telemetry.start()
        restored = await self._changes.restore()
        workers = asyncio.create_task(self._workers.run(), name="workers")
        tasks += [
            self._keep("configuration", lambda: self._changes.follow(restored)),
            self._keep("config stream", self._stream.run),
            self._keep("reports", self._report),
            self._keep("leases", self._lending.run),
            self._keep("certificate files", self._files.run),
            self._keep("metrics", lambda: self._telemetry.run(self._moment)),
        ]
        if self._certificates.current != NodeCertificates():
            tasks.append(self._keep("certificates", self._certificates.run))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait((workers, stop), return_when=asyncio.FIRST_COMPLETED)
        await self._drain(workers)
        for task in (*tasks, stop):
            task.cancel()
        await asyncio.gather(*tasks, stop, return_exceptions=True)
        workers.result()

    def view(self) -> NodeView:
        """The node as it is now."""
        served = self._changes.served
        return NodeView(
            node=self._settings.node_name,
            version=self._version,
            revision=served.revision,
            digest=served.digest,
            lineage=served.lineage,
            epoch=served.epoch,
            table=self._changes.served_table,
            instances=tuple(self._prober.view()),
            circuits=self._stats.circuits(),
            ejected=self._stats.ejected(),
            away=self._stats.away(),
            totals=self._stats.totals,
            workers=self._workers.running,
            workers_wanted=self._settings.workers,
            worker_restarts=self._workers.restarts,
            connections=self._stats.connections,
            in_flight=self._stats.in_flight,
            controlplane=self._stream.connected_to,
            controlplane_problem=self._stream.failure,
            rejections=self._changes.rejections,
            mismatches=self._stream.mismatches,
            cache_warnings=self._cache.warnings,
            cache_problem=self._cache.problem,
            redis=self._redis_view(),
            draining=self._workers.draining,
            not_ready=self._readiness.reason(),
            listeners=tuple(
                ports_view(self._changes.served_table.listeners, self._ports.open, self._ports.missing)
            ),
            telemetry=self._telemetry.counts(),
            certificate_problems=self._changes.files.problems,
        )

    def _moment(self) -> Moment:
        """The numbers of the node as they are now."""
        table, stats = self._changes.table, self._stats
        services = {key.service for key in stats.http.series}
        ids = {name: [each.id for each in table.instances.get(name, ())] for name in services}
        stats.http.keep(table.routes, ids)
        return Moment(
            self._started,
            time.time(),
            dict(stats.http.series),
            stats.active(),
            [seen for buckets in stats.totals.exemplars.values() for seen in buckets.values()],
            list(NodeCollector(self.view).collect()),
            table,
        )

    def _on_signal(self) -> None:
        if self._stop.is_set():
            _log.warning("second signal: stopping without waiting for requests in flight")
            self._workers.kill()
        self._stop.set()

    async def _drain(self, workers: asyncio.Task[None]) -> None:
        """Drain the workers. The status port and the probes go on meanwhile."""
        _log.info("draining", extra={"seconds": self._settings.drain_timeout})
        self._workers.drain()
        # Otherwise new connections would wait in a backlog that no worker accepts from.
        self._launcher.close()
        self._ports.close()
        await asyncio.wait((workers,))
        if self._telemetry.measures:
            await self._telemetry.measure(self._moment())
        await asyncio.gather(self._stream.flush(), self._telemetry.close())

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(_run_forever(name, work), name=name)

    def _node_state(self) -> NodeState:
        served = self._changes.served
        name, leaving = self._settings.node_name, self._workers.leaving()
        redis = self._settings.redis_options() is not None
        return NodeState(
            name, self._version, served.revision, served.digest, leaving, served.lineage, served.epoch, redis
        )

    def _on_served(self, instances: bool) -> None:
        """Every worker serves a new revision. Called before its ack."""
        self._report_leaving()
        if instances:
            self._notify_router()

    def _worker_ended(self, name: str) -> None:
        self._lending.ended(name)
        self._answering.ended(name)

    def _stream_lost(self) -> None:
        self._lending.lost()
        self._answering.lost()

    def _report_leaving(self) -> None:
        """Report the requests in flight at leaving instances, if they changed."""
        before, self._leaving = self._leaving, self._workers.leaving()
        if self._leaving != before:
            self._stream.report_leaving(self._leaving)

    def _note_reset(self, worker: int, report: Any) -> None:
        """Tell the control plane immediately when all workers have carried out an order: a request waits for it."""
        if self._stats.resets.take(worker, report, self._settings.workers):
            self._stream.report_stats(self._stats.report(time.time()))

    def _note_redis(self) -> None:
        self._redis.update(self._workers.redis(), time.time())

    def _redis_view(self) -> RedisView | None:
        """None where no limit is counted in Redis."""
        limits = [
            limit for limit in self._changes.served_table.limits.values() if limit.mode is LimitMode.REDIS
        ]
        if not limits and self._settings.rate_limit_mode != LimitMode.REDIS.value:
            return None
        if self._settings.redis_options() is None:
            return RedisView(0.0, "REDIS_HOST is not set")
        outage = self._redis.outage
        if outage is None:
            return RedisView(0.0, "")
        return RedisView(outage.since, outage.reason, outage.lacks, outage.denied)

    def _notify_router(self) -> None:
        """The last step of a health check: tell the workers and the control plane."""
        if self._health_sent:
            self._health_sent = False
            # Many instances may change together, for instance at the start: send one message.
            asyncio.get_running_loop().call_later(GATHER, self._send_health)

    def _send_health(self) -> None:
        self._health_sent = True
        self._workers.set_unavailable(self._prober.unavailable())
        self._report_health()

    async def _report(self) -> None:
        """Report statistics every second, and health every few seconds also when nothing changed."""
        for turn in itertools.count():
            if turn % HEALTH_EVERY == 0:
                self._report_health()
            table = self._changes.table
            self._stats.keep(table.services, table.routes, table.limits)
            files = reports(self._changes.served_table, self._changes.files.problems)
            self._stream.report_stats(self._stats.report(time.time(), self._measured(), files))
            self._ports.retry(self._changes.table)
            await asyncio.sleep(1.0)

    def _measured(self) -> TrafficStats | None:
        """The traffic since the last report on it, if one is due."""
        pids = (worker.process.pid for worker in self._workers.living)
        every = self._stream.traffic_every
        return self._traffic.measure(every, time.monotonic(), self._stats, (os.getpid(), *pids))

    def _report_health(self) -> None:
        self._stream.report_health(self._prober.view(), self._changes.served.revision)

    def _check_files(self) -> None:
        self._certificates.check_now()
        self._files.check_now()

    def _use_certificates(self, certificates: NodeCertificates) -> None:
        """Pass the node's certificates to the workers and to the prober."""
        self._workers.set_certificates(certificates.to_bytes())
        self._checker.set_client_certificate(certificates.upstream)


async def _run_forever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`. Log a failure and start it again."""
    while True:
        try:
            await work()
            return
        except Exception:
            _log.exception("failed, starting again: %s", name)
            await asyncio.sleep(1.0)
