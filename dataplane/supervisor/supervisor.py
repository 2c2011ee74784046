"""The supervisor: everything of a data plane that is not on the request path, in one process and event loop.

    control plane ══ config stream ══ Changes ── frames ──▶ workers ═══ traffic
                          ▲             │  ▲
                       reports        cache └─ prober

It keeps the workers running, brings configurations to them, probes instances, keeps the cache and answers
on the status port. None of it stops traffic: what fails here is logged and tried again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from dataplane.certificates import CertificateWatcher, Identity
from dataplane.config.apply import Assembly
from dataplane.config.builtin import status_items
from dataplane.config.cache import Cache
from dataplane.config.journal import Journal
from dataplane.config.reports import Held
from dataplane.config.stream import ConfigStream
from dataplane.health import EndpointChecker, Prober
from dataplane.observe.stats import NodeStats
from dataplane.observe.status import StatusServer
from dataplane.observe.view import NodeView
from dataplane.settings import Settings, split_address
from dataplane.supervisor.change import Changes
from dataplane.supervisor.launch import Launcher
from dataplane.supervisor.readiness import Readiness
from dataplane.supervisor.uplink import Uplink
from dataplane.supervisor.workers import Workers

HEALTH_EVERY = 5
"""Statistics reports to one health report when nothing changes."""
GATHER = 0.01
"""Seconds in which changes of status are gathered before they are told."""

_log = logging.getLogger(__name__)


class Supervisor:
    """The parts of a data plane, put together. The sockets come bound, so that a port in use was told before."""

    def __init__(self, settings: Settings, launcher: Launcher, status: socket.socket) -> None:
        """Raises BadFiles when the certificates cannot be read any more."""
        self._settings = settings
        self._launcher = launcher
        self._status_socket = status
        self._version = version("headgate-dataplane")
        self._stop = asyncio.Event()
        self._health_told = True
        self._leaving: dict[str, int] = {}
        self._checker = EndpointChecker()
        self._stats = NodeStats()
        self._cache = Cache(settings.cache_dir / settings.node_name)
        self._prober = Prober(self._checker, self._notify_router)
        self._workers = Workers(
            settings.workers, launcher, settings.drain_timeout, self._stats, launcher.release
        )
        self._certificates = CertificateWatcher(settings.identity, self._identify)
        self._stream = ConfigStream(Uplink(settings).target, self._held)
        host, port = split_address(settings.status_listen)
        builtin = status_items(host, port, expose_metrics=settings.expose_metrics)
        assembly = Assembly(builtin, settings.max_routes)
        self._workers.left = self._tell_leaving
        self._changes = Changes(
            assembly, self._prober, self._workers, self._stream, Journal(self._cache), self._changed_over
        )
        self._status = StatusServer(self.view)
        self._readiness = Readiness(self._changes, self._workers, self._prober, settings.workers)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal ends it at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        tasks = [
            self._keep("status server", lambda: self._status.run_on(self._status_socket)),
            self._keep("probes", self._prober.run),
        ]
        if self._certificates.identity != Identity():
            self._identify(self._certificates.identity)
            loop.add_signal_handler(signal.SIGHUP, self._certificates.look)
        restored = await self._changes.restore()
        workers = asyncio.create_task(self._workers.run(), name="workers")
        tasks += [
            self._keep("configuration", lambda: self._changes.follow(restored)),
            self._keep("config stream", self._stream.run),
            self._keep("reports", self._report),
        ]
        if self._certificates.identity != Identity():
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
            totals=self._stats.totals,
            workers=self._workers.running,
            workers_wanted=self._settings.workers,
            worker_restarts=self._workers.restarts,
            connections=self._stats.connections,
            controlplane=self._stream.connected_to,
            controlplane_problem=self._stream.failure,
            rejections=self._changes.rejections,
            mismatches=self._stream.mismatches,
            cache_warnings=self._cache.warnings,
            cache_problem=self._cache.problem,
            draining=self._workers.draining,
            not_ready=self._readiness.reason(),
        )

    def _signalled(self) -> None:
        if self._stop.is_set():
            _log.warning("told to stop twice: not waiting for requests under way")
            self._workers.kill()
        self._stop.set()

    async def _drain(self, workers: asyncio.Task[None]) -> None:
        """Let the workers finish. Status and probes go on meanwhile."""
        _log.info("draining", extra={"seconds": self._settings.drain_timeout})
        self._workers.drain()
        # Or connections would wait in queues that nobody accepts from.
        self._launcher.close()
        await asyncio.wait((workers,))

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(_again(name, work), name=name)

    def _held(self) -> Held:
        served = self._changes.served
        name, leaving = self._settings.node_name, self._workers.leaving()
        return Held(
            name, self._version, served.revision, served.digest, leaving, served.lineage, served.epoch
        )

    def _changed_over(self, instances: bool) -> None:
        """Every worker serves a new revision: tell, with the ack, what is waited for at the control plane."""
        self._tell_leaving()
        if instances:
            self._notify_router()

    def _tell_leaving(self) -> None:
        """The requests at instances that leave, if there is news."""
        before, self._leaving = self._leaving, self._workers.leaving()
        if self._leaving != before:
            self._stream.leaving(self._leaving)

    def _notify_router(self) -> None:
        """The last link of the health check chain: the workers are told, and then the control plane."""
        if self._health_told:
            self._health_told = False
            # Many instances may change together, for instance when a node starts: that is one message.
            asyncio.get_running_loop().call_later(GATHER, self._tell_health)

    def _tell_health(self) -> None:
        self._health_told = True
        self._workers.set_unavailable(self._prober.unavailable())
        self._report_health()

    async def _report(self) -> None:
        """Statistics every second; health now and then also when nothing changes."""
        for turn in itertools.count():
            if turn % HEALTH_EVERY == 0:
                self._report_health()
            self._stats.keep(self._changes.table.services, self._changes.table.routes)
            self._stream.stats(self._stats.report(time.time()))
            await asyncio.sleep(1.0)

    def _report_health(self) -> None:
        self._stream.health(self._prober.view(), self._changes.served.revision)

    def _identify(self, identity: Identity) -> None:
        """The node's certificates, for whoever speaks TLS in its name."""
        self._workers.set_identity(identity.to_bytes())
        self._checker.identify(identity.upstream)


async def _again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do something that never ends; when it fails nevertheless, log it and begin anew."""
    while True:
        try:
            await work()
            return
        except Exception:
            _log.exception("failed, and begins again: %s", name)
            await asyncio.sleep(1.0)
