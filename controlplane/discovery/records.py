"""DNS records as instances. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.discovery.answer import Answer, Candidate, Complaint, checked, place
from controlplane.model.discovery import DnsSource

HEAVIEST = 1000
"""The greatest weight of an instance."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str
    """Without the dot at the end; empty: the service is decidedly not available."""


@dataclass(frozen=True, slots=True)
class Records:
    """The answer to a lookup. No records: the name does not exist, or has none of this type."""

    addresses: Sequence[str] = ()
    services: Sequence[ServiceRecord] = ()
    ttl: float = 0.0
    absent: str = ""
    """Why there are none."""


def answer(source: DnsSource, records: Records, complaint: Complaint) -> Answer:
    """The instances that the records name."""
    candidates = (
        _from_services(records.services) if source.type == "SRV" else _from_addresses(source, records)
    )
    if not candidates:
        return Answer((), records.absent or f"{source.name} has no {source.type} records")
    return checked(candidates, complaint)


def _from_addresses(source: DnsSource, records: Records) -> list[Candidate]:
    port = source.port or 0
    return [Candidate(place(host, port), host, port) for host in sorted(records.addresses)]


def _from_services(services: Sequence[ServiceRecord]) -> list[Candidate]:
    """Those of the lowest priority number. The others are fallbacks, which are not used."""
    usable = [one for one in services if one.target]
    first = min((one.priority for one in usable), default=0)
    chosen = sorted((one for one in usable if one.priority == first), key=lambda one: (one.target, one.port))
    heaviest = max((one.weight for one in chosen), default=0)
    return [
        Candidate(place(one.target, one.port), one.target, one.port, _weight(one.weight, heaviest))
        for one in chosen
    ]


def _weight(weight: int, heaviest: int) -> int:
    """From 0 to 65535 to 1 to 1000, in proportion. A weight of 0 means a small one, as RFC 2782 wants."""
    if heaviest <= HEAVIEST:
        return max(weight, 1)
    return max(round(weight * HEAVIEST / heaviest), 1)
