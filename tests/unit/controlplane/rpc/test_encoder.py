"""Snapshots as bytes: what protobuf itself would write, and no more work than the change asks for."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.resources import (
    Circuit,
    Instance,
    RateLimit,
    Reset,
    Resource,
    Retries,
    Route,
    Scope,
    Service,
    Timeouts,
    User,
    VerificationKey,
)
from controlplane.model.snapshot import EMPTY, Snapshot
from controlplane.model.stored import Stamped
from controlplane.rpc.wire import encoder, resource_messages
from controlplane.rpc.wire.encoder import Encoder
from headgate_api.v1 import config_pb2
from headgate_api.v1 import resources_pb2 as pb

EVERY_KIND: list[Resource] = [
    Service(
        service_name="orders",
        check_path="/up",
        check_interval=1.5,
        check_timeout=0.5,
        healthy_threshold=1,
        unhealthy_threshold=4,
        load_balancer="ip_hash",
        circuit=Circuit(
            failure_threshold=3,
            failure_ratio=0,
            failure_window=10,
            min_throughput=5,
            recovery_timeout=7,
            half_open_timeout=8,
            half_open_requests=2,
        ),
        timeouts=Timeouts(connect=1, response=2, idle=3),
        retries=Retries(attempts=0),
    ),
    Instance(
        service_name="orders",
        instance_id="a",
        host="::1",
        port=9001,
        weight=7,
        metadata={"zone": "b"},
        draining=True,
    ),
    Route(
        name="orders",
        prefix="/orders",
        hosts=("example.org", "*.example.org"),
        methods=("GET", "POST"),
        service_name="orders",
        scopes=("orders:read",),
        rewrite="/v2",
        rate_limits=("slow",),
        timeout=1.5,
        max_body_bytes=0,
    ),
    Route(name="exact", path="/exact", service_name="orders", public=True),
    RateLimit(name="slow", per_second=0.5, burst=3, key="header", header="x-client"),
    User(username="ann", scopes=("orders:read",), disabled=True),
    VerificationKey(kid="k1", jwk="{}", issuer="headgate", audience="api"),
    Reset(id="circuit-orders", circuit="orders"),
    Reset(id="rate_limit-1", rate_limit="subject:ann"),
]


def snapshot(revision: int, *items: tuple[Resource, int]) -> Snapshot:
    stamped = {(one.KIND, one.name): Stamped(one, changed) for one, changed in items}
    return Snapshot(revision, MappingProxyType(stamped))


def decoded(data: bytes) -> config_pb2.Snapshot:
    response = config_pb2.StreamResponse.FromString(data)
    assert response.WhichOneof("message") == "snapshot"
    return response.snapshot


def test_every_kind_comes_out_as_protobuf_would_write_it() -> None:
    whole = snapshot(300, *((one, number) for number, one in enumerate(EVERY_KIND, 1)))
    expected = config_pb2.StreamResponse(
        snapshot=config_pb2.Snapshot(
            revision=300,
            digest=whole.digest,
            resources=[resource_messages.resource(stamped) for stamped in whole.resources.values()],
        )
    )
    assert config_pb2.StreamResponse.FromString(Encoder().encode(whole)) == expected


def test_an_empty_snapshot_is_a_snapshot() -> None:
    message = decoded(Encoder().encode(EMPTY))
    assert (message.revision, message.digest, len(message.resources)) == (0, EMPTY.digest, 0)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_varints(value: int) -> None:
    field = encoder._varint(1 << 3) + encoder._varint(value)
    assert config_pb2.Ack.FromString(field).revision == value


def test_the_same_snapshot_is_the_same_bytes() -> None:
    one, encode = snapshot(5, (EVERY_KIND[0], 5)), Encoder().encode
    assert encode(one) is encode(snapshot(5, (EVERY_KIND[0], 5)))


def test_the_revision_is_that_of_the_snapshot_also_when_nothing_else_differs() -> None:
    encode = Encoder().encode
    assert decoded(encode(snapshot(5, (EVERY_KIND[0], 5)))).revision == 5
    assert decoded(encode(snapshot(6, (EVERY_KIND[0], 5)))).revision == 6


def test_a_large_message_is_prepared_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = resource_messages.resource

    def counted(stamped: Stamped) -> pb.Resource:
        made.append(stamped.resource.name)
        return original(stamped)

    monkeypatch.setattr(resource_messages, "resource", counted)
    many = snapshot(9, *((Service(service_name=f"s{number}"), 5) for number in range(500)))
    shared = Encoder()
    for steps, _ in enumerate(shared.prepare(many), 1):
        assert len(made) <= encoder.AT_ONCE * steps
    assert len(made) == 500
    encoded = shared.encode(many)
    assert len(made) == 500, "nothing is left to be encoded"
    assert encoded == Encoder().encode(many)
    assert not list(shared.prepare(many)), "it is there already"


def test_only_what_changed_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = resource_messages.resource

    def counted(stamped: Stamped) -> pb.Resource:
        made.append(f"{stamped.resource.name}@{stamped.revision}")
        return original(stamped)

    monkeypatch.setattr(resource_messages, "resource", counted)
    encode = Encoder().encode
    orders, carts = Service(service_name="orders"), Service(service_name="carts")
    encode(snapshot(5, (orders, 4), (carts, 5)))
    encode(snapshot(6, (orders, 6), (carts, 5)))
    encode(snapshot(7, (orders, 6)))
    # What was gone and comes back is not remembered.
    last = decoded(encode(snapshot(8, (orders, 6), (carts, 5))))
    assert made == ["orders@4", "carts@5", "orders@6", "carts@5"]
    assert {(one.name, one.revision) for one in last.resources} == {("orders", 6), ("carts", 5)}


def test_scopes_stay_at_home() -> None:
    with pytest.raises(TypeError, match="kind scope are not sent"):
        Encoder().encode(snapshot(1, (Scope(name="orders:read"), 1)))


def test_passwords_stay_at_home() -> None:
    hashed = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
    user = User.model_validate({"username": "ann", "password_hash": hashed})
    assert b"argon2" not in Encoder().encode(snapshot(1, (user, 1)))
