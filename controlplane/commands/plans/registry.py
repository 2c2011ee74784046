"""Plans for services and operators at run time: instances under a lease, and orders to reset counters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.commands.errors import Leaving, NotFound, Occupied, UnknownService
from controlplane.commands.plan import Beside, Plan, PlanView
from controlplane.commands.plans import holders
from controlplane.commands.plans.puts import plan_steps, put_step
from controlplane.model.base import parse_as
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.reset_key import shows_hidden
from controlplane.model.resources import Instance, Reset, Service
from controlplane.model.stored import decode, encode, key_of
from controlplane.store.protocol import Delete, Entry, Put, Write

DEFAULT_TTL, LEAST_TTL, MOST_TTL = 15.0, 5.0, 300.0
"""Seconds."""

RESET_TTL = 60.0
"""Seconds that a reset stays in the store; data planes that connect later have nothing to reset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Beside):
    """Create or replace an instance under a new lease."""

    instance: Instance
    service: Service | None
    """The instance's service, as the caller declares it."""
    ttl_asked: float
    only_if_absent: bool = False
    """Replace no registration at another address."""

    @property
    def keys(self) -> tuple[str, ...]:
        return key_of("service", self.instance.service_name), key_of("instance", self.instance.name)

    @property
    def ttl(self) -> float:
        return self.ttl_asked


@dataclass(frozen=True, slots=True)
class Registered:
    """An instance that is registered under a new lease."""

    lease: int
    replaced: str = ""
    """Address of the registration that it replaced."""


def register(view: PlanView, request: Register) -> Plan[Registered]:
    """Raises UnknownService when the service does not exist, Occupied when the instance is at this address already.

    DuplicateInstance: it is at another one, and the request is to replace none.
    """
    service, before = (view.entries[key] for key in request.keys)
    if service is None:
        raise UnknownService(request.instance.service_name)
    service_key, key = request.keys
    replaced = _replaced(request, before)
    return Plan(
        Registered(request.lease, replaced),
        [Put(key, encode(request.instance), request.lease)],
        {service_key: service.revision, key: _revision(before)},
        releases=(before.lease,) if before else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduce(Register):
    """Register the first instance of a service together with the service: that changes the configuration."""

    @property
    def configuration(self) -> bool:
        return True


def introduce(view: PlanView, request: Introduce) -> Plan[Registered]:
    """An existing service stays as it is, because its settings are the operator's."""
    assert request.service is not None
    service_key, key = request.keys
    before = view.entries[key]
    if view.revision(("service", request.instance.service_name)):
        return register(view, request)
    plan = plan_steps(view, [put_step(view, request.service)], "register")
    return Plan(
        Registered(request.lease, _replaced(request, before)),
        [Put(key, encode(request.instance), request.lease), *plan.writes],
        {service_key: 0, key: _revision(before)},
        plan.summary,
        plan.edits,
        releases=(before.lease,) if before else (),
        on_record=False,
    )


def _replaced(request: Register, before: Entry | None) -> str:
    """Address of the registration that is replaced. Raises Occupied, DuplicateInstance."""
    replaced = holders.taken_by_another(request.instance, before, request.only_if_absent)
    if before is not None and before.lease and not replaced and holders.instance_in(before) is not None:
        raise Occupied(request.instance.name)
    return replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class OfInstance(Beside):
    """A request about one registered instance."""

    service_name: str
    instance_id: str
    since: int = 0
    """Only the registration of this revision; 0: whichever is there."""
    mark: bool = False
    """The request is not from a holder: mark the instance as removed for its holders."""
    own: tuple[int, ...] = ()
    """Leases that are not needed afterwards."""

    @property
    def name(self) -> str:
        """The instance's name."""
        return f"{self.service_name}/{self.instance_id}"

    @property
    def keys(self) -> tuple[str, ...]:
        return (key_of("instance", self.name),)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (holders.holders_of(self.name),) if self.mark else ()


def deregister(view: PlanView, request: OfInstance) -> Plan[None]:
    """An absent instance is not an error. The instance is absent at the revision of the answer."""
    (key,) = request.keys
    entry = view.entries[key]
    if entry is None:
        return Plan(None, expects={key: 0}, releases=request.own)
    if request.since not in (0, entry.revision):
        return Plan(None, releases=request.own)
    marks, releases = _marks(view, request, entry)
    return Plan(None, [Delete(key), *marks], {key: entry.revision}, releases=(*releases, *request.own))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(OfInstance):
    """Let an instance take no new requests.

    It stays under its lease, or with `hold` under a new one that ends so many seconds later by itself: then no
    process needs to keep it alive.
    """

    hold: float = 0.0

    @property
    def ttl(self) -> float:
        return self.hold


def drain(view: PlanView, request: Drain) -> Plan[None]:
    """Raises NotFound."""
    (key,) = request.keys
    entry = view.entries[key]
    instance = decode(entry) if entry is not None else None
    if entry is None or not isinstance(instance, Instance) or request.since not in (0, entry.revision):
        raise NotFound("instance", request.name)
    if instance.draining and not request.lease:
        return Plan(None, shown_at=entry.revision)
    marks, releases = _marks(view, request, entry) if request.lease else ([], ())
    write = Put(key, encode(instance.model_copy(update={"draining": True})), request.lease or entry.lease)
    return Plan(None, [write, *marks], {key: entry.revision}, releases=(*releases, *request.own))


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrain(OfInstance):
    """Let a draining instance take requests again."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (holders.holders_of(self.name),)


def undrain(view: PlanView, request: Undrain) -> Plan[None]:
    """Raises NotFound, and Leaving where the instance is kept for its last requests alone, under a lease that nobody
    renews."""
    (key,), (prefix,) = request.keys, request.prefixes
    entry = view.entries[key]
    instance = holders.instance_in(entry)
    if entry is None or instance is None:
        raise NotFound("instance", request.name)
    if not instance.draining:
        return Plan(None, shown_at=entry.revision)
    if holders.Holders.read(view.listings[prefix].entries).marked:
        raise Leaving(request.name)
    write = Put(key, encode(instance.model_copy(update={"draining": False})), entry.lease)
    return Plan(None, [write], {key: entry.revision})


def _marks(view: PlanView, request: OfInstance, entry: Entry) -> tuple[Sequence[Write], tuple[int, ...]]:
    """Marks for an instance that leaves its lease, and the leases that are no longer needed."""
    if not request.mark:
        return (), (entry.lease,)
    return holders.marks(request.name, entry, view.listings[request.prefixes[0]].entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetCircuit(Beside):
    """Order every data plane to close a service's breaker."""

    service_name: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (key_of("service", self.service_name),)

    @property
    def ttl(self) -> float:
        return RESET_TTL


def reset_circuit(view: PlanView, request: ResetCircuit) -> Plan[None]:
    """Raises NotFound."""
    if view.entries[request.keys[0]] is None:
        raise NotFound("service", request.service_name)
    name = request.service_name
    return _order(Reset(id=f"circuit-{name}", circuit=name), request.lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRateLimit(Beside):
    """Order every data plane to refill the buckets of a caller key."""

    key: str

    @property
    def ttl(self) -> float:
        return RESET_TTL


def reset_rate_limit(view: PlanView, request: ResetRateLimit) -> Plan[None]:
    """Raises InvalidConfig when the key is empty, above 512 characters or no Unicode text."""
    if not 1 <= len(request.key) <= 512:
        raise InvalidConfig([Problem("key", "must have 1 to 512 characters")])
    if shows_hidden(request.key):
        # It may be a credential, and must not be stored.
        detail = (
            "must have digests in place of headers, API keys and claims, like header:#… in GET /rate-limits"
        )
        raise InvalidConfig([Problem("key", detail)])
    digest = hashlib.sha256(request.key.encode(errors="surrogatepass")).hexdigest()[:32]
    order = parse_as(Reset, {"id": f"rate_limit-{digest}", "rate_limit": request.key})
    return _order(order, request.lease)


def _order(reset: Reset, lease: int) -> Plan[None]:
    return Plan(None, [Put(key_of("reset", reset.name), encode(reset), lease)])


def check_registration(instance: Instance, service: Service | None, ttl: float) -> None:
    """Raise InvalidConfig for a lease out of bounds, or a service that is not the instance's."""
    problems = []
    if not LEAST_TTL <= ttl <= MOST_TTL:
        problems.append(
            Problem("ttl", f"must be {LEAST_TTL:g} to {MOST_TTL:g} seconds, or 0 for {DEFAULT_TTL:g}")
        )
    if service is not None and service.name != instance.service_name:
        problems.append(
            Problem("service.service_name", f"must be {instance.service_name!r}, as in the instance")
        )
    if problems:
        raise InvalidConfig(problems)


def _revision(entry: Entry | None) -> int:
    return entry.revision if entry else 0
