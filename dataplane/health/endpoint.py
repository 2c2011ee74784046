"""Probes one instance: GET on the service's check path. 2xx within the time-out passes, everything else fails.

One request on one connection; only the response's head is read. With a full HTTP client, the probes of a node with many
instances would cost its supervisor more CPU than all its other work.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time

import httptools

from dataplane.gateway.policy.resources import HealthCheck, Instance
from dataplane.health.state import Probe
from dataplane.proxy.address import authority, certified_name
from dataplane.proxy.connector import Connector
from dataplane.proxy.happy_eyeballs import connect_first
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.tls import Chain, ClientContexts

_log = logging.getLogger(__name__)

MAX_HEAD = 64 * 1024
"""Largest response head, in bytes."""


class BadProbeResponse(Exception):
    """The instance did not send a valid HTTP response."""


class EndpointChecker:
    """Sends probes. Each opens a connection: a reused one would not show whether the instance accepts new ones."""

    def __init__(self, lookups: Lookups | None = None, connector: Connector | None = None) -> None:
        """`lookups` resolves the host names of instances."""
        self._lookups = lookups or Lookups()
        self._connector = connector or Connector()
        self._contexts = ClientContexts()

    def set_client_certificate(self, chain: Chain | None) -> None:
        """Present this client certificate to instances that ask for one."""
        self._contexts.adopt(chain)

    async def __call__(self, instance: Instance, check: HealthCheck) -> Probe:
        """One probe; never raises."""
        try:
            async with asyncio.timeout(check.timeout):
                status = await self._ask(instance, check)
            reason = "" if 200 <= status < 300 else f"answered {status}"
        except TimeoutError:
            reason = f"no answer within {check.timeout:g} s"
        except (BadProbeResponse, OSError, ValueError) as error:
            reason = _cause(error)
        except Exception:
            # All probes of the node run in one group, which would end.
            _log.exception("a probe failed unexpectedly", extra={"instance": instance.id})
            reason = "the probe failed unexpectedly: see the data plane's log"
        return Probe(not reason, time.time(), reason)

    async def _ask(self, instance: Instance, check: HealthCheck) -> int:
        """The status of the response; its body is not read."""
        context = name = None
        if check.tls is not None:
            context = await self._contexts.get(check.tls.ca)
            name = check.tls.server_name or certified_name(instance.host)
        reader, writer = await self._connect(instance, context, name)
        try:
            writer.write(_request(instance, check))
            return await _status(reader)
        finally:
            writer.transport.abort()

    async def _connect(
        self, instance: Instance, context: ssl.SSLContext | None, name: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as requests do: to the host's first address that accepts."""
        addresses = await self._lookups(instance.host)
        if not addresses:
            raise OSError(f"{instance.host} has no address")
        return await connect_first(
            addresses,
            lambda address: self._connector.streams(address, instance.port, context, name),
            _end,
        )


def _cause(error: Exception) -> str:
    """The error in words, without the numbers and places that libraries name."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or 'unknown reason').lower().replace('_', ' ')}"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case OSError():
            return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__


def _end(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    streams[1].transport.abort()


class _Head:
    """Parses until the head of the final response is complete."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.status:  # errors after the head are ignored
                raise BadProbeResponse(f"did not answer in HTTP: {error}") from None

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) >= 200 or status == 101:
            self.status = self.status or status


async def _status(reader: asyncio.StreamReader) -> int:
    head, room = _Head(), MAX_HEAD
    while not head.status:
        if room <= 0:
            raise BadProbeResponse(f"answered with a head of more than {MAX_HEAD} bytes")
        if not (data := await reader.read(room)):
            raise BadProbeResponse("closed the connection without an answer")
        head.feed(data)
        room -= len(data)
    return head.status


def _request(instance: Instance, check: HealthCheck) -> bytes:
    usual = 80 if check.tls is None else 443
    lines = (
        f"GET {check.path} HTTP/1.1",
        f"Host: {authority(instance.host, instance.port, usual)}",
        "User-Agent: headgate-health",
        "Accept: */*",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
