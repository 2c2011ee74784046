"""A fleet of this version and of the last release: what older ones do not know is withheld from them."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import httpx
import pytest
import pytest_asyncio

from demo.processes import DataPlane
from tests.support import pair as pairs
from tests.support.certificates import Authority
from tests.support.instance import Instance
from tests.support.pair import QUIET, Pair
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

RELEASED = "tests.support.released_dataplane"
WITHHELD = "headgate_controlplane_configurations_withheld_total"


@dataclass
class Fleet:
    """A control plane; a data plane of this version, one of the last release; and instances in the clear and by TLS."""

    pair: Pair
    new: DataPlane
    old: DataPlane
    clear: Instance
    secure: Instance
    authority: str

    def document(self, *, tls: bool, check_interval: float = 1) -> dict[str, Any]:
        """A service whose one instance is spoken to in the clear or by TLS, and its route."""
        instance = self.secure if tls else self.clear
        service: dict[str, Any] = {
            "service_name": "orders",
            "check_interval": check_interval,
            "healthy_threshold": 1,
            "instances": [{"instance_id": "a", "host": "127.0.0.1", "port": instance.port}],
        }
        if tls:
            service["tls"] = {"ca": self.authority}
        route = {"name": "orders", "prefix": "/orders", "service_name": "orders", "public": True}
        return {"services": [service], "routes": [route]}

    async def apply(self, *, tls: bool, **query: str) -> httpx.Response:
        """Write the document."""
        return await self.pair.apply(self.pair.a, self.document(tls=tls), **query)

    async def shown(self, name: str) -> Any:
        """A data plane in `GET /api/v1/dataplanes`."""
        return next(node for node in await self.pair.view(self.pair.a, "/dataplanes") if node["node"] == name)

    def warnings(self, name: str) -> int:
        """How often the control planes logged that a configuration is withheld from this data plane."""
        logs = [self.pair.processes[plane.name].log.read_text() for plane in (self.pair.a, self.pair.b)]
        lines = [line for log in logs for line in log.splitlines() if "is withheld from a data plane" in line]
        return sum(f'"{name}"' in line or f"node={name}" in line for line in lines)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("mixed")
    authority = Authority(folder / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("orders"))
    async with AsyncExitStack() as stack:
        clear = await stack.enter_async_context(Instance("in the clear"))
        secure = await stack.enter_async_context(Instance("over TLS", context))
        pair = await stack.enter_async_context(pairs.running(folder))
        new = await pair.add("new", pair.a.grpc)
        old = await start_released(pair, "old")
        yield Fleet(pair, new, old, clear, secure, authority.certificate.read_text())


async def start_released(pair: Pair, name: str, *, wait: bool = True) -> DataPlane:
    plane = DataPlane(pair.a.grpc, pair.a.secrets, name, settings=QUIET, module=RELEASED)
    pair.processes[name] = await asyncio.to_thread(plane.start, pair.folder / "run", wait=wait)
    pair.dataplanes[name] = plane
    return plane


async def first_answer(url: str) -> httpx.Response:
    """The answer to a GET, once somebody listens there."""

    async def ask() -> httpx.Response | None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            try:
                return await client.get(url)
            except httpx.ConnectError:
                return None

    async def listening() -> bool:
        return await ask() is not None

    await eventually(listening, within=30)
    found = await ask()
    assert found is not None
    return found


async def answered(plane: DataPlane) -> str:
    """What comes of a request: whose answer it is, or the status."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(f"{plane.url}/orders")
    return answer.text if answer.status_code == 200 else str(answer.status_code)


async def until_answered(plane: DataPlane, wanted: str) -> None:
    async def there() -> bool:
        return await answered(plane) == wanted

    await eventually(there, within=30)


async def test_an_older_one_keeps_its_last_good_configuration_and_says_why(fleet: Fleet) -> None:
    pair = fleet.pair
    (await fleet.apply(tls=False, wait="30")).raise_for_status()
    for plane in (fleet.new, fleet.old):
        await until_answered(plane, "in the clear")
    served = (await fleet.shown("old"))["applied_revision"]

    begun = time.monotonic()
    refused = await fleet.apply(tls=True, wait="60")
    assert time.monotonic() - begun < 20, "the wait ends with the reason, not with the time-out"
    assert refused.status_code == 409, refused.text
    (withheld,) = (node for node in refused.json()["nodes"] if node["rejection"])
    assert (withheld["node"], withheld["applied_revision"]) == ("old", served)
    version = metadata.version("headgate-dataplane")
    reason = (
        f"service/orders tls: needs the capability services.tls, which this data plane (version {version}) lacks: "
        "upgrade it, or remove the field from the resource"
    )
    assert reason in withheld["reason"]
    await until_answered(fleet.new, "over TLS")
    assert await answered(fleet.old) == "in the clear"

    # Later changes do not reach it either, and are no new cause.
    done = await pair.headgate(
        "apply",
        "-f",
        "-",
        "--wait",
        stdin=json.dumps({"scopes": [{"name": "a"}], "users": [{"username": "jo", "scopes": ["a"]}]}),
    )
    assert done.returncode == 3
    assert "old (serves revision" in done.stderr and reason in done.stderr
    shown = await fleet.shown("old")
    assert shown["applied_revision"] == served
    assert (shown["connected"], shown["last_rejection"]["withheld"]) == (True, True)
    assert shown["last_rejection"]["revision"] > refused.json()["revision"]
    assert "services.tls" in (await pair.headgate("get", "dataplanes")).stdout.replace("\n", "")
    assert "services.tls" in (await pair.headgate("status", "-o", "json")).stdout
    assert (await pair.metrics(pair.a))[WITHHELD] == 2
    assert fleet.warnings("old") == 1


async def test_an_older_one_that_starts_now_is_not_ready_and_sends_nothing_in_the_clear(fleet: Fleet) -> None:
    await fleet.apply(tls=True)
    before = len(fleet.secure.heads)
    cold = await start_released(fleet.pair, "cold", wait=False)

    async def known() -> bool:
        nodes = await fleet.pair.view(fleet.pair.a, "/dataplanes")
        return any(node["node"] == "cold" and node["last_rejection"] for node in nodes)

    await eventually(known, within=30)
    shown = await fleet.shown("cold")
    assert (shown["applied_revision"], shown["sent_revision"]) == (0, 0)
    ready = await first_answer(f"{cold.status_url}/ready")
    assert (ready.status_code, "no configuration yet" in ready.text) == (503, True)
    # Its workers may take longer to start than its config stream.
    assert (await first_answer(f"{cold.url}/orders")).status_code in (404, 503)
    assert len(fleet.secure.heads) == before


async def test_they_catch_up_once_the_resource_is_as_they_know_it(fleet: Fleet) -> None:
    receipt = await fleet.apply(tls=False, wait="30")
    assert receipt.status_code == 200, receipt.text
    assert receipt.json()["serving"] == len(fleet.pair.dataplanes)
    for plane in fleet.pair.dataplanes.values():
        await until_answered(plane, "in the clear")
