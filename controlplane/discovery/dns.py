"""Looks names up, and again whenever their TTLs end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from controlplane.discovery import backoff, records
from controlplane.discovery.answer import Answer, Complaint, unanswered
from controlplane.discovery.records import Records, ServiceRecord
from controlplane.model.discovery import DnsSource

LIFETIME = 5.0
"""Seconds within which a lookup is answered, retries included."""
ABSENT_TTL = 10.0
"""Seconds until a name that does not exist, or has no records, is looked up again."""
AT_ONCE, AGAIN_AT_ONCE = 100, 50
"""Lookups under way at the same time, and those among them that failed before: names whose servers are silent take five
seconds each, and must not hold up the others."""


class LookupFailed(Exception):
    """No server gave an answer that can be used; the message says why."""


class Resolver(Protocol):
    """Looks a name up."""

    async def look_up(self, source: DnsSource, *, again: bool = False) -> Records:
        """The records. `again`: the last lookup failed. Raises LookupFailed."""


class DnsResolver:
    """Asks the servers of the system, or those given."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        """`servers`: host:port of DNS servers, by address."""
        self._servers = servers
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._turn_again = asyncio.Semaphore(AGAIN_AT_ONCE)

    async def look_up(self, source: DnsSource, *, again: bool = False) -> Records:
        """The records. `again`: the last lookup failed. Raises LookupFailed."""
        async with self._turn_again if again else contextlib.nullcontext(), self._turn:
            return await self._look_up(source)

    async def _look_up(self, source: DnsSource) -> Records:
        try:
            found = await self._resolver().resolve(f"{source.name}.", source.type, search=False)
        except dns.resolver.NXDOMAIN:
            return Records(ttl=ABSENT_TTL, absent=f"{source.name} does not exist")
        except dns.resolver.NoAnswer:
            return Records(ttl=ABSENT_TTL)
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailed(f"DNS does not answer: {_reason(error)}") from None
        ttl = float(found.chaining_result.minimum_ttl)
        if source.type == "SRV":
            return Records(services=[_service(each) for each in found], ttl=ttl)
        return Records(addresses=[str(each.address) for each in found], ttl=ttl)

    def _resolver(self) -> dns.asyncresolver.Resolver:
        """A new one each time, so that a changed resolv.conf counts."""
        made = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            split = (server.rpartition(":") for server in self._servers)
            made.nameservers = [
                dns.nameserver.Do53Nameserver(host.strip("[]"), int(port)) for host, _, port in split
            ]
        made.lifetime = LIFETIME
        return made


def _service(record: object) -> ServiceRecord:
    priority, weight, port, target = (
        getattr(record, name) for name in ("priority", "weight", "port", "target")
    )
    return ServiceRecord(priority, weight, port, str(target).rstrip(".").lower())


def _reason(error: Exception) -> str:
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return f"no response within {LIFETIME:g} s"
    if isinstance(error, dns.resolver.NoNameservers):
        codes = {str(each[3]) for each in error.kwargs.get("errors", ())}
        return f"the servers answered {', '.join(sorted(codes))}"[:200] if codes else "no server answers"
    return str(error)[:200] or type(error).__name__


async def follow(
    source: DnsSource,
    resolver: Resolver,
    complaint: Complaint,
    tell: Callable[[Answer], None],
    chance: Callable[[], float] = random.random,
) -> None:
    """Look a name up until cancelled; `tell` gets each answer."""
    failures, answered = 0, False
    while True:
        try:
            found = await resolver.look_up(source, again=failures > 0)
        except LookupFailed as error:
            failures += 1
            if failures > 1 or not answered:
                # A single failure is no problem yet: the next try may succeed.
                tell(unanswered(str(error)))
            await asyncio.sleep(backoff.pause(failures, chance()))
        else:
            failures, answered = 0, True
            tell(records.answer(source, found, complaint))
            await asyncio.sleep(backoff.until_expiry(found.ttl, chance()))
