"""The control plane as an instance of its own service `controlplane`, so that the gateway leads to it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket

from controlplane.commands.commands import Commands
from controlplane.commands.errors import UnknownService
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Instance
from controlplane.settings import Settings
from controlplane.startup import SERVICE
from controlplane.store import LeaseGone, StoreError

logger = logging.getLogger(__name__)

TTL = 15.0
FAREWELL = 2.0
"""Seconds that taking the registration back may delay the end."""


class Presence:
    """One registration, kept alive as long as `run` runs and made anew when it is lost."""

    def __init__(
        self, commands: Commands, instance: Instance, *, ttl: float = TTL, pause: float = TTL / 3
    ) -> None:
        """A lease of `ttl` seconds, renewed every `pause` seconds."""
        self._commands = commands
        self._instance = instance
        self._ttl = ttl
        self._pause = pause
        self._registered = False

    async def run(self) -> None:
        """Stay registered until cancelled, and take the registration back then."""
        try:
            while True:
                await self._stay()
        finally:
            await self._leave()

    async def _stay(self) -> None:
        try:
            registered = await self._commands.register(self._instance, None, self._ttl)
            self._registered = True
            logger.info("registered itself", extra={"revision": registered.revision, **self._named()})
            await self._keep(registered.lease)
        except LeaseGone:
            logger.warning("registration was lost", extra=self._named())
        except UnknownService:
            # An operator deleted it: nobody wants the admin API on the gateway.
            logger.info("not registered: the service does not exist", extra=self._named())
            await asyncio.sleep(self._ttl)
        except (StoreError, InvalidConfig) as error:
            logger.warning("registration failed", extra={"reason": str(error), **self._named()})
            await asyncio.sleep(self._pause)

    async def _keep(self, lease: int) -> None:
        """Renew until the lease is gone. A store that does not answer is asked again: the lease may outlive that."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._commands.keep_alive(lease)
            except LeaseGone:
                raise
            except StoreError as error:
                logger.debug("registration not renewed", extra={"reason": str(error)})

    async def _leave(self) -> None:
        if not self._registered:
            return
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._commands.deregister(self._instance.service_name, self._instance.instance_id)

    def _named(self) -> dict[str, str]:
        return {"instance": self._instance.name}


def instance_of(settings: Settings) -> Instance:
    """This process as an instance: under ADVERTISE, or the address it listens on."""
    host, _, port = (settings.advertise or settings.admin_listen).rpartition(":")
    own_port = settings.admin_listen.rpartition(":")[2]
    machine = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()).strip(".-")[:50].rstrip(".-")
    return Instance(
        service_name=SERVICE["service_name"],
        instance_id=f"{machine or 'controlplane'}-{own_port}",
        host=_reachable(host.strip("[]")),
        port=int(port),
    )


def _reachable(host: str) -> str:
    """The host, or this machine's own address where the host stands for all of them."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return host
    except ValueError:
        return host.lower()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; asks the system which of its addresses would be used (RFC 5737 address).
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
