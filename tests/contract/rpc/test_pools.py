"""Two pools and one control plane: who gets what, by its credential, and what it can do to the other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.fleet.progress import Quorum
from controlplane.fleet.waiting import Waiting
from controlplane.identity import KeyRing, SharedTokens
from controlplane.model.base import parse_as
from controlplane.model.pool import Pool
from controlplane.model.resources import Instance, Route, Service, parse
from controlplane.model.stored import key_of
from controlplane.rpc import TlsFiles
from controlplane.store import Delete
from headgate_api.v1 import config_pb2, status_pb2
from tests.support.certificates import Authority
from tests.support.control_plane import DATAPLANE_TOKEN, ControlPlane, Ended, Node
from tests.support.service_accounts import Cluster, verifying
from tests.support.waiting import eventually

Code = grpc.StatusCode


def route(name: str, service: str, *pools: str) -> Route:
    return Route(name=name, prefix=f"/{name}", service_name=service, public=True, pools=pools)


def instance(service: str) -> Instance:
    return Instance(service_name=service, instance_id="1", host="127.0.0.1", port=9001)


CONFIGURATION = (
    Pool(name="east"),
    Pool(name="west"),
    *(Service(service_name=name) for name in ("one", "two", "common", "free")),
    *(instance(name) for name in ("one", "two")),
    route("one", "one", "east"),
    route("two", "two", "west"),
    route("common", "common"),
)


@contextlib.asynccontextmanager
async def two_pools(ring: KeyRing, **options: Any) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(ring, **options) as plane:
        await plane.watcher.caught_up.wait()
        await plane.put(*CONFIGURATION)
        yield plane


@pytest.fixture
async def plane(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    async with two_pools(ring) as plane:
        yield plane


def token(plane: ControlPlane, pool: str, node: str | None = None) -> str:
    assert plane.tokens is not None
    return plane.tokens.issue_dataplane(pool, node, 60)


async def served(node: Node) -> config_pb2.Snapshot:
    """The next snapshot, acknowledged."""
    snapshot = await node.receive()
    await node.ack(snapshot.revision)
    return snapshot


async def connected(channel: grpc.aio.Channel, name: str, credential: str | None) -> Node:
    node = Node(channel, name, credential)
    # A refusal may come before the hello is sent.
    with contextlib.suppress(grpc.aio.AioRpcError):
        await node.hello()
    return node


def names(resources: Iterable[Any]) -> set[tuple[str, str]]:
    return {(one.WhichOneof("body"), one.name) for one in resources}


EAST = {
    ("route", "one"),
    ("service", "one"),
    ("instance", "one/1"),
    ("route", "common"),
    ("service", "common"),
}
REST = {("route", "common"), ("service", "common"), ("service", "free")}


async def test_each_pool_gets_its_own(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    east = await served(await connected(channel, "gw-1", token(plane, "east")))
    rest = await served(await connected(channel, "gw-1", DATAPLANE_TOKEN))
    assert (names(east.resources), names(rest.resources)) == (EAST, REST)
    assert east.revision == rest.revision and east.digest != rest.digest
    await eventually(lambda: all(state.digest for state in plane.fleet.nodes.values()))
    states = plane.fleet.nodes
    # Both call themselves gw-1: neither takes the other's place.
    assert {name: (one.pool, one.digest) for name, one in states.items()} == {
        "east/gw-1": ("east", east.digest),
        "gw-1": ("default", rest.digest),
    }


async def test_a_change_reaches_its_pool_alone_and_the_receipt_is_exact(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    east = await connected(channel, "gw-1", token(plane, "east"))
    west = await connected(channel, "gw-2", token(plane, "west"))
    before = {node: await served(node) for node in (east, west)}
    waiting = Waiting(plane.watcher, plane.fleet)
    revision = await plane.put(route("three", "one", "east"))
    assert not (await waiting.served(revision, 0.0)).complete
    # Those of the other pool are done at once, and are not enough.
    assert not (await waiting.served(revision, 0.0, Quorum(count=1))).complete
    assert not (await waiting.served(revision, 0.0, Quorum(percent=50))).complete
    after = await served(east)
    seen = await waiting.served(revision, 30.0)
    assert seen.complete and {one.node for one in seen.nodes} == {"east/gw-1", "west/gw-2"}
    assert names(after.resources) == EAST | {("route", "three")}
    assert plane.fleet.nodes["west/gw-2"].digest == before[west].digest


async def test_a_rejection_in_one_pool_is_told_whatever_the_quorum(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    east = await connected(channel, "gw-1", token(plane, "east"))
    west = await connected(channel, "gw-2", token(plane, "west"))
    for node in (east, west):
        await served(node)
    waiting = Waiting(plane.watcher, plane.fleet)
    revision = await plane.put(route("three", "one", "east"))
    await east.nack((await east.receive()).revision, config_pb2.Problem(resource="route/three", detail="no"))
    seen = await waiting.served(revision, 30.0, Quorum(percent=50))
    assert seen.rejected and not seen.complete


async def test_what_moves_to_another_pool_leaves_the_first(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    east = await connected(channel, "gw-1", token(plane, "east"))
    west = await connected(channel, "gw-2", token(plane, "west"))
    for node in (east, west):
        await served(node)
    await plane.put(route("one", "one", "west"))
    moved = {("route", "one"), ("service", "one"), ("instance", "one/1")}
    assert names((await served(east)).resources) == EAST - moved
    assert names((await served(west)).resources) >= moved


@pytest.mark.parametrize(
    ("credential", "code", "words"),
    [
        ("of no pool", Code.PERMISSION_DENIED, "pool 'north', which does not exist"),
        ("of another node", Code.PERMISSION_DENIED, "for data plane 'gw-9'"),
        ("expired", Code.UNAUTHENTICATED, "Could not validate"),
        ("of a service", Code.PERMISSION_DENIED, "Not enough permissions"),
    ],
)
async def test_credentials_that_open_no_stream(
    plane: ControlPlane, channel: grpc.aio.Channel, credential: str, code: Code, words: str
) -> None:
    assert plane.tokens is not None
    tokens = {
        "of no pool": token(plane, "north"),
        "of another node": token(plane, "east", "gw-9"),
        "expired": plane.tokens.issue_dataplane("east", None, -1),
        "of a service": plane.tokens.issue_service("one", 60),
    }
    with pytest.raises(Ended) as ended:
        await (await connected(channel, "gw-1", tokens[credential])).receive()
    assert (ended.value.code, words in ended.value.detail) == (code, True)


async def test_a_data_plane_of_a_deleted_pool_keeps_what_it_has(ring: KeyRing) -> None:
    async with two_pools(ring, recheck=0.05) as plane, plane.channel() as channel:
        east = await connected(channel, "gw-1", token(plane, "east"))
        await served(east)
        gone = [Delete(key_of("route", "one")), Delete(key_of("pool", "east"))]
        await plane.published(await plane.store.commit({}, gone))
        with pytest.raises(Ended) as ended:
            # No snapshot comes in between, in particular none that is empty.
            await east.receive()
        assert ended.value.code is Code.PERMISSION_DENIED


async def test_a_name_of_another_pool_is_not_to_be_had(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await served(await connected(channel, "gw-1", token(plane, "east")))
    with pytest.raises(Ended, match="is the name of a data plane of pool 'east'"):
        await (await connected(channel, "east/gw-1", DATAPLANE_TOKEN)).receive()
    assert plane.fleet.nodes["east/gw-1"].connected


async def test_a_name_ends_when_a_pool_comes_that_has_it(ring: KeyRing) -> None:
    async with two_pools(ring, recheck=0.05) as plane, plane.channel() as channel:
        early = await connected(channel, "north/gw-1", DATAPLANE_TOKEN)
        await served(early)
        await plane.put(Pool(name="north"))
        with pytest.raises(Ended, match="is the name of a data plane of pool 'north'"):
            while True:
                await served(early)


async def test_reports_about_others_are_dropped(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    east = await connected(channel, "gw-1", token(plane, "east"))
    await served(east)
    votes = [
        status_pb2.InstanceHealth(
            service_name=name, instance_id="1", status=status_pb2.INSTANCE_STATUS_UNHEALTHY
        )
        for name in ("one", "two")
    ]
    await east.send(health=status_pb2.HealthReport(instances=votes, revision=plane.current.revision))
    leaving = [status_pb2.InFlight(service_name=name, instance_id="1", requests=7) for name in ("one", "two")]
    await east.send(leaving=status_pb2.LeavingReport(instances=leaving))
    circuits = [
        status_pb2.CircuitReport(service_name=name, state=status_pb2.CIRCUIT_STATE_OPEN)
        for name in ("one", "two")
    ]
    await east.send(stats=status_pb2.StatsReport(circuits=circuits))
    await eventually(lambda: plane.fleet.circuits.found)
    assert set(plane.fleet.verdicts.found) == {("one", "1")}
    assert set(plane.fleet.circuits.found) == {"one"}
    assert plane.fleet.nodes["east/gw-1"].leaving == {("one", "1"): 7}


async def test_a_wait_for_an_instance_is_for_those_that_need_it(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    east = await connected(channel, "gw-1", token(plane, "east"))
    west = await connected(channel, "gw-2", token(plane, "west"))
    for node in (east, west):
        await served(node)
        await node.send(health=status_pb2.HealthReport(revision=plane.current.revision))
    waiting = Waiting(plane.watcher, plane.fleet)
    revision = await plane.put(Instance(service_name="one", instance_id="2", host="127.0.0.1", port=9002))
    await served(east)
    assert not (await waiting.routable("one", "2", revision, 0.0)).complete
    healthy = status_pb2.InstanceHealth(
        service_name="one", instance_id="2", status=status_pb2.INSTANCE_STATUS_HEALTHY
    )
    await east.send(health=status_pb2.HealthReport(instances=[healthy], revision=revision))
    assert (await waiting.routable("one", "2", revision, 30.0)).complete


async def test_a_certificate_names_its_pool(ring: KeyRing, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, empty = TlsFiles(*authority.issue("server"), authority.certificate), SharedTokens()

    def client(path: str) -> grpc.ChannelCredentials:
        cert, key = (
            file.read_bytes() for file in authority.issue("client", f"spiffe://a.org/headgate/{path}")
        )
        return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, cert)

    async with two_pools(ring, tls=files, dataplane_tokens=empty) as plane:
        for path, expected in (
            ("pool/east/dataplane", EAST),
            ("pool/east/dataplane/gw-1", EAST),
            ("dataplane", REST),
        ):
            async with plane.channel(client(path)) as channel:
                snapshot = await served(await connected(channel, "gw-1", None))
                assert names(snapshot.resources) == expected
        for path in ("pool/east/service", "pool/north/dataplane", "pool/east/dataplane/gw-2"):
            async with plane.channel(client(path)) as channel:
                with pytest.raises(Ended):
                    await (await connected(channel, "gw-1", None)).receive()


async def test_a_pod_belongs_to_the_pool_that_names_its_account(ring: KeyRing) -> None:
    cluster = Cluster()
    account = {"namespace": "gateways", "service_account": "edge"}
    async with verifying(cluster) as accounts, two_pools(ring, accounts=accounts) as plane:
        pod = cluster.token("gateways/edge")
        async with plane.channel() as channel:
            with pytest.raises(Ended, match="no pool names it"):
                await (await connected(channel, "gw-1", pod)).receive()
            await plane.put(parse_as(Pool, {"name": "east", "kubernetes": [account]}))
            snapshot = await served(await connected(channel, "gw-1", pod))
            assert names(snapshot.resources) == EAST
            await plane.put(parse("pool", {"name": "west", "kubernetes": [account]}))
            with pytest.raises(Ended, match="several pools name it: east, west"):
                await (await connected(channel, "gw-2", pod)).receive()
