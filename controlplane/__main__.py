"""`python -m controlplane`: the control plane on ADMIN_LISTEN and GRPC_LISTEN until SIGTERM or Ctrl-C.

Exit code 0 after a signal, 2 for wrong settings (after one line that says why), 1 after a fault.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import ssl
import sys
from importlib import metadata
from typing import NoReturn

import uvicorn

from controlplane import logs
from controlplane.app import ControlPlane, create_app
from controlplane.settings import Settings, SettingsError, load
from controlplane.startup import StartError
from controlplane.tls import FollowedContext, TlsError, TlsFiles

DRAIN = 10
"""Seconds that requests under way may take after SIGTERM."""

MOST_CONNECTIONS = 4096
"""Connections to the admin API at once; data planes keep some open for requests through the gateway."""


def main() -> NoReturn:
    """Run the control plane; ends the process with its exit code."""
    answer_questions()
    try:
        settings = load()
        listener = bind("ADMIN_LISTEN", settings.admin_listen)
        # gRPC binds this one itself; checking first gives a one-line error.
        bind("GRPC_LISTEN", settings.grpc_listen).close()
        tls = _tls(settings)
    except (SettingsError, StartError) as error:
        sys.exit(_report(error))
    logs.set_up(settings.level)
    _take_descriptors()
    sys.exit(_serve(settings, listener, tls))


def answer_questions() -> None:
    """Answer --help and --version, for which no setting is needed; anything else on the command line is refused."""
    parser = argparse.ArgumentParser(
        prog="headgate-controlplane",
        description="Run a control plane: admin API on ADMIN_LISTEN, gRPC on GRPC_LISTEN, until SIGTERM or Ctrl-C.",
        epilog="Settings come from the environment or .env: SECRET_KEY and DATAPLANE_TOKEN at least. "
        "docs/reference/settings.md lists all of them. Exit code 2: the settings are wrong, and one line says why.",
    )
    version = f"headgate-controlplane {metadata.version('headgate-controlplane')}"
    parser.add_argument("--version", action="version", version=version)
    parser.parse_args()


def _take_descriptors() -> None:
    """As many as the system grants: every process that keeps registrations alive has a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _report(error: Exception) -> int:
    sys.stderr.write(f"headgate-controlplane: {error}\n")
    return 2


def bind(name: str, address: str) -> socket.socket:
    """A listening socket; StartError names the setting when the address cannot be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, int(port)), family=family, backlog=1024)
        # Connections inherit it. asyncio sets it for sockets that name their protocol only, which these do not: each
        # answer's body would wait 40 ms for the client's acknowledgement of the head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise StartError(f"{name}: cannot listen on {address}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    # asyncio and socket add the address to strerror, which the message has already.
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.admin_cert is None or settings.admin_key is None:
        return None
    try:
        return FollowedContext(TlsFiles(settings.admin_cert, settings.admin_key)).context
    except TlsError as error:
        raise StartError(f"ADMIN_CERT: {error}") from None


class _Server(uvicorn.Server):
    """Ends event streams at the stop, for which it would wait otherwise."""

    def __init__(self, config: uvicorn.Config, app: ControlPlane) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called once no new connections are accepted."""
        self._app.end_streams()
        await super().shutdown(sockets)


def _serve(settings: Settings, listener: socket.socket, tls: ssl.SSLContext | None) -> int:
    app = create_app(settings, lambda: setattr(server, "should_exit", True))
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # The client address is judged in api.auth.from_this_machine.
        proxy_headers=False,
        server_header=False,
        # Above it 503: idle connections must not use up the descriptors that etcd and the streams need.
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=DRAIN,
        ssl_context_factory=(lambda *_: tls) if tls is not None else None,
    )
    server = _Server(config, app)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Uvicorn drains and then raises the signal again, which must have no effect.
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        return 2  # the lifespan failed and has reported why
    if app.failure is None:
        return 0
    return 2 if isinstance(app.failure, StartError) else 1


if __name__ == "__main__":
    main()
