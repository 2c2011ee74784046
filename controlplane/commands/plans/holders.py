"""Holders of a registered instance: one process under its own lease, or several processes that share host and port.

One process: the instance lies under its lease, and nothing else is stored. When a second one registers the same
instance at the same address (workers of one server, a successor), it joins: the instance moves to a *shared* lease that
every holder's keep-alive renews, and each holder has an entry under a lease of its own. So the instance stays until the
last holder has gone, and a holder that died counts no longer than its lease.

An instance that is removed by someone other than its holders leaves a *mark* under each holder's lease: keep-alives
find it, and do not restore the instance. Only a new registration does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from controlplane.commands.errors import DuplicateInstance
from controlplane.commands.plan import Beside, Plan, PlanView
from controlplane.model.problems import InconsistentConfig, InvalidConfig, Problem
from controlplane.model.resources import Instance
from controlplane.model.stored import decode, encode, key_of
from controlplane.store.protocol import Delete, Entry, Put, Write

PREFIX = "/headgate/holders/v1/"
_SHARED = "shared"


def holders_of(name: str) -> str:
    """The prefix of the holders of an instance (`service/id`)."""
    return f"{PREFIX}{name}/"


def holder_key(name: str, lease: int) -> str:
    """The entry of one holder."""
    return f"{holders_of(name)}{lease:x}"


def instance_in(entry: Entry | None) -> Instance | None:
    """The instance in an entry; None when there is none, or none that can be read."""
    try:
        found = decode(entry) if entry is not None else None
    except InconsistentConfig:
        return None
    return found if isinstance(found, Instance) else None


def address_of(instance: Instance | None) -> str:
    """Its address; empty for none."""
    return instance.address if instance is not None else ""


def taken_by_another(instance: Instance, before: Entry | None, only_if_absent: bool) -> str:
    """The address of the replaced registration; empty for none. Raises DuplicateInstance."""
    there = address_of(instance_in(before))
    if there in ("", address_of(instance)):
        return ""
    if only_if_absent:
        raise DuplicateInstance(instance.name, there)
    return there


@dataclass(frozen=True, slots=True)
class Holders:
    """The entries of the holders of one instance."""

    held: tuple[Entry, ...]
    marked: tuple[Entry, ...]
    shared: Entry | None

    @classmethod
    def read(cls, entries: Iterable[Entry]) -> Holders:
        """From the listing of their prefix."""
        held: list[Entry] = []
        marked: list[Entry] = []
        shared = None
        for entry in entries:
            if entry.key.rpartition("/")[2] == _SHARED:
                shared = entry
            else:
                (marked if _is_mark(entry) else held).append(entry)
        return cls(tuple(held), tuple(marked), shared)

    def find(self, lease: int) -> Entry | None:
        """The entry under this lease, mark or not."""
        return next((entry for entry in (*self.held, *self.marked) if entry.lease == lease), None)


def count_by_instance(entries: Iterable[Entry]) -> dict[str, int]:
    """Number of holders of each instance that has or had several, from the listing of PREFIX."""
    counts: dict[str, int] = {}
    for entry in entries:
        name, _, holder = entry.key.removeprefix(PREFIX).rpartition("/")
        if holder != _SHARED and not _is_mark(entry):
            counts[name] = counts.get(name, 0) + 1
    return counts


class Standing(Enum):
    """The result of a keep-alive for a holder whose lease is not the instance's."""

    GONE = "gone"
    """It holds nothing: register again."""
    HELD = "held"
    REMOVED = "removed"
    """Removed by someone other than its holders."""
    BACK = "back"
    """Removed, and registered again since."""


def standing(holder: Entry | None, entry: Entry | None) -> Standing:
    """The state of a holder, given its own entry and the instance's."""
    if holder is None:
        return Standing.GONE
    instance = instance_in(entry)
    here = instance is not None and address_of(instance) == _value(holder).get("at")
    if _is_mark(holder):
        return Standing.BACK if here and instance and not instance.draining else Standing.REMOVED
    return Standing.HELD if here else Standing.GONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ComeBack(Beside):
    """Hold an instance again that was removed and registered again since."""

    name: str
    mine: int
    """The caller's lease."""

    @property
    def keys(self) -> tuple[str, ...]:
        return key_of("instance", self.name), holder_key(self.name, self.mine)


def come_back(view: PlanView, request: ComeBack) -> Plan[None]:
    """Writes nothing when the holder has gone again."""
    entry, holder = (view.entries[key] for key in request.keys)
    if entry is None or holder is None or standing(holder, entry) is not Standing.BACK:
        return Plan(None)
    put = Put(holder.key, _encoded(address_of(instance_in(entry))), holder.lease)
    return Plan(None, [put], {holder.key: holder.revision, entry.key: entry.revision})


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Beside):
    """Hold an instance together with those that are registered at the same address."""

    instance: Instance
    ttl_asked: float

    @property
    def keys(self) -> tuple[str, ...]:
        return (key_of("instance", self.instance.name),)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (holders_of(self.instance.name),)

    @property
    def ttl(self) -> float:
        return self.ttl_asked


@dataclass(frozen=True, slots=True)
class Joined:
    """One more holder."""

    lease: int
    workers: int
    """Holders now; 0: the registration to join has gone."""


def join(view: PlanView, request: Join) -> Plan[Joined]:
    """Registering ends a draining, and takes over weight and metadata.

    Raises InvalidConfig above the number of holders that one transaction can remove.
    """
    (key,), (prefix,) = request.keys, request.prefixes
    before, name, at = view.entries[key], request.instance.name, address_of(request.instance)
    if before is None or not before.lease or address_of(instance_in(before)) != at:
        return Plan(Joined(request.lease, 0), releases=(request.lease,))
    holders = Holders.read(view.listings[prefix].entries)
    if len(holders.held) >= MOST_MARKS:
        raise InvalidConfig([Problem("instance", f"{name!r} is held by {MOST_MARKS} processes already")])
    writes: list[Write] = [Put(holder_key(name, request.lease), _encoded(at), request.lease)]
    expects, shared, ttl = {key: before.revision}, before.lease, 0.0
    releases: tuple[int, ...] = ()
    if holders.shared is None or holders.shared.lease != before.lease:
        # It is not under a shared lease yet: this plan needs one.
        shared, ttl = request.plan_lease, request.ttl_asked
        if holders.marked:
            # Removed by someone other than its holders: its lease keeps it for the last requests, and belongs to no
            # process.
            releases = (before.lease,)
        else:
            writes.append(Put(holder_key(name, before.lease), _encoded(at), before.lease))
    # Written each time, so that two holders that come or go at once do not overlook each other.
    writes.append(Put(f"{prefix}{_SHARED}", _encoded(at), shared))
    expects[f"{prefix}{_SHARED}"] = holders.shared.revision if holders.shared else 0
    writes.append(Put(key, encode(request.instance), shared))
    workers = len(holders.held) + sum(write.key.startswith(prefix) for write in writes) - 1
    return Plan(Joined(request.lease, workers), writes, expects, releases=releases, ttl=ttl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Beside):
    """Remove the holder with a lease."""

    name: str
    mine: int

    @property
    def keys(self) -> tuple[str, ...]:
        return (key_of("instance", self.name),)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (holders_of(self.name),)


def leave(view: PlanView, request: Leave) -> Plan[int]:
    """The receipt is the revision of the instance when it has to go, because no other process holds it; else 0."""
    (key,), (prefix,) = request.keys, request.prefixes
    entry, holders = view.entries[key], Holders.read(view.listings[prefix].entries)
    if entry is not None and entry.lease == request.mine:
        return Plan(entry.revision)
    mine, at = holders.find(request.mine), entry.revision if entry else 0
    if mine is None:
        return Plan(0, shown_at=at)
    if entry is None or standing(mine, entry) is not Standing.HELD or holders.shared is None:
        return Plan(0, [Delete(mine.key)], {mine.key: mine.revision}, shown_at=at, releases=(request.mine,))
    if len(holders.held) == 1:
        return Plan(entry.revision)
    shared = Put(holders.shared.key, holders.shared.value, holders.shared.lease)
    expects = {mine.key: mine.revision, shared.key: holders.shared.revision}
    return Plan(0, [Delete(mine.key), shared], expects, shown_at=at, releases=(request.mine,))


def marks(name: str, entry: Entry, listing: Iterable[Entry]) -> tuple[list[Write], tuple[int, ...]]:
    """The marks that keep an instance out for its holders, and the leases that are not needed any more."""
    holders, at = Holders.read(listing), address_of(instance_in(entry))
    if holders.shared is not None and holders.shared.lease == entry.lease:
        keys = [(holder.key, holder.lease) for holder in holders.held]
        releases: tuple[int, ...] = (entry.lease,)
    else:
        keys, releases = [(holder_key(name, entry.lease), entry.lease)] if entry.lease else [], ()
    return [Put(key, _encoded(at, mark=True), lease) for key, lease in keys[:MOST_MARKS]], releases


MOST_MARKS = 100
"""Holders of one instance: one transaction must be able to remove all of them."""


def _encoded(at: str, *, mark: bool = False) -> bytes:
    return json.dumps({"at": at, "removed": True} if mark else {"at": at}).encode()


def _value(entry: Entry) -> dict[str, object]:
    try:
        value = json.loads(entry.value)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_mark(entry: Entry) -> bool:
    return bool(_value(entry).get("removed"))
