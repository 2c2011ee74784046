"""Snapshots: consistent or not at all, without secrets; and what a difference must be good for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.config import build
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import Instance, Resource, Route, Scope, Service, User, parse
from controlplane.model.snapshot import EMPTY, Delta, Snapshot, Stamped, diff
from controlplane.model.stored import encode, key_of, with_hash
from controlplane.store import Entry

PHC = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"


def entries(*resources: Resource) -> list[Entry]:
    return [
        Entry(key_of(resource.KIND, resource.name), encode(resource), 10 + position)
        for position, resource in enumerate(resources)
    ]


def route(name: str, prefix: str, **fields: object) -> Resource:
    return parse("route", {"name": name, "prefix": prefix, "service_name": "orders", **fields})


ORDERS = Service(service_name="orders")
KEY = {
    "kid": "k",
    "public": {"kty": "RSA"},
    "private": "hidden",
    "created": 1,
    "issuer": "i",
    "audience": "a",
}


def test_a_snapshot_holds_what_data_planes_need() -> None:
    stored = [
        *entries(ORDERS, Scope(name="a"), route("r", "/r", scopes=["a"]), User(username="u", scopes=("a",))),
        Entry("/headgate/v1/signing_key/k", json.dumps(KEY).encode(), 20),
        Entry("/headgate/v1/change/latest", b"{}", 21),
        Entry("/headgate/v1/reset/circuit-orders", b'{"id": "circuit-orders", "circuit": "orders"}', 22),
    ]
    snapshot = build(stored, 30)
    assert snapshot.revision == 30
    assert {identity: stamped.revision for identity, stamped in snapshot.resources.items()} == {
        ("service", "orders"): 10,
        ("route", "r"): 12,
        ("user", "u"): 13,
        ("verification_key", "k"): 20,
        ("reset", "circuit-orders"): 22,
    }
    assert list(snapshot.of(Route)) == ["r"]
    assert snapshot.of(Service) == {"orders": ORDERS}


def test_resources_of_different_kinds_may_have_the_same_name() -> None:
    snapshot = build(entries(ORDERS, route("orders", "/orders")), 30)
    assert list(snapshot.of(Service)) == ["orders"]
    assert list(snapshot.of(Route)) == ["orders"]


def test_a_snapshot_holds_no_secret() -> None:
    stored = [
        *entries(with_hash(User(username="u"), PHC)),
        Entry("/headgate/v1/signing_key/k", json.dumps(KEY).encode(), 20),
    ]
    snapshot = build(stored, 30)
    (user,) = snapshot.of(User).values()
    assert (user.username, user.password, user.password_hash) == ("u", None, None)
    assert "hidden" not in repr(snapshot)


def test_instances_come_from_leases_and_from_services() -> None:
    static = [{"instance_id": name, "host": "h", "port": 1} for name in ("a", "b")]
    service = parse("service", {"service_name": "orders", "instances": static})
    registered = Instance(service_name="orders", instance_id="b", host="elsewhere", port=2)
    snapshot = build(entries(registered, service), 30)
    found = snapshot.of(Instance)
    assert list(found) == ["orders/a", "orders/b"]
    assert found["orders/b"] == registered
    assert snapshot.resources["instance", "orders/a"].revision == 11


def test_an_instance_whose_service_was_deleted_meanwhile_is_left_out() -> None:
    lost = Instance(service_name="gone", instance_id="a", host="h", port=1)
    assert build(entries(lost, ORDERS), 30).of(Instance) == {}


def test_an_inconsistent_store_is_never_a_snapshot() -> None:
    stored = [
        *entries(
            ORDERS, route("a", "/x", scopes=["gone"]), route("b", "/x"), User(username="u", scopes=("gone",))
        ),
        Entry("/headgate/v1/scope/bad", b"nonsense", 20),
        Entry("/headgate/v1/route/worse", b'{"name": "worse"}', 20),
    ]
    with pytest.raises(InconsistentConfig) as caught:
        build(stored, 30)
    assert [str(problem) for problem in caught.value.problems] == [
        "route/a.scopes[0]: scope 'gone' does not exist",
        "route/worse: prefix: is required, or path, or path_regex",
        "route/worse: service_name: is required, or services, respond or redirect",
        "scope/bad: is not JSON",
        "user/u.scopes[0]: scope 'gone' does not exist",
    ]


def test_the_digest_is_the_documented_one() -> None:
    assert EMPTY.digest == "0" * 64
    snapshot = build(entries(ORDERS, route("r", "/r")), 30)
    lines = (b"service orders 10\n", b"route r 11\n")
    total = sum(int(hashlib.sha256(line).hexdigest(), 16) for line in lines)
    assert snapshot.digest == f"{total % 2**256:064x}"


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.sampled_from(["a", "b", "c", "d", "e-e", "e.e"])
kinds = st.sampled_from(["service", "scope", "rate_limit"])
tables = st.dictionaries(st.tuples(kinds, names), st.integers(1, 9), max_size=10)


def snapshot_of(revision: int, table: Mapping[tuple[str, str], int]) -> Snapshot:
    # What a resource holds is decided by its revision, as in the store.
    return Snapshot(
        revision,
        {
            identity: Stamped(Scope(name="x", description=f"{identity} {stamp}"), stamp)
            for identity, stamp in table.items()
        },
    )


def applied(base: Snapshot, delta: Delta) -> Snapshot:
    """What a data plane makes of a delta."""
    assert (base.revision, base.digest) == (delta.base_revision, delta.base_digest)
    kept = {identity: held for identity, held in base.resources.items() if identity not in delta.removed}
    return Snapshot(delta.revision, {**kept, **delta.changed})


@patient
@given(tables, tables)
def test_applying_a_difference_to_the_old_gives_the_new(
    old: dict[tuple[str, str], int], new: dict[tuple[str, str], int]
) -> None:
    before, after = snapshot_of(10, old), snapshot_of(11, new)
    delta = diff(before, after)
    result = applied(before, delta)
    assert (result.revision, result.resources) == (after.revision, after.resources)
    assert result.digest == after.digest == delta.digest
    # Nothing is sent that is there already.
    assert not any(before.resources.get(identity) == held for identity, held in delta.changed.items())


@patient
@given(tables, tables)
def test_digests_are_the_same_exactly_for_the_same_resources(
    one: dict[tuple[str, str], int], other: dict[tuple[str, str], int]
) -> None:
    assert (snapshot_of(1, one).digest == snapshot_of(2, other).digest) == (one == other)
    assert snapshot_of(1, one).digest == snapshot_of(1, dict(reversed(one.items()))).digest


def test_no_difference_between_equal_snapshots() -> None:
    snapshot = build(entries(ORDERS, route("r", "/r")), 30)
    delta = diff(snapshot, build(entries(ORDERS, route("r", "/r")), 31))
    assert (delta.changed, delta.removed, delta.revision) == ({}, (), 31)
