"""Control planes that follow each other over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.fleet import summaries
from controlplane.fleet.links import LinkLost, Links
from controlplane.fleet.members import Member
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.questions import Unanswered
from controlplane.fleet.reports import InstanceHealth, InstanceStatus, RateLimitReport, StatsReport
from controlplane.fleet.waiting import Waiting
from controlplane.identity import KeyRing, PeerSecret
from controlplane.rpc import LinkTls, PeerLink, QuestionLinks, TlsFiles
from headgate_api.v1 import peers_pb2 as pb
from headgate_api.v1 import questions_pb2
from headgate_api.v1.peers_pb2_grpc import PeerServiceStub, add_PeerServiceServicer_to_server
from tests.support.certificates import Authority
from tests.support.control_plane import DATAPLANE_TOKEN, SERVICE_TOKEN, ControlPlane, Node, bearer
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, within

SECRET = PeerSecret("the secret key of the whole fleet")
OTHER = PeerSecret("the secret key of another fleet..")


@pytest.fixture
async def one(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(ring, peer=(SECRET, "one")) as plane:
        await plane.watcher.caught_up.wait()
        yield plane


@contextlib.asynccontextmanager
async def following(
    address: str,
    fleet: Fleet,
    secret: PeerSecret = SECRET,
    *,
    name: str = "one",
    tls: LinkTls | None = None,
    tls_name: str | None = None,
    silent_for: float = 10.0,
) -> AsyncIterator[Links]:
    """Control plane "two" follows what it takes for the control plane of this name."""
    links = Links(fleet, PeerLink(secret, "two", tls), silent_for=silent_for)
    links.follow(name, Member(address, tls_name))
    try:
        yield links
    finally:
        await links.close()


def seen(fleet: Fleet) -> dict[str, tuple[bool, int]]:
    return {name: (node.connected, node.applied_revision) for name, node in fleet.nodes.items()}


async def test_what_one_knows_the_other_knows(one: ControlPlane) -> None:
    fleet = Fleet()
    one.fleet.hello("gw-1", "1", 5, "abc")
    async with following(one.address, fleet):
        await eventually(lambda: seen(fleet) == {"gw-1": (True, 5)})
        one.fleet.health("gw-1", [InstanceHealth("orders", "a", InstanceStatus.UNHEALTHY, 7.0, "refused")], 5)
        await eventually(
            lambda: fleet.views.vote("gw-1", ("orders", "a")) == (InstanceStatus.UNHEALTHY, "refused")
        )
        stats = StatsReport(1.0, 9, (), (RateLimitReport("per-user", "ann", 2.5, 3),))
        one.fleet.stats("gw-1", stats)
        one.fleet.ack("gw-1", 6, "xyz")
        await eventually(lambda: seen(fleet) == {"gw-1": (True, 6)})
        assert fleet.nodes["gw-1"] == one.fleet.nodes["gw-1"]
        one.fleet.disconnect("gw-1")
        await eventually(lambda: seen(fleet) == {"gw-1": (False, 6)})


async def test_more_health_than_the_store_holds_is_waited_for(one: ControlPlane) -> None:
    """A thousand data planes, a hundred instances of each of fifty services: a summary would leave out their health."""
    two, chance = Fleet(), random.Random(1)
    digest = one.current.digest
    for number in range(1000):
        one.fleet.hello(f"gw-{number}", "1", one.current.revision, digest)
        one.fleet.health(f"gw-{number}", [], one.current.revision)
    names = [(f"s{number % 50}", f"i{number}") for number in range(5000)]
    for service, instance in names:
        # What the votes of a thousand are, set at once: saying so one by one would take a minute.
        one.fleet.verdicts.say(0, [InstanceHealth(service, instance, InstanceStatus.STARTING, 1.0)])
        found = one.fleet.verdicts.found[service, instance]
        found.known = (1 << 1000) - 1
        found.well = chance.getrandbits(1000)
        found.ill = found.known & ~found.well
    assert len(summaries.encode(one.fleet.peer_state(), 1 << 30)) > summaries.MOST_BYTES
    async with following(one.address, two):
        await eventually(lambda: len(two.nodes) == 1000)
        waiting = Waiting(one.watcher, two)
        wait = asyncio.create_task(waiting.routable("orders", "new", one.current.revision, 60))
        for number in range(1000):
            healthy = [InstanceHealth("orders", "new", InstanceStatus.HEALTHY, 2.0)]
            one.fleet.health(f"gw-{number}", healthy, changes=True)
        progress = await wait
        assert (progress.complete, progress.done) == (True, 1000)


async def refusal(address: str, metadata: Any, *, name: str = "two", nonce: bytes = b"n") -> grpc.StatusCode:
    """How a call ends that is made with this."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = PeerServiceStub(channel)
        call = stub.Follow(pb.FollowRequest(name=name, nonce=nonce), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(aiter(call))
        return ended.value.code()


def peer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Peer {credential}"),)


async def test_nobody_else_is_told_anything(one: ControlPlane) -> None:
    good = SECRET.credential("two", "one", 2e9)
    for metadata in (
        (),
        bearer(DATAPLANE_TOKEN),
        bearer(SERVICE_TOKEN),
        bearer(good),
        peer(DATAPLANE_TOKEN),
        peer(""),
        peer(OTHER.credential("two", "one", 2e9)),
        peer(SECRET.credential("two", "three", 2e9)),
        peer(SECRET.credential("two", "one", 1e9)),
    ):
        assert await refusal(one.address, metadata) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_control_plane_speaks_for_itself_only(one: ControlPlane) -> None:
    credential = peer(SECRET.credential("two", "one", time.time()))
    code = await refusal(one.address, credential, name="three")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(one.address, credential, nonce=b"") is grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(one.address, credential, nonce=b"n" * 65) is grpc.StatusCode.INVALID_ARGUMENT


async def test_its_credential_is_no_data_plane_s(one: ControlPlane) -> None:
    async with one.channel() as channel:
        node = Node(channel, token=SECRET.credential("two", "one", time.time()))
        # No hello: gRPC's client loses a refusal that comes while it writes.
        assert (await node.end())[0] is grpc.StatusCode.UNAUTHENTICATED


class Impostor:
    """Answers every follower without a proof, or with one that it has seen elsewhere."""

    def __init__(self, proof: bytes) -> None:
        self.proof = proof
        self.asked = asyncio.Event()

    async def Follow(self, request: pb.FollowRequest, context: Any) -> AsyncIterator[pb.FollowResponse]:
        response = pb.FollowResponse(proof=self.proof, complete=True)
        response.nodes.add(node="made-up", connected=True)
        self.asked.set()
        yield response
        await asyncio.Event().wait()

    async def Lend(
        self, requests: AsyncIterator[pb.LendRequest], context: Any
    ) -> AsyncIterator[pb.LendResponse]:
        yield pb.LendResponse(proof=self.proof)
        async for request in requests:
            assert not request.HasField("asks"), "nothing is told to an impostor"

    async def Ask(
        self, requests: AsyncIterator[pb.AskRequest], context: Any
    ) -> AsyncIterator[pb.AskResponse]:
        yield pb.AskResponse(proof=self.proof)
        async for request in requests:
            assert not request.HasField("question"), "an impostor is asked nothing"


@pytest.mark.parametrize("proof", [b"", SECRET.proof("one", b"another nonce")])
async def test_an_impostor_is_not_believed(proof: bytes) -> None:
    server, impostor, fleet = grpc.aio.server(), Impostor(proof), Fleet()
    add_PeerServiceServicer_to_server(impostor, server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with following(f"127.0.0.1:{port}", fleet):
        with pytest.raises(LinkLost, match="SECRET_KEY"):
            await anext(PeerLink(SECRET, "two")("one", Member(f"127.0.0.1:{port}")))
        await within(impostor.asked.wait(), 30)
        asking = QuestionLinks(SECRET, "two", {"one": Member(f"127.0.0.1:{port}")}.get)
        with pytest.raises(Unanswered, match="SECRET_KEY"):
            await anext(asking.ask("one", "gw-1", questions_pb2.Question(id="1")))
    assert not fleet.nodes
    await server.stop(0)


async def test_a_wire_that_swallows_everything(one: ControlPlane) -> None:
    fleet = Fleet()
    one.fleet.hello("gw-1", "1", 5, "abc")
    async with Proxy(one.server.port) as proxy, following(f"127.0.0.1:{proxy.port}", fleet, silent_for=4.0):
        await eventually(lambda: seen(fleet) == {"gw-1": (True, 5)})
        began, proxy.silent = asyncio.get_running_loop().time(), True
        await eventually(lambda: seen(fleet) == {"gw-1": (False, 5)})
        assert asyncio.get_running_loop().time() - began > 0.9, "a sign of life comes every three seconds"
        one.fleet.ack("gw-1", 6, "xyz")
        proxy.silent = False
        proxy.cut()
        await eventually(lambda: seen(fleet) == {"gw-1": (True, 6)})


async def test_one_that_stops_ends_the_stream_at_once(one: ControlPlane) -> None:
    fleet = Fleet()
    async with following(one.address, fleet):
        await eventually(lambda: not fleet.alone)
        began = asyncio.get_running_loop().time()
        await one.server.stop(20)
        assert asyncio.get_running_loop().time() - began < 10
    assert not one.fleet.verdicts.marks


async def test_where_the_port_is_encrypted_both_show_certificates(tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("controlplane")
    files = TlsFiles(cert, key, authority.certificate)
    async with ControlPlane(peer=(SECRET, "one"), tls=files) as plane:
        plane.fleet.hello("gw-1", "1", 5, "abc")
        fleet = Fleet()
        async with following(
            plane.address, fleet, tls=LinkTls(authority.certificate, cert, key), tls_name="localhost"
        ):
            await eventually(lambda: seen(fleet) == {"gw-1": (True, 5)})
