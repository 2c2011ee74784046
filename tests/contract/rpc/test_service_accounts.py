"""Pods that present tokens of their service accounts: what they may do, and what they are told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.identity import ClusterKeys, KeyRing, KeysUnavailable, ServiceAccounts
from controlplane.model.base import parse_as
from controlplane.model.resources import Service
from controlplane.rpc.service_accounts import Permissions
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import resources_pb2
from tests.contract.rpc.test_keep_alive_stream import Process
from tests.support.control_plane import ControlPlane, Ended, Node, bearer, registry
from tests.support.service_accounts import Cluster, rsa, verifying

Code = grpc.StatusCode

STOCK = "shop/stock"
CALLS: Mapping[str, tuple[str, Any]] = {
    "look": ("ListServices", pb.ListServicesRequest()),
    "look at one": ("GetService", pb.GetServiceRequest(service_name="stock")),
    "drain": ("Drain", pb.DrainRequest(service_name="stock", instance_id="a")),
    "deregister": ("Deregister", pb.DeregisterRequest(service_name="stock", instance_id="a")),
    "callers": ("ListRateLimits", pb.ListRateLimitsRequest()),
    "change": ("ResetCircuit", pb.ResetCircuitRequest(service_name="stock")),
}


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def service(name: str, *accounts: str) -> Service:
    """A service that these accounts (namespace/name) may register."""
    pairs = (account.split("/") for account in accounts)
    named = [{"namespace": namespace, "service_account": name} for namespace, name in pairs]
    return parse_as(Service, {"service_name": name, "registration": {"kubernetes": named}})


@contextlib.asynccontextmanager
async def running(ring: KeyRing, cluster: Cluster, **options: Any) -> AsyncIterator[ControlPlane]:
    async with verifying(cluster) as accounts, ControlPlane(ring, accounts=accounts, **options) as plane:
        await plane.watcher.caught_up.wait()
        await plane.put(
            service("stock", STOCK, "shop/other"), service("payments"), Service(service_name="orders")
        )
        yield plane


@pytest.fixture
async def plane(ring: KeyRing, cluster: Cluster) -> AsyncIterator[ControlPlane]:
    async with running(ring, cluster) as plane:
        yield plane


async def answer(channel: grpc.aio.Channel, token: str, method: str, request: Any) -> tuple[str, str]:
    """Status and details."""
    try:
        await getattr(registry(channel), method)(request, metadata=bearer(token), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


async def register(channel: grpc.aio.Channel, token: str, name: str = "stock") -> tuple[str, str]:
    instance = resources_pb2.Instance(service_name=name, instance_id="a", host="127.0.0.1", port=9001)
    request = pb.RegisterRequest(instance=instance, service=resources_pb2.Service(service_name=name))
    return await answer(channel, token, "Register", request)


async def test_what_an_account_may_do(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster
) -> None:
    token = cluster.token(STOCK)
    assert await register(channel, token) == ("OK", "")
    found = {what: (await answer(channel, token, *call))[0] for what, call in CALLS.items()}
    assert found == {
        "look": "OK",
        "look at one": "OK",
        "drain": "OK",
        "deregister": "OK",
        "callers": "PERMISSION_DENIED",
        "change": "PERMISSION_DENIED",
    }


@pytest.mark.parametrize("name", ["payments", "orders", "controlplane", "missing", "x" * 300])
async def test_other_services_are_refused(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster, name: str
) -> None:
    await plane.put(service("controlplane", STOCK))
    code, said = await register(channel, cluster.token(STOCK), name)
    assert code == "PERMISSION_DENIED"
    if name == "controlplane":
        assert "belongs to the gateway" in said
    else:
        assert said.startswith(f"service account shop/stock may not register service '{name[:64]}': ")
    assert ("service", name) not in plane.current.resources or name != "missing"


async def test_a_service_that_was_deleted_a_moment_ago_does_not_come_back(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher may still have it."""
    monkeypatch.setattr(Permissions, "check", lambda *_: None)
    code, said = await register(channel, cluster.token(STOCK), "deleted")
    assert (code, "'deleted'" in said) == ("INVALID_ARGUMENT", True), said
    assert ("service", "deleted") not in plane.current.resources


@pytest.mark.parametrize("account", ["shop/stranger", "web/stock", "kube-system/default"])
async def test_an_account_that_no_service_names_may_do_nothing(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster, account: str
) -> None:
    token = cluster.token(account)
    assert (await register(channel, token))[0] == "PERMISSION_DENIED"
    said = f"service account {account} may not register any service: no service names it in registration.kubernetes"
    for method, request in CALLS.values():
        assert await answer(channel, token, method, request) == ("PERMISSION_DENIED", said)
    assert await Process(channel, token).end() == (Code.PERMISSION_DENIED, said)


async def test_it_is_no_data_plane(plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster) -> None:
    node = Node(channel, "gw-1", cluster.token(STOCK))
    with pytest.raises(Ended) as ended:
        await node.receive()
    assert ended.value.code is Code.PERMISSION_DENIED
    assert "shop/stock may not be a data plane: no pool names it" in ended.value.detail


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": ["vault"]}, "the token's audience is 'vault', expected 'headgate'"),
        ({"iss": "https://other"}, "the token's issuer is 'https://other', expected 'https://kubernetes."),
        ({"exp": 1}, "s ago: kubelet renews its file, read it again"),
    ],
)
async def test_the_answer_says_what_is_wrong(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster, claims: dict[str, Any], said: str
) -> None:
    token = cluster.token(STOCK, **claims)
    code, details = await register(channel, token)
    assert (code, said in details) == ("UNAUTHENTICATED", True), details
    assert not any(part in details for part in token.split("."))


async def test_of_another_cluster(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    code, details = await register(channel, Cluster(keys=[rsa("two")]).token(STOCK))
    assert (code, details) == (
        "UNAUTHENTICATED",
        "the token is signed with the key 'two', which the cluster does not have",
    )


async def test_a_control_plane_that_takes_none(ring: KeyRing, cluster: Cluster) -> None:
    async with ControlPlane(ring) as plane, plane.channel() as channel:
        await plane.watcher.caught_up.wait()
        await plane.put(service("stock", STOCK))
        code, details = await register(channel, cluster.token(STOCK))
        assert (code, "SERVICE_ACCOUNT_TOKENS" in details) == ("UNAUTHENTICATED", True)


async def test_without_keys_another_control_plane_is_tried(ring: KeyRing, cluster: Cluster) -> None:
    broken = Cluster(keys=cluster.keys, failure=KeysUnavailable("secret words of the API server"))
    async with running(ring, broken) as plane, plane.channel() as channel:
        code, details = await register(channel, cluster.token(STOCK))
        assert (code, "secret words" in details) == ("UNAVAILABLE", False)
        # Other credentials need no cluster.
        assert plane.tokens is not None
        assert await register(channel, plane.tokens.issue_service("stock", 60)) == ("OK", "")


async def test_a_lease_is_kept_under_a_name_only(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster
) -> None:
    process = Process(channel, cluster.token(STOCK))
    mine = await process.register(service="stock")
    for request, expected in (
        (pb.KeepAliveRequest(lease_id=mine.lease_id), "INVALID_ARGUMENT"),
        (
            pb.KeepAliveRequest(lease_id=mine.lease_id, service_name="payments", instance_id="a"),
            "PERMISSION_DENIED",
        ),
        (pb.KeepAliveRequest(lease_id=mine.lease_id, service_name="stock", instance_id="a"), "OK"),
    ):
        assert (await answer(channel, cluster.token(STOCK), "KeepAlive", request))[0] == expected


async def test_the_stream_holds_the_accounts_services_only(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster
) -> None:
    assert plane.tokens is not None
    theirs = await Process(channel, plane.tokens.issue_service("payments", 60)).register(service="payments")
    process = Process(channel, cluster.token(STOCK))
    mine = await process.register(service="stock")
    told = {one.lease_id: one.refused for one in (await process.ask(hold=[theirs, mine])).states}
    assert told[mine.lease_id] == ""
    assert "shop/stock may not register service 'payments'" in told[theirs.lease_id]


async def test_another_token_of_the_account_changes_its_registrations(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster
) -> None:
    mine = await Process(channel, cluster.token(STOCK)).register(service="stock")
    renewed = Process(channel, cluster.token(STOCK, jti="another"))
    (state,) = (await renewed.ask(hold=[mine])).states
    assert not state.refused and not state.ended


async def test_a_stream_ends_with_its_token(ring: KeyRing, cluster: Cluster) -> None:
    async with running(ring, cluster, recheck=0.05) as plane, plane.channel() as channel:
        process = Process(channel, cluster.token(STOCK, ttl=2))
        await process.ask(hold=[await process.register(service="stock")])
        code, details = await process.end()
        assert (code, "the token expired" in details) == (Code.UNAUTHENTICATED, True)


async def test_a_stream_outlives_an_outage_of_the_api_server_but_not_its_token(
    ring: KeyRing, cluster: Cluster
) -> None:
    now = [0.0]
    keys = ClusterKeys(Cluster(keys=cluster.keys).fetch, clock=lambda: now[0])
    await keys._try()
    async with ControlPlane(ring, accounts=ServiceAccounts(keys, "headgate"), recheck=0.05) as plane:
        await plane.watcher.caught_up.wait()
        await plane.put(service("stock", STOCK))
        async with plane.channel() as channel:
            process = Process(channel, cluster.token(STOCK, ttl=4))
            await process.ask(hold=[await process.register(service="stock")])
            now[0] = 1e9  # the keys are too old by now
            await process.ask()
            assert (await process.end())[0] is Code.UNAUTHENTICATED


@pytest.mark.parametrize("left", ["no service", "another service"])
async def test_a_permission_that_is_withdrawn_ends_the_stream(
    ring: KeyRing, cluster: Cluster, left: str
) -> None:
    async with running(ring, cluster, recheck=0.05) as plane, plane.channel() as channel:
        if left == "another service":
            await plane.put(service("spare", STOCK))
        process = Process(channel, cluster.token(STOCK))
        mine = await process.register(service="stock")
        await process.ask(hold=[mine])
        await plane.put(service("stock", "shop/other"))
        code, _ = await process.end()
        if left == "no service":
            assert code is Code.PERMISSION_DENIED
            return
        assert code is Code.ABORTED
        (state,) = (await Process(channel, cluster.token(STOCK)).ask(hold=[mine])).states
        assert "may not register service 'stock'" in state.refused


async def test_a_registration_keeps_the_permissions(
    plane: ControlPlane, channel: grpc.aio.Channel, cluster: Cluster
) -> None:
    """A pod that registers with a definition of its service changes nothing of who may."""
    before = plane.current.resources["service", "stock"].resource
    assert await register(channel, cluster.token(STOCK)) == ("OK", "")
    assert plane.current.resources["service", "stock"].resource == before
