"""Registers the control plane as an instance of the service `controlplane`, so that the gateway can route to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import re
import secrets
import socket

from controlplane.commands.commands import Commands
from controlplane.commands.errors import UnknownService
from controlplane.fleet.members import Member
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Instance
from controlplane.settings import Settings, is_loopback
from controlplane.startup import SERVICE
from controlplane.store import LeaseGone, StoreError
from controlplane.tls import tls_name

logger = logging.getLogger(__name__)

TTL = 15.0
_LONGEST_ID = 63
FAREWELL = 2.0
"""Seconds that deregistering may delay the shutdown."""


class Presence:
    """One registration: kept alive while `run` runs, and made again when it is lost."""

    def __init__(
        self, commands: Commands, instance: Instance, *, ttl: float = TTL, pause: float = TTL / 3
    ) -> None:
        """A lease of `ttl` seconds, renewed every `pause` seconds."""
        self._commands = commands
        self._instance = instance
        self._ttl = ttl
        self._pause = pause
        self._lease = 0

    async def run(self) -> None:
        """Stay registered until cancelled, then deregister."""
        try:
            while True:
                await self._stay()
        finally:
            await self._leave()

    async def _stay(self) -> None:
        try:
            registered = await self._commands.register(self._instance, None, self._ttl)
            self._lease = registered.lease
            logger.info("registered itself", extra={"revision": registered.revision, **self._named()})
            await self._keep(registered.lease)
        except LeaseGone:
            logger.warning("the registration of this control plane was lost", extra=self._named())
        except UnknownService:
            # An operator deleted it: the admin API is not wanted on the gateway.
            logger.info(
                "this control plane is not registered: the service does not exist", extra=self._named()
            )
            await asyncio.sleep(self._ttl)
        except (StoreError, InvalidConfig) as error:
            logger.warning("registration failed", extra={"reason": str(error), **self._named()})
            await asyncio.sleep(self._pause)

    async def _keep(self, lease: int) -> None:
        """Renew until the lease is gone. A failed renewal is retried: the lease may outlive the outage."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._commands.keep(self._instance.name, lease)
            except LeaseGone:
                raise
            except StoreError as error:
                logger.debug(
                    "the registration of this control plane was not renewed", extra={"reason": str(error)}
                )

    async def _leave(self) -> None:
        if not self._lease:
            return
        name = self._instance.service_name, self._instance.instance_id
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                _, since = await self._commands.leave(self._instance.name, self._lease)
                if since:
                    await self._commands.deregister(*name, lease=self._lease, since=since)

    def _named(self) -> dict[str, str]:
        return {"instance": self._instance.name}


def instance_of(settings: Settings) -> Instance | None:
    """This process as an instance: under ADVERTISE, or the address it listens on.

    None if data planes would reach another machine at that address: passwords are sent there. Loopback is valid only
    when no data plane can be on another machine, because the gRPC port and the store are on loopback, too.
    """
    host, _, port = (settings.advertise or settings.admin_listen).rpartition(":")
    reachable = _reachable(host.strip("[]"))
    if reachable is None or (
        settings.advertise is None and is_loopback(reachable) and not _all_on_this_machine(settings)
    ):
        return None
    return Instance(
        service_name=SERVICE["service_name"], instance_id=own_id(settings), host=reachable, port=int(port)
    )


def member_of(settings: Settings) -> Member | None:
    """The address at which other control planes follow this one; None when it has no address that they certainly
    reach."""
    host, _, port = (settings.advertise_grpc or settings.grpc_listen).rpartition(":")
    bare = host.strip("[]")
    reachable = _reachable(bare)
    if reachable is None or (
        settings.advertise_grpc is None and is_loopback(reachable) and not _all_on_this_machine(settings)
    ):
        return None
    address = f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"
    return Member(address, tls_name(settings.grpc_cert) if settings.grpc_cert else None)


def own_id(settings: Settings) -> str:
    """The name of this process among the control planes: host name and port; of a long one a digest and the end."""
    machine = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()).strip(".-") or "controlplane"
    name = f"{machine}-{settings.admin_listen.rpartition(':')[2]}"
    if len(name) <= _LONGEST_ID:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{digest}-{name[len(digest) + 1 - _LONGEST_ID :]}"


def own_name(settings: Settings) -> str:
    """The name of this process among the control planes; another one after each start."""
    return f"{own_id(settings)}-{secrets.token_hex(4)}"


def _all_on_this_machine(settings: Settings) -> bool:
    endpoints = (endpoint.partition("://")[2] for endpoint in settings.etcd_endpoints)
    hosts = (address.rpartition(":")[0].strip("[]") for address in (settings.grpc_listen, *endpoints))
    return all(map(is_loopback, hosts))


def _reachable(host: str) -> str | None:
    """The host, or this machine's own address if the host means all addresses; None when it has none."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return host
    except ValueError:
        return host.lower()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: the kernel only picks the source address for this destination (RFC 5737).
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return None
