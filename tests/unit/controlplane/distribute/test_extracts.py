"""Extracts for pools: exactly what a pool needs, after any change, and by a delta from every earlier extract."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.distribute.extracts import Extracts
from controlplane.distribute.subscriber import Mark
from controlplane.model.certificate import Certificate
from controlplane.model.config import Config
from controlplane.model.extract import extract
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import (
    Instance,
    Listener,
    Pool,
    Reset,
    Resource,
    ResourceId,
    Route,
    model_of,
    parse,
    references,
)
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.model.stored import Stamped, encode, key_of
from controlplane.store import Entry
from headgate_api.v1 import resources_pb2 as pb

POOLS = ("east", "west")
KEY = {
    "kid": "k",
    "public": {"kty": "RSA"},
    "private": "hidden",
    "created": 1,
    "issuer": "i",
    "audience": "a",
}
named = st.sets(st.sampled_from((*POOLS, "default"))).map(sorted)


def entry(resource: Resource, revision: int) -> Entry:
    return Entry(key_of(resource.KIND, resource.name), encode(resource), revision)


def listener(name: str, port: int, pools: Iterable[str] = (), certificates: Iterable[str] = ()) -> Resource:
    """Each has a port of its own, unless the pools are apart."""
    tls = {"protocol": "https", "certificates": [*certificates]} if certificates else {}
    return parse("listener", {"name": name, "port": port, "pools": [*pools], **tls})


def route(name: str, service: str | None, pools: Iterable[str] = (), **fields: object) -> Resource:
    target = {"service_name": service} if service else {"respond": {"status": 204}}
    return parse("route", {"name": name, "prefix": f"/{name}", "pools": [*pools], **target, **fields})


def service(name: str, *static: str) -> Resource:
    instances = [{"instance_id": each, "host": "h", "port": 1} for each in static]
    return parse("service", {"service_name": name, "instances": instances})


def certificate(name: str) -> Resource:
    example = Certificate.EXAMPLE
    return parse("certificate", {**example, "name": name})


BASE: tuple[Resource, ...] = (
    *map(service, "abc"),
    Instance(service_name="a", instance_id="1", host="h", port=2),
    *(certificate(name) for name in ("x", "y")),
    *(parse("rate_limit", {"name": name, "per_second": 1, "burst": 1}) for name in ("l1", "l2")),
    parse("user", {"username": "u"}),
    *(Pool(name=name) for name in POOLS),
    listener("p", 1001),
    listener("q", 1002, ["east"], ["x"]),
    route("r1", "a", rate_limits=["l1"]),
    route("r2", "b", ["east"], listeners=["p"]),
    route("r3", "a", ["west", "default"], public=True),
)

changes = st.one_of(
    st.builds(service, st.sampled_from("abc"), st.sampled_from("12")),
    st.builds(
        lambda name, number: Instance(service_name=name, instance_id=number, host="h", port=2),
        st.sampled_from("abc"),
        st.sampled_from("12"),
    ),
    st.builds(listener, st.just("p"), st.just(1001), named, st.sets(st.sampled_from("xy")).map(sorted)),
    st.builds(listener, st.just("q"), st.just(1002), named, st.sets(st.sampled_from("xy")).map(sorted)),
    st.builds(
        route,
        st.sampled_from(("r1", "r2", "r3")),
        st.sampled_from(("a", "b", "c", None)),
        named,
        public=st.booleans(),
        listeners=st.sampled_from(([], ["p"], ["q"], ["p", "q"], ["default", "q"])),
        rate_limits=st.sampled_from(([], ["l1"], ["l1", "l2"])),
    ),
    st.builds(lambda name: Reset(id=f"circuit-{name}", circuit=name), st.sampled_from("abc")),
    st.just(Reset(id="caller", rate_limit="someone")),
    st.builds(lambda name: Pool(name=name), st.sampled_from(POOLS)),
    st.just(parse("user", {"username": "v"})),
)
gone = st.sampled_from(
    # Resources that the first ones refer to stay: what cannot be published proves nothing here.
    [key_of("listener", "q"), key_of("service", "c"), key_of("pool", "west"), key_of("user", "u")]
    + [key_of("route", name) for name in ("r1", "r2", "r3")]
    + [key_of("instance", f"{name}/{each}") for name in "abc" for each in "12"]
    + [key_of("reset", f"circuit-{name}") for name in "abc"]
)


def refers(one: Resource) -> set[ResourceId]:
    found = () if isinstance(one, Instance) else references(one.KIND, vars(one))
    return {target for _, target in found}


def needed(resources: Mapping[ResourceId, Stamped], pool: str) -> set[ResourceId]:
    """The same rules, told naively: from the roots on, until nothing is new."""

    def serves(one: Listener | Route) -> bool:
        return not one.pools or pool in one.pools

    all_of = {identity: stamped.resource for identity, stamped in resources.items()}
    opened = {one.name for one in all_of.values() if isinstance(one, Listener) and serves(one)} | {"default"}
    found = {("listener", name) for name in opened - {"default"}}
    found |= {
        identity
        for identity, one in all_of.items()
        if isinstance(one, Route) and serves(one) and (not one.listeners or opened & set(one.listeners))
    }
    everything = {target for one in all_of.values() for target in refers(one)}
    tokens = any(isinstance(one, Route) and not one.public for one in all_of.values())

    def left_over(identity: ResourceId, one: Resource) -> bool:
        if pool != "default" or isinstance(one, Listener | Route | Instance):
            return False
        if isinstance(one, Reset):
            return one.circuit is not None and ("service", one.circuit) not in all_of
        if one.FOR_CALLERS:
            return not tokens
        return identity not in everything and not isinstance(one, Certificate)

    found |= {identity for identity, one in all_of.items() if left_over(identity, one)}
    while True:
        here = {target for one in found for target in refers(all_of[one])}
        asked = any(isinstance(one, Route) and not one.public for one in map(all_of.__getitem__, found))
        more = {
            identity
            for identity, one in all_of.items()
            if (not isinstance(one, Listener | Route) and identity in here)
            or (isinstance(one, Instance) and ("service", one.service_name) in found)
            or (isinstance(one, Reset) and (one.circuit is None or ("service", one.circuit) in found))
            or (one.FOR_CALLERS and asked)
        }
        if more <= found:
            return found
        found |= more


def applied(base: Snapshot, delta: Delta) -> dict[ResourceId, Stamped]:
    kept = {identity: held for identity, held in base.resources.items() if identity not in delta.removed}
    return {**kept, **delta.changed}


class Following(RuleBasedStateMachine):
    """Random changes of listeners, routes, and all that they need."""

    @initialize()
    def begin(self) -> None:
        self.revision = 1
        self.config = Config()
        self.extracts = Extracts()
        self.current: Snapshot | None = None
        self.sent: dict[str, list[Snapshot]] = {}
        """The extracts of each pool since it was first asked for."""
        for one in BASE:
            self.put(one)
        self.config.put(Entry("/headgate/v1/signing_key/k", json.dumps(KEY).encode(), 1))

    @rule(resource=changes)
    def put(self, resource: Resource) -> None:
        self.revision += 1
        self.config.put(entry(resource, self.revision))

    @rule(key=gone)
    def remove(self, key: str) -> None:
        self.revision += 1
        self.config.remove(key)

    @rule(pools=st.sets(st.sampled_from((*POOLS, "default"))))
    def publish(self, pools: set[str]) -> None:
        try:
            whole, touched = self.config.publish(self.revision)
        except InconsistentConfig:
            return
        self.current = self.extracts.publish(whole, touched, self.config.pools)
        assert self.current.digest == whole.digest
        for pool in {*pools, *self.sent}:
            found = self.current.extract(pool)
            if found is None:
                self.sent.pop(pool, None)  # its data planes keep what they have
            else:
                self.sent.setdefault(pool, []).append(found)

    @invariant()
    def each_pool_gets_what_it_needs_and_nothing_else(self) -> None:
        for pool in self.sent if self.current is not None else ():
            assert self.current is not None
            part = self.current.extract(pool)
            assert part is not None
            whole = not self.current.pools
            names = set(self.current.resources) if whole else needed(self.current.resources, pool)
            assert set(part.resources) == names
            assert all(self.current.resources[one] is stamped for one, stamped in part.resources.items())
            scratch = Snapshot(part.revision, part.resources, part.lineage)
            assert (part.digest, part.instances_of) == (scratch.digest, scratch.instances_of)
            assert {name: dict(where) for name, where in part.needs.items()} == {
                name: dict(where) for name, where in scratch.needs.items()
            }

    @invariant()
    def every_earlier_extract_leads_to_the_present_one(self) -> None:
        for pool, earlier in self.sent.items():
            assert self.current is not None
            part = self.current.extract(pool)
            assert part is not None
            known: set[ResourceId] = set()
            for base in earlier:
                known |= base.resources.keys()
                delta = self.extracts.between(pool, Mark.of(base), part)
                if delta is not None:
                    assert applied(base, delta) == part.resources
            # Names of resources that are none of the pool's are not told, as removed ones, either.
            for base in earlier:
                delta = self.extracts.between(pool, Mark.of(base), part)
                assert delta is None or set(delta.removed) <= known


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def published(*resources: Resource, extracts: Extracts | None = None) -> Snapshot:
    config = Config(entry(one, number) for number, one in enumerate(resources, 1))
    whole, touched = config.publish(len(resources))
    return (extracts or Extracts()).publish(whole, touched, config.pools)


def test_without_pools_everything_is_sent_as_it_is() -> None:
    current = published(service("a"), certificate("x"))
    assert current.extract("default") is current
    assert current.extract("east") is None, "a pool that does not exist gets nothing, and not everything"


def test_the_first_pool_changes_nothing_for_the_others() -> None:
    before = published(service("a", "1"), service("b"), route("r1", "a"))
    after = published(service("a", "1"), service("b"), route("r1", "a"), Pool(name="east"))
    part = after.extract("default")
    assert part is not None and part.digest == before.digest
    east = after.extract("east")
    assert east is not None and set(east.resources) == {
        ("route", "r1"),
        ("service", "a"),
        ("instance", "a/1"),
    }


def test_the_services_that_a_route_asks_and_mirrors_to_come_with_it() -> None:
    asking = route("r1", "a", ["east"], authorize_with={"service_name": "b"}, mirrors=[{"service_name": "c"}])
    current = published(*map(service, "abc"), Pool(name="east"), Pool(name="west"), asking)
    east, west = current.extract("east"), current.extract("west")
    assert east is not None and {("service", name) for name in "abc"} <= set(east.resources)
    assert west is not None and not west.resources
    assert "routes.authorization" in east.needs


def test_a_private_key_is_sent_where_a_listener_needs_it_only() -> None:
    current = published(
        certificate("x"),
        certificate("y"),
        Pool(name="east"),
        Pool(name="west"),
        listener("p", 443, ["east"], ["x"]),
    )
    has = {pool: ("certificate", "x") in (current.extract(pool) or current).resources for pool in POOLS}
    assert has == {"east": True, "west": False}
    for pool in (*POOLS, "default"):
        part = current.extract(pool)
        assert part is not None and ("certificate", "y") not in part.resources
        assert ("certificates.keys" in part.needs) is (pool == "east")


def test_the_extract_is_made_once_for_all_data_planes_of_a_pool() -> None:
    current = published(service("a"), Pool(name="east"))
    assert current.extract("east") is current.extract("east")
    assert current.extract("default") is current.extract("default")


def test_a_pool_that_only_the_replaced_snapshots_are_asked_for_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its data planes are connected to other control planes."""
    made: list[str] = []

    def counted(whole: Snapshot, pool: str) -> Snapshot:
        made.append(pool)
        return extract(whole, pool)

    monkeypatch.setattr("controlplane.distribute.extracts.extract", counted)
    extracts, config = Extracts(), Config(entry(one, 1) for one in (service("a"), Pool(name="east")))
    before = extracts.publish(*config.publish(1), config.pools)
    for revision in range(2, 6):
        config.put(entry(service("a", str(revision)), revision))
        after = extracts.publish(*config.publish(revision), config.pools)
        before.extract("east")
        before = after
    assert made == ["east"]


def test_a_change_for_another_pool_is_no_news() -> None:
    extracts, config = Extracts(), Config()
    for number, one in enumerate(
        (service("a"), service("b"), Pool(name="east"), route("r1", "a", ["east"])), 1
    ):
        config.put(entry(one, number))
    first = extracts.publish(*config.publish(4), config.pools)
    before = {pool: first.extract(pool) for pool in ("east", "default")}
    config.put(entry(service("a", "1"), 5))
    second = extracts.publish(*config.publish(5), config.pools)
    after = {pool: second.extract(pool) for pool in ("east", "default")}
    assert before["east"] and before["default"] and after["east"] and after["default"]
    assert before["default"].digest == after["default"].digest
    assert before["east"].digest != after["east"].digest
    assert (after["default"].revision, after["default"].since, after["east"].since) == (5, 4, 5)


def test_every_kind_comes_to_pools_by_a_rule() -> None:
    """A kind that nothing refers to would be kept from them: data planes may need it to refuse something."""
    kinds = {
        field.name: model_of(field.name) for field in pb.Resource.DESCRIPTOR.oneofs_by_name["body"].fields
    }
    referred = {target for model in kinds.values() if model for target in model.REFERENCES.values()}
    by_rule = {"listener", "route", "instance", "reset"}
    for kind, model in kinds.items():
        assert model is not None
        assert kind in referred | by_rule or model.FOR_CALLERS, kind
