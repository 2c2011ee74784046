"""EndpointSlices from an API server over TLS: lists, watches, and everything that ends them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from controlplane.discovery.kubernetes_api import Access, KubernetesApi, selector
from controlplane.discovery.namespace import Namespace
from controlplane.discovery.slices import Slice
from tests.support.certificates import Authority
from tests.support.discovery import Bed
from tests.support.etcd import Etcd
from tests.support.fake_slices import FakeApiServer, endpoint
from tests.support.instance import Instance
from tests.support.waiting import eventually


class Follower:
    """Follows the Services `orders` and `stock`, and records what it is told."""

    def __init__(self, server: FakeApiServer, folder: Path) -> None:
        self.server = server
        self.token, self.ca = server.files(folder)
        self.seen: dict[str, list[str]] = {}
        """Addresses by Service."""
        self.failures: list[str] = []
        self.told = 0

    async def run(self) -> None:
        api = KubernetesApi(Access(self.server.url, self.token, self.ca))
        names = {"orders", "stock"}
        # No pauses to speak of: chance 0 halves them.
        await Namespace(api, "shop", names, self._changed, self.failures.append, chance=lambda: 0.0).run()

    def _changed(self, service: str, slices: Sequence[Slice]) -> None:
        self.told += 1
        self.seen[service] = [each.address for one in slices for each in one.endpoints]

    async def sees(self, *addresses: str, service: str = "orders") -> None:
        await eventually(lambda: self.seen.get(service) == list(addresses))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(Authority(tmp_path / "authority")) as made:
        yield made


@contextlib.asynccontextmanager
async def following(server: FakeApiServer, tmp_path: Path) -> AsyncIterator[Follower]:
    bed = Follower(server, tmp_path / "pod")
    task = asyncio.create_task(bed.run())
    try:
        yield bed
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_changes_follow_a_listing(server: FakeApiServer, tmp_path: Path) -> None:
    await server.put("a", endpoint("10.1.0.1", "one"))
    await server.put("x", endpoint("10.9.0.1", "other"), namespace="elsewhere")
    async with following(server, tmp_path) as bed:
        await bed.sees("10.1.0.1")
        await bed.sees(service="stock")
        await server.put("b", endpoint("10.1.0.2", "two"))
        await bed.sees("10.1.0.1", "10.1.0.2")
        await server.put("a", endpoint("10.1.0.3", "three"))
        await bed.sees("10.1.0.3", "10.1.0.2")
        await server.delete("b")
        await bed.sees("10.1.0.3")
        assert (server.lists, len(server.watches), bed.failures) == (1, 1, [])
        assert server.selectors == {"kubernetes.io/service-name in (orders,stock)"}


async def test_a_long_listing_comes_in_pages(server: FakeApiServer, tmp_path: Path) -> None:
    server.page = 2
    for number in range(5):
        await server.put(f"s{number}", endpoint(f"10.1.0.{number}", f"p{number}"))
    async with following(server, tmp_path) as bed:
        await bed.sees(*(f"10.1.0.{number}" for number in range(5)))
        assert server.lists == 3


async def test_a_watch_that_ends_continues_from_the_last_bookmark(
    server: FakeApiServer, tmp_path: Path
) -> None:
    await server.put("a", endpoint("10.1.0.1", "one"))
    async with following(server, tmp_path) as bed:
        await bed.sees("10.1.0.1")
        await eventually(lambda: server.watches)
        await server.bookmark()
        mark = str(server.version)
        # Seen by the follower before the cut, since the stream keeps its order.
        await server.put("b", endpoint("10.1.0.2", "two"), service="stock")
        await bed.sees("10.1.0.2", service="stock")
        await server.cut()
        await eventually(lambda: len(server.watches) == 2)
        assert int(server.watches[1]) > int(mark)
        await server.put("a", endpoint("10.1.0.9", "nine"))
        await bed.sees("10.1.0.9")
        assert server.lists == 1 and not bed.failures


@pytest.mark.parametrize("within", [True, False])
async def test_gone_lists_again(server: FakeApiServer, tmp_path: Path, within: bool) -> None:
    await server.put("a", endpoint("10.1.0.1", "one"))
    async with following(server, tmp_path) as bed:
        await bed.sees("10.1.0.1")
        await eventually(lambda: server.watches)
        if within:
            await server.fail(410)
        else:
            await server.compact()
            await server.cut()
        await eventually(lambda: server.lists == 2)
        await server.put("a", endpoint("10.1.0.2", "two"))
        await bed.sees("10.1.0.2")
        assert not bed.failures


async def test_a_refusal_is_told_and_tried_again(server: FakeApiServer, tmp_path: Path) -> None:
    server.refuses = 403
    await server.put("a", endpoint("10.1.0.1", "one"))
    async with following(server, tmp_path) as bed:
        await eventually(lambda: bed.failures)
        assert bed.failures[0].startswith("the API server forbids it (403): endpointslices is forbidden")
        assert not bed.seen
        server.refuses = 0
        await bed.sees("10.1.0.1")


async def test_after_an_outage_the_slices_are_told_again(server: FakeApiServer, tmp_path: Path) -> None:
    """Nothing has changed meanwhile: but the failure is over."""
    await server.put("a", endpoint("10.1.0.1", "one"))
    async with following(server, tmp_path) as bed:
        await bed.sees("10.1.0.1")
        await eventually(lambda: server.watches)
        server.refuses = 503
        await server.cut()
        await eventually(lambda: bed.failures)
        told = bed.told
        server.refuses = 0
        await eventually(lambda: bed.told > told)
        assert server.lists == 1


async def test_a_renewed_token_is_used(server: FakeApiServer, tmp_path: Path) -> None:
    await server.put("a", endpoint("10.1.0.1", "one"))
    async with following(server, tmp_path) as bed:
        await bed.sees("10.1.0.1")
        await eventually(lambda: server.watches)
        server.token = "the-next-token"
        await server.cut()
        await eventually(lambda: any("(401)" in one for one in bed.failures))
        bed.token.write_text("the-next-token\n")
        await eventually(lambda: len(server.watches) == 2)
        assert not any("token" in one.replace("does not accept the token", "") for one in bed.failures)


async def test_a_server_of_another_authority_gets_no_token(server: FakeApiServer, tmp_path: Path) -> None:
    bed = Follower(server, tmp_path / "pod")
    bed.ca = Authority(tmp_path / "stranger", "stranger").certificate
    task = asyncio.create_task(bed.run())
    await eventually(lambda: bed.failures)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "certificate" in bed.failures[0].lower() and not server.selectors


async def test_without_a_token_file(server: FakeApiServer, tmp_path: Path) -> None:
    bed = Follower(server, tmp_path / "pod")
    bed.token = tmp_path / "missing"
    task = asyncio.create_task(bed.run())
    await eventually(lambda: bed.failures)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bed.failures[0] == f"cannot read {tmp_path / 'missing'}: No such file or directory"


@pytest.fixture
async def bed(own_etcd: Etcd, tmp_path: Path, server: FakeApiServer) -> AsyncIterator[Bed]:
    token, ca = server.files(tmp_path / "pod")
    settings = {
        "KUBERNETES_URL": server.url,
        "KUBERNETES_TOKEN_FILE": str(token),
        "KUBERNETES_CA": str(ca),
        "REGISTER_ALLOW": "127.0.0.0/8",
    }
    made = Bed(tmp_path / "run", own_etcd, settings)
    try:
        yield made
    finally:
        await made.end()


async def test_a_service_of_the_cluster(bed: Bed, server: FakeApiServer) -> None:
    process = await bed.start(bed.plane)
    kubernetes = {"namespace": "shop", "service": "orders", "port": "http"}
    await bed.apply(kubernetes=kubernetes)
    missing = "Kubernetes Service shop/orders has no EndpointSlices: it does not exist, or has no selector"
    assert (await bed.fails(missing))["instances"] == 0
    async with Instance("pod") as pod:
        await server.put("a", endpoint("127.0.0.1", "orders-1"), port=pod.port)
        found = await bed.knows("127.0.0.1")
        assert found["discovered"]["problem"] == ""
        assert found["instances"]["orders-1"]["source"] == "discovered"

        leaving = endpoint("127.0.0.2", "orders-0", ready=False, serving=True, terminating=True)
        await server.put("b", leaving, port=pod.port)
        found = await bed.knows("127.0.0.1", "127.0.0.2")
        assert found["instances"]["orders-0"]["status"] == "draining"
        await server.delete("b")
        await bed.knows("127.0.0.1")

        server.refuses = 500
        await server.cut()
        failing = await bed.fails("the API server answers with an error (500)")
        assert failing["since"] and failing["instances"] == 1
        await bed.knows("127.0.0.1")
        server.refuses = 0
        await bed.fails("")

    await bed.apply(kubernetes={**kubernetes, "port": "grpc"})
    await bed.fails("Kubernetes Service shop/orders has no port 'grpc', but http (")
    await bed.knows()
    await bed.apply(kubernetes={**kubernetes, "namespace": "nowhere"})
    await bed.fails("Kubernetes Service nowhere/orders has no EndpointSlices")
    assert server.token not in process.log.read_text()


async def test_outside_of_a_cluster(own_etcd: Etcd, tmp_path: Path) -> None:
    bed = Bed(tmp_path / "run", own_etcd, {})
    try:
        await bed.start(bed.plane)
        await bed.apply(kubernetes={"namespace": "shop", "service": "orders"})
        await bed.fails("this control plane has no access to a Kubernetes API")
    finally:
        await bed.end()


def test_a_selector_of_many_names_none() -> None:
    assert selector({"b", "a"}) == "kubernetes.io/service-name in (a,b)"
    assert selector({f"s{number}" for number in range(101)}) == "kubernetes.io/service-name"
