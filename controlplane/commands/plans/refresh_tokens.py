"""Refresh tokens that are used up, and families of them that end. The rules are in `identity.families`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.identity.families import PREFIX, Families, Member
from controlplane.store.protocol import Put


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFamily(Request):
    """A request about the family of one refresh token."""

    username: str
    member: Member
    now: float
    """Unix seconds."""
    lifetime: float
    """Seconds that a family lasts at most."""

    @property
    def configuration(self) -> bool:
        return False

    @property
    def keys(self) -> tuple[str, ...]:
        return (PREFIX + self.username,)


def use(view: PlanView, request: OfFamily) -> Plan[Member | None]:
    """Use a token up. The receipt is the next one of its family; None: it was used before, and its family ends."""
    families = _families(view, request)
    member = request.member
    if families.valid(member):
        following = replace(member, sequence=member.sequence + 1)
        return _changed(view, request, families, following.sequence, following)
    return _ended(view, request, families)


def end(view: PlanView, request: OfFamily) -> Plan[Member | None]:
    """End a family (RFC 7009)."""
    return _ended(view, request, _families(view, request))


def _ended(view: PlanView, request: OfFamily, families: Families) -> Plan[Member | None]:
    if families.ended(request.member) and not families.damaged:
        return Plan(None)
    return _changed(view, request, families, None, None)


def _families(view: PlanView, request: OfFamily) -> Families:
    entry = view.entries[request.keys[0]]
    return Families.read(entry.value if entry else None, request.now)


def _changed(
    view: PlanView, request: OfFamily, families: Families, sequence: int | None, receipt: Member | None
) -> Plan[Member | None]:
    (key,) = request.keys
    entry = view.entries[key]
    changed = families.after(request.member, sequence, request.now, request.lifetime)
    expects = {key: entry.revision if entry else 0}
    if entry and entry.lease and changed.until >= request.now + request.lifetime:
        return Plan(receipt, [Put(key, changed.value, entry.lease)], expects)
    # The lease lasts twice as long as needed, so that not every renewal needs a new lease.
    ttl = 2 * request.lifetime
    changed = replace(changed, until=request.now + ttl)
    releases = (entry.lease,) if entry and entry.lease else ()
    return Plan(receipt, [Put(key, changed.value, request.plan_lease)], expects, releases=releases, ttl=ttl)
