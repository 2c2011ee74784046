"""Questions of operators: from a control plane over the config stream to a data plane, and the answers back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from controlplane.fleet.links import Links
from controlplane.fleet.members import Member
from controlplane.fleet.questions import Explain, Explanation, Past, Reply, Tap, Tapped, Unanswered
from controlplane.identity import PeerSecret
from controlplane.model.resources import Route, Scope, Service, StaticInstance
from controlplane.model.stored import Stamped
from controlplane.rpc import PeerLink, QuestionLinks
from tests.support.answering_plane import AnsweringPlane
from tests.support.control_plane import ControlPlane, Node
from tests.support.waiting import eventually, within

SECRET = PeerSecret("the secret key of the whole fleet")
ORDERS = Service(
    service_name="orders", instances=(StaticInstance(instance_id="1", host="127.0.0.1", port=9000),)
)
OPEN = Route(name="orders", prefix="/orders", service_name="orders", public=True)
HEAD = b"GET /orders/1?token=abc&page=2 HTTP/1.1\r\nHost: a.example\r\nCookie: s3cret\r\nX-Tenant: t\r\n\r\n"


@pytest.fixture
async def gateway(plane: ControlPlane) -> AsyncIterator[AnsweringPlane]:
    async with AnsweringPlane(plane.address, redact=("x-tenant",)).running() as gateway:
        revision = await plane.put(Scope(name="orders:read"), ORDERS, OPEN)
        await eventually(lambda: gateway.state.revision == revision)
        yield gateway


def asked(target: str = "/orders/1", *, past: Past | None = None) -> Explain:
    return Explain("GET", target, (("Host", "a.example"),), "203.0.113.9", past=past)


async def explained(plane: ControlPlane, question: Explain, node: str = "gw-1") -> Explanation:
    async with aclosing(plane.questions.ask(node, question)) as replies:
        reply = await within(anext(replies), 20)
    assert isinstance(reply, Explanation)
    return reply


def begun(replies: AsyncGenerator[Reply, None]) -> asyncio.Task[Reply]:
    """The first reply, which is asked for at once."""

    async def first() -> Reply:
        return await anext(replies)

    return asyncio.create_task(first())


def stopped(found: Explanation) -> list[str]:
    return [one.stage for one in found.steps if one.outcome == "refused"]


async def test_an_explanation(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    found = await explained(plane, asked())
    assert (found.status, found.decision, found.route, found.instance) == (0, "forwarded", "orders", "1")
    assert found.revision == gateway.state.revision
    assert next(one.details for one in found.steps if one.stage == "breaker")["state"] == "closed"
    found = await explained(plane, asked("/none"))
    assert (found.status, stopped(found)) == (404, ["route"])


async def test_an_explanation_at_an_earlier_revision(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    earlier = gateway.state.revision
    closed = OPEN.model_copy(update={"public": False, "scopes": ("orders:read",)})
    revision = await plane.put(closed)
    await eventually(lambda: gateway.state.revision == revision)
    assert stopped(await explained(plane, asked())) == ["token"]
    then = await explained(plane, asked(past=Past(earlier, (Stamped(OPEN, earlier),), ())))
    assert (then.status, then.revision) == (0, earlier)
    gone = await explained(plane, asked(past=Past(earlier, (), (("route", "orders"),))))
    assert gone.status == 404
    assert stopped(await explained(plane, asked())) == ["token"], "the served configuration stays"


async def test_revisions_that_cannot_be_explained(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    later = Past(gateway.state.revision + 5, (), ())
    with pytest.raises(Unanswered, match="which is older"):
        await explained(plane, asked(past=later))
    dangling = Past(1, (), (("service", "orders"),))
    with pytest.raises(Unanswered, match="does not exist"):
        await explained(plane, asked(past=dangling))


async def test_heads_that_the_gateway_refuses(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    large = Explain("GET", "/orders", (("Host", "a"), ("X", "v" * 70_000)), "203.0.113.9")
    assert (await explained(plane, large)).status == 431
    with pytest.raises(Unanswered, match="characters"):
        await explained(plane, Explain("GET", "/\r\nX: y", (("Host", "a"),), "203.0.113.9"))
    with pytest.raises(Unanswered, match="not an IP address"):
        await explained(plane, Explain("GET", "/", (("Host", "a"),), "nowhere"))


async def test_a_worker_that_hangs(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    gateway.hangs = True
    with pytest.raises(Unanswered, match="did not answer within 1 s"):
        await explained(plane, asked())


async def test_data_planes_that_cannot_be_asked(plane: ControlPlane) -> None:
    with pytest.raises(Unanswered, match="not connected"):
        await explained(plane, asked(), "nobody")
    async with plane.channel() as channel:
        old = Node(channel, "old")
        await old.hello()
        await eventually(lambda: "old" in plane.fleet.nodes)
        with pytest.raises(Unanswered, match="upgrade it"):
            await explained(plane, asked(), "old")


async def test_a_data_plane_that_leaves(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    async with plane.channel() as channel:
        frozen = Node(channel, "frozen")
        await frozen.hello(capabilities=["questions", "messages.parts"])
        await eventually(lambda: "frozen" in plane.fleet.nodes)
        replies = plane.questions.ask("frozen", asked())
        first = begun(replies)
        while not (await frozen.call.read()).HasField("question"):
            pass
        frozen.call.cancel()
        with pytest.raises(Unanswered, match="has disconnected"):
            await within(first, 20)


async def test_a_tap(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    gateway.request(HEAD)
    tap = Tap(service="orders", least_status=500, most_status=599, count=2, seconds=30)
    async with aclosing(plane.questions.ask("gw-1", tap)) as replies:
        first = begun(replies)
        await eventually(lambda: bool(gateway.answering._tapped.taps))
        for status in (200, 503, 404, 500, 500):
            gateway.request(HEAD, status)
        seen = [await within(first, 20)]
        async for reply in replies:
            seen.append(reply)
    taps = [one for one in seen if isinstance(one, Tapped)]
    shown = [request for one in taps for request in one.requests]
    assert [request["status"] for request in shown] == [503, 500]
    assert sum(one.skipped for one in taps) == 1
    assert shown[0]["headers"] == {"host": "a.example", "cookie": "***", "x-tenant": "***"}
    assert (shown[0]["query"], shown[0]["route"]) == ("token=***&page=2", "orders")
    assert gateway.gateway._observer is gateway.recorder, "nobody taps"


async def test_a_tap_that_is_left(plane: ControlPlane, gateway: AnsweringPlane) -> None:
    async with aclosing(plane.questions.ask("gw-1", Tap(count=10, seconds=300))) as replies:
        first = begun(replies)
        await eventually(lambda: bool(gateway.answering._tapped.taps))
        gateway.request(HEAD)
        await within(first, 20)
    await eventually(lambda: gateway.gateway._observer is gateway.recorder)


@asynccontextmanager
async def other(plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """A second control plane that follows this one."""
    two = ControlPlane(peer=(SECRET, "two"))
    member = Member(plane.address, None)
    two.questions.link = QuestionLinks(SECRET, "two", {"one": member}.get)
    links = Links(two.fleet, PeerLink(SECRET, "two"))
    async with two:
        links.follow("one", member)
        yield two
        await links.close()


async def test_a_data_plane_of_another_control_plane() -> None:
    async with (
        ControlPlane(peer=(SECRET, "one")) as one,
        other(one) as two,
        AnsweringPlane(one.address).running() as gateway,
    ):
        revision = await one.put(ORDERS, OPEN)
        await eventually(lambda: gateway.state.revision == revision)
        await eventually(lambda: two.fleet.controlplane_of("gw-1") == "one")
        assert (await explained(two, asked())).decision == "forwarded"
        with pytest.raises(Unanswered, match="not an IP address"):
            await explained(two, Explain("GET", "/", (("Host", "a"),), "nowhere"))
        async with aclosing(two.questions.ask("gw-1", Tap(seconds=300))) as replies:
            first = begun(replies)
            await eventually(lambda: bool(gateway.answering._tapped.taps))
            gateway.request(HEAD)
            found = await within(first, 20)
            assert isinstance(found, Tapped) and len(found.requests) == 1
        await eventually(lambda: not gateway.answering._tapped.taps)


async def test_another_control_plane_that_is_no_peer() -> None:
    async with ControlPlane(peer=(SECRET, "one")) as one, other(one) as two:
        link = two.questions.link = QuestionLinks(
            PeerSecret("another secret key of a fleet...."), "two", {"one": Member(one.address, None)}.get
        )
        one.fleet.hello("gw-1", "1", 5, "abc", {}, resets_unreported=False, without_redis=False)
        await eventually(lambda: two.fleet.controlplane_of("gw-1") == "one")
        with pytest.raises(Unanswered, match="asked in vain"):
            await explained(two, asked())
        assert two.questions.link is link
