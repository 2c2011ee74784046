"""Logins and tokens that end before they expire. The rules are in `identity.revoked`."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.commands.plan import Beside, Plan, PlanView
from controlplane.identity.revoked import PREFIX, Revoked
from controlplane.store.protocol import Put


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(Beside):
    """A request to end logins and tokens of one user, by their ids."""

    username: str
    ids: tuple[str, ...]
    now: float
    """Unix seconds."""
    until: float
    """Unix seconds at which the last of their tokens expires."""

    @property
    def keys(self) -> tuple[str, ...]:
        return (PREFIX + self.username,)


def revoke(view: PlanView, request: Revoke) -> Plan[Revoked]:
    """Remember the ids, under a lease that ends with the tokens. The receipt is all that has ended of the user."""
    (key,) = request.keys
    entry = view.entries[key]
    known = Revoked.read(entry.value if entry else None, request.now)
    if set(request.ids) <= known.ids.keys():
        return Plan(known)
    new = Revoked(dict.fromkeys(request.ids, (request.now, request.until)))
    joined = new.joined(known, request.now)
    return Plan(
        joined,
        [Put(key, joined.value, request.plan_lease)],
        {key: entry.revision if entry else 0},
        releases=(entry.lease,) if entry and entry.lease else (),
        ttl=joined.until - request.now,
    )
