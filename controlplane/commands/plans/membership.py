"""The membership of a control plane: presence, address for followers, and a summary for those that cannot follow."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.fleet.members import MEMBERS, SUMMARIES
from controlplane.store.protocol import Delete, Put, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class OfMember(Request):
    """A request about one control plane."""

    name: str
    summary: bytes

    @property
    def configuration(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(OfMember):
    """Become a member, under a new lease."""

    member: bytes | None
    """Its address for followers, encoded; None: it cannot be followed."""
    seconds: float

    @property
    def ttl(self) -> float:
        return self.seconds


def join(view: PlanView, request: Join) -> Plan[int]:
    """Write both keys under the lease, which the receipt names."""
    where = MEMBERS + request.name
    followed: Write = Delete(where) if request.member is None else Put(where, request.member, request.lease)
    return Plan(request.lease, [Put(SUMMARIES + request.name, request.summary, request.lease), followed])


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(OfMember):
    """Replace the summary."""

    held: int
    """The lease of `join`."""


def update(view: PlanView, request: Update) -> Plan[None]:
    """Write it under the lease that the control plane holds."""
    return Plan(None, [Put(SUMMARIES + request.name, request.summary, request.held)])
