"""What a source says about the instances of a service. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from controlplane.model.base import parse_as
from controlplane.model.discovered import MOST_FOUND, Found
from controlplane.model.problems import InvalidConfig

LONGEST_ID = 63
REMEMBERED = 4096
"""Candidates that were checked last: most of an answer is in the next one, too."""
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
Complaint = Callable[[str], str | None]
"""The reason why a host must not be an instance; None if it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The instances of a service, and what is wrong. Without instances (None) the last known ones stay."""

    instances: tuple[Found, ...] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance as the source names it, before it is checked."""

    name: str
    host: str
    port: int
    weight: int = 1
    draining: bool = False
    zone: str = ""


def unanswered(reason: str) -> Answer:
    """The source gave no answer, for this reason."""
    return Answer(None, reason)


def checked(candidates: Iterable[Candidate], complaint: Complaint) -> Answer:
    """The candidates that may be instances. The problem has the number of the others, and the first reason."""
    found: dict[str, Found] = {}
    refused: list[str] = []
    more = 0
    for candidate in candidates:
        if len(found) >= MOST_FOUND and instance_id(candidate.name) not in found:
            more += 1
        elif reason := complaint(candidate.host):
            refused.append(reason)
        elif (made := _found(candidate)) is None:
            refused.append(f"{candidate.host[:80]!r} is no address of an instance")
        elif made.instance_id not in found or found[made.instance_id].draining:
            found[made.instance_id] = made
    return Answer(tuple(found.values()), _left_out(refused, more))


def _left_out(refused: list[str], more: int) -> str:
    parts = [f"{len(refused)} not used: {refused[0]}"] if refused else []
    parts += [f"only the first {MOST_FOUND} of {MOST_FOUND + more} are used"] if more else []
    return "; ".join(parts)


@lru_cache(REMEMBERED)
def _found(candidate: Candidate) -> Found | None:
    fields = {
        "instance_id": instance_id(candidate.name),
        "host": candidate.host,
        "port": candidate.port,
        "weight": candidate.weight,
        "draining": candidate.draining,
        "metadata": {"zone": candidate.zone} if candidate.zone else {},
    }
    try:
        return parse_as(Found, fields)
    except InvalidConfig:
        return None


def instance_id(text: str) -> str:
    """The text as the id of an instance; if it is too long, a digest and the end of the text."""
    if len(text) <= LONGEST_ID and _PLAIN.fullmatch(text):
        return text
    name = re.sub(r"[^a-z0-9._-]", "-", text.lower()).strip("._-")
    if len(name) <= LONGEST_ID:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{digest}-{name[len(digest) + 1 - LONGEST_ID :]}"


def place(host: str, port: int) -> str:
    """The name of an instance that has none: its address, which for IPv6 is written in full."""
    try:
        return f"{ipaddress.ip_address(host).exploded}-{port}"
    except ValueError:
        return f"{host}-{port}"
