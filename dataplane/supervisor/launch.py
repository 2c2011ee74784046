"""Starts workers: makes their sockets and options from the settings.

Imports no gRPC: the first workers start while the supervisor still imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable

from dataplane.options import TelemetryOptions, WorkerOptions
from dataplane.setting_types import read_token, split_address
from dataplane.settings import Settings
from dataplane.supervisor.listen import TrafficPort
from dataplane.supervisor.process import WorkerProcess, spawn
from dataplane.supervisor.share_record import open_folder
from dataplane.telemetry.options import OFF, Sampling, Telemetry


class Launcher:
    """Starts workers. `ahead` starts the first ones in advance."""

    def __init__(
        self,
        settings: Settings,
        traffic: TrafficPort,
        secured: TrafficPort | None = None,
        telemetry: Telemetry = OFF,
    ) -> None:
        """`secured` is the traffic port for TLS."""
        self._settings = settings
        self._telemetry = telemetry
        self._sampling = telemetry.sampling or Sampling(settings.trace_sampling)
        self._limit_secret = limit_secret(settings)
        self._ports = [traffic] if secured is None else [traffic, secured]
        self.folder_fd = -1
        """The open folder of the cached configuration, which workers inherit; -1 before `ahead`, and without one."""
        self._ahead: dict[int, WorkerProcess] = {}
        self.on_release: Callable[[int], None] = lambda index: None
        """Called with the index of a worker that starts again later."""

    async def ahead(self) -> None:
        """Start one worker for every index. A failed start is tried again when the worker is requested."""
        self.folder_fd = open_folder(self._settings.cache_dir / self._settings.node_name)
        await asyncio.gather(*map(self._start_ahead, range(self._settings.workers)))

    async def __call__(self, index: int) -> WorkerProcess:
        """A worker with this index. Raises OSError."""
        return self._ahead.pop(index, None) or await self._start(index)

    def release(self, index: int) -> None:
        """Close the sockets of a worker that starts again later, so that new connections go to the others."""
        for port in self._ports:
            port.release(index)
        self.on_release(index)

    def close(self) -> None:
        """Release the addresses. Running workers still accept connections; no more can be started."""
        for port in self._ports:
            port.close()

    async def _start_ahead(self, index: int) -> None:
        with contextlib.suppress(OSError):
            self._ahead[index] = await self._start(index)

    async def _start(self, index: int) -> WorkerProcess:
        def options(control: int, listen: int, secured: int = -1) -> WorkerOptions:
            return self._options(index, control, listen, secured)

        listeners = [port.socket(index) for port in self._ports]
        timeout = self._settings.worker_timeout
        return await spawn(index, timeout, options, *listeners, folder_fd=self.folder_fd)

    def _options(self, index: int, control: int, listen: int, secured: int) -> WorkerOptions:
        settings = self._settings
        host, port = split_address(settings.status_listen)
        return WorkerOptions(
            node=settings.node_name,
            index=index,
            workers=settings.workers,
            control_fd=control,
            listen_fd=listen,
            tls_listen_fd=secured,
            folder_fd=self.folder_fd,
            level=settings.level,
            access_log=settings.access_log_options(),
            drain_timeout=settings.drain_timeout,
            rate_limit_per_second=settings.rate_limit_per_second,
            rate_limit_burst=settings.rate_limit_burst,
            rate_limit_mode=settings.rate_limit_mode,
            rate_limit_on_store_failure=settings.rate_limit_on_store_failure,
            trusted_proxies=tuple(map(str, settings.trusted_proxies)),
            trace_sampling=self._sampling.ratio,
            trace_parents=self._sampling.parent_based,
            trace_client_sampling=settings.trace_client_sampling,
            telemetry=TelemetryOptions(
                traces=self._telemetry.traces is not None,
                metrics=self._telemetry.metrics is not None,
                logs=self._telemetry.logs is not None,
                access_log=self._telemetry.logs is not None and settings.access_log_otlp,
                access_log_sampling=settings.access_log_sampling,
                redact=settings.access_log_redact,
            ),
            send_via=settings.send_via,
            proxy_protocol_from=tuple(map(str, settings.proxy_protocol_from)),
            register_allow=tuple(map(str, settings.register_allow)),
            register_deny=tuple(map(str, settings.register_deny)),
            unix_sockets=settings.unix_sockets,
            status_host=host,
            status_port=port,
            expose_metrics=settings.expose_metrics,
            redact=settings.access_log_redact,
            bounds=settings.bounds,
            limit_secret=self._limit_secret,
        )


def limit_secret(settings: Settings) -> str:
    """Key of the hash that replaces header values in rate limit keys, hexadecimal; the same in the whole fleet.

    Derived from LIMIT_KEY_SECRET or, without it, from the credential that all data planes share. With certificates
    only, there is neither: each data plane uses a random key, so that one header value has a different hash on each.
    """
    if settings.limit_key_secret is not None:
        known = settings.limit_key_secret.get_secret_value()
    else:
        known = _token(settings) or secrets.token_hex(32)
    return hashlib.blake2b(known.encode(), digest_size=32, person=b"limit keys").hexdigest()


def credential(settings: Settings) -> str:
    """The secret with which this data plane authenticates itself: its token, or the private key of its certificate."""
    if token := _token(settings):
        return token
    return settings.controlplane_key.read_text() if settings.controlplane_key is not None else ""


def _token(settings: Settings) -> str:
    if settings.dataplane_token_file is not None:
        return read_token(settings.dataplane_token_file).get_secret_value()
    return settings.dataplane_token.get_secret_value() if settings.dataplane_token is not None else ""
