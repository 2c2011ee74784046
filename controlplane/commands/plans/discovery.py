"""Plans for discovery: the instances that a source names, as the elected control plane writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.commands.plan import Beside, Plan, PlanView
from controlplane.model.discovered import LONGEST_PROBLEM, Discovered, DiscoveredInstance, Found
from controlplane.model.discovery import Discovery
from controlplane.model.problems import ConfigProblems
from controlplane.model.resources import Resource, Service
from controlplane.model.stored import decode, encode, key_of
from controlplane.store.protocol import Delete, Entry, Put


@dataclass(frozen=True, slots=True, kw_only=True)
class Discover(Beside):
    """Adopt an answer of a service's source."""

    service_name: str
    discovery: Discovery
    """The source that has answered."""
    instances: tuple[Found, ...] | None
    """None: it does not answer, and the last known instances stay."""
    problem: str
    now: float
    """Unix seconds."""

    @property
    def keys(self) -> tuple[str, ...]:
        return key_of(Service.KIND, self.service_name), key_of(Discovered.KIND, self.service_name)

    @property
    def prefixes(self) -> tuple[str, ...]:
        # Says how far the store is: new instances get a later revision than anything that it holds.
        return (f"{self.keys[1]}/",)


def discover(view: PlanView, request: Discover) -> Plan[None]:
    """Write what differs from the last answer. An answer for a source that the service does not have changes
    nothing."""
    (service_key, key), (prefix,) = request.keys, request.prefixes
    service, before = view.entries[service_key], view.entries[key]
    found = read(service)
    if service is None or not isinstance(found, Service) or found.discovery != request.discovery:
        return Plan(None, shown_at=1)
    known = read(before)
    old = known if isinstance(known, Discovered) else Discovered(service_name=request.service_name)
    new = adopted(old, request, view.listings[prefix].revision + 1)
    if before is not None and new == known:
        return Plan(None, shown_at=before.revision)
    expects = {service_key: service.revision, key: before.revision if before else 0}
    return Plan(None, [Put(key, encode(new))], expects)


def differs(known: Discovered | None, instances: Sequence[Found] | None, problem: str) -> bool:
    """Whether an answer would change what is known."""
    if known is None or known.problem != shown(problem):
        return True
    if instances is None:
        return False
    found = sorted(instances, key=lambda one: one.instance_id)
    return len(found) != len(known.instances) or not all(
        map(DiscoveredInstance.equals, known.instances, found)
    )


def shown(problem: str) -> str:
    """The problem as an entry holds it: sources send any text."""
    return problem.encode(errors="replace").decode()[:LONGEST_PROBLEM]


def adopted(old: Discovered, request: Discover, revision: int) -> Discovered:
    """The state after an answer, at this revision of the store."""
    instances = old.instances if request.instances is None else merged(old, request.instances, revision)
    problem = shown(request.problem)
    since = (old.since if old.problem else request.now) if problem else 0.0
    return Discovered(service_name=old.service_name, instances=instances, problem=problem, since=since)


def merged(old: Discovered, found: Sequence[Found], revision: int) -> tuple[DiscoveredInstance, ...]:
    """The found instances, sorted by id. Those that do not differ keep their revision."""
    known = {each.instance_id: each for each in old.instances}
    made = []
    for each in sorted(found, key=lambda one: one.instance_id):
        before = known.get(each.instance_id)
        same = before is not None and before.equals(each)
        made.append(before if before is not None and same else DiscoveredInstance.of(each, revision))
    return tuple(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(Beside):
    """Remove what was found for a service that is gone, or has no discovery any more."""

    service_name: str

    @property
    def keys(self) -> tuple[str, ...]:
        return key_of(Service.KIND, self.service_name), key_of(Discovered.KIND, self.service_name)


def forget(view: PlanView, request: Forget) -> Plan[None]:
    """Changes nothing if the service has discovery again."""
    service, before = (view.entries[key] for key in request.keys)
    found = read(service)
    unreadable = service is not None and found is None
    if before is None or unreadable or (isinstance(found, Service) and found.discovery is not None):
        return Plan(None, shown_at=1)
    service_key, key = request.keys
    return Plan(None, [Delete(key)], {service_key: service.revision if service else 0, key: before.revision})


def read(entry: Entry | None) -> Resource | None:
    """The resource in an entry; None where there is none, or none that can be read."""
    try:
        return decode(entry) if entry is not None else None
    except ConfigProblems:
        return None
