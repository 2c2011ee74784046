"""The control plane's own writes: the store's lineage, signing keys, built-in resources."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.commands.plans.puts import delete_step, plan_steps, present, put_step
from controlplane.model.lineage import LINEAGE, Lineage, lineage_value, read_lineage
from controlplane.model.resources import Resource, ResourceId, Service, Tls
from controlplane.model.stored import PREFIX, key_of
from controlplane.store.protocol import Entry, Put

SIGNING_KEYS = key_of("signing_key", "")

BUILT_IN = f"{PREFIX}store/built-in"
"""Built-in resources that were created in this store: a list of `kind/name`. They are created once: an operator may
delete them."""
TLS_SET = "tls"
"""Listed there while a control plane has set `tls` of the built-in service, and will take it away again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLineage(Request):
    """A request about the store's identity."""

    new_id: str
    """Random; taken when the store has none."""

    @property
    def configuration(self) -> bool:
        return False

    @property
    def keys(self) -> tuple[str, ...]:
        return (LINEAGE,)


def identify(view: PlanView, request: OfLineage) -> Plan[None]:
    """Give the store an identity, unless it has one."""
    if view.entries[LINEAGE] is not None:
        return Plan(None)
    return Plan(None, [Put(LINEAGE, lineage_value(Lineage(request.new_id), request.author))], {LINEAGE: 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(OfLineage):
    """An operator's confirmation that the store's content may replace the fleet's configuration: a higher epoch."""

    above: int
    now: float
    """Unix seconds."""


def confirm(view: PlanView, request: Confirm) -> Plan[Lineage]:
    """Raise the store's epoch, above `above` at least."""
    entry = view.entries[LINEAGE]
    before = read_lineage(entry.value if entry else None)
    epoch = max(round(request.now * 1000), before.epoch + 1, request.above + 1)
    lineage = Lineage(before.id or request.new_id, epoch)
    put = Put(LINEAGE, lineage_value(lineage, request.author))
    return Plan(lineage, [put], {LINEAGE: entry.revision if entry else 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepKeys(Request):
    """Have a signing key in the store, for tokens of this issuer and audience."""

    issuer: str
    audience: str
    first: Mapping[str, object] | None
    """The key to store when there is none; without `issuer` and `audience`."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (SIGNING_KEYS,)


def keep_keys(view: PlanView, request: KeepKeys) -> Plan[None]:
    """Store the first key, or update issuer and audience of those that are there.

    The first key's name is random; the change entry keeps two control planes from storing one each.
    """
    entries = view.listings[SIGNING_KEYS].entries
    settings = {"issuer": request.issuer, "audience": request.audience}
    if not entries and request.first is not None:
        key = SIGNING_KEYS + str(request.first["kid"])
        put = Put(key, json.dumps({**request.first, **settings}).encode())
        return Plan(None, [put], {key: 0}, "create the signing key")
    outdated = [entry for entry in entries if not is_for(entry, request.issuer, request.audience)]
    writes = [
        Put(entry.key, json.dumps({**json.loads(entry.value), **settings}).encode()) for entry in outdated
    ]
    return Plan(None, writes, {entry.key: entry.revision for entry in outdated})


def is_for(entry: Entry, issuer: str, audience: str) -> bool:
    """Whether a signing key is stored for this issuer and audience."""
    value = json.loads(entry.value)
    return (value.get("issuer"), value.get("audience")) == (issuer, audience)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIn(Request):
    """Create the built-in resources that were never created in this store, and remove those that are switched off."""

    resources: tuple[Resource, ...]
    switched_off: tuple[ResourceId, ...]
    tls: Tls | None = None
    """TLS by which data planes reach the admin API; None: unencrypted, or as an operator has set it."""

    @property
    def keys(self) -> tuple[str, ...]:
        return (BUILT_IN,)


def build_in(view: PlanView, request: BuildIn) -> Plan[None]:
    """Resources that were created before and are missing now were deleted by an operator: they stay deleted."""
    entry = view.entries[BUILT_IN]
    created = _listed(entry)
    named = {(one.KIND, one.name): one for one in request.resources}
    new = [one for name, one in named.items() if "/".join(name) not in created and not view.revision(name)]
    off = [name for name in request.switched_off if view.revision(name)]
    new = [_with_tls(one, request.tls) for one in new] + _moved_to_tls(view, named, request.tls, created)
    marked = {TLS_SET} if request.tls is not None else set()
    listed = sorted(
        (created - {TLS_SET} | {"/".join(name) for name in named} | marked)
        - set(map("/".join, request.switched_off))
    )
    if listed == sorted(created) and not new and not off:
        return Plan(None)
    steps = [put_step(view, one) for one in new] + [delete_step(view, name) for name in off]
    plan = plan_steps(view, steps)
    mark = Put(BUILT_IN, json.dumps(listed).encode())
    expects = {**plan.expects, BUILT_IN: entry.revision if entry else 0}
    return Plan(None, [*plan.writes, mark], expects, plan.summary, plan.edits)


def _with_tls(resource: Resource, tls: Tls | None) -> Resource:
    return resource.model_copy(update={"tls": tls}) if isinstance(resource, Service) else resource


def _moved_to_tls(
    view: PlanView, named: Iterable[ResourceId], tls: Tls | None, created: Collection[str]
) -> list[Resource]:
    """The stored built-in services with another `tls`. Without TLS of our own, an operator's `tls` stays: a proxy may
    terminate it."""
    if tls is None and TLS_SET not in created:
        return []
    stored = [present(view, name) for name in named]
    return [_with_tls(one, tls) for one in stored if isinstance(one, Service) and one.tls != tls]


def _listed(entry: Entry | None) -> set[str]:
    try:
        return set(map(str, json.loads(entry.value))) if entry else set()
    except (ValueError, TypeError, RecursionError):
        return set()
