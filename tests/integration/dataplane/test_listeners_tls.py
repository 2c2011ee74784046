"""Listeners with TLS in real workers: certificates change live, keys stay secret, and clients are checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from demo.ports import free_port
from headgate_api.v1 import config_pb2, resources_pb2
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


def snapshot(orders: Instance, *more: wire.Resource, revision: int) -> config_pb2.Snapshot:
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders"),
        *more,
        revision=revision,
    )


def https(name: str, port: int, *hostnames: str, revision: int = 6, **fields: Any) -> wire.Resource:
    fields.setdefault("certificates", ["shop"])
    protocol = resources_pb2.LISTENER_PROTOCOL_HTTPS
    return wire.listener(name, port, *hostnames, revision=revision, protocol=protocol, **fields)


async def acked(controlplane: FakeControlPlane, revision: int) -> None:
    await eventually(lambda: revision in controlplane.latest.acked)


async def get(port: int, client: ssl.SSLContext | bool, scheme: str = "https") -> int:
    async with httpx.AsyncClient(trust_env=False, verify=client) as session:
        return (await session.get(f"{scheme}://localhost:{port}/orders/1")).status_code


async def serial(port: int, client: ssl.SSLContext) -> int:
    """The number of the certificate that is shown."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
    shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    del reader
    return shown.serial_number


def number(files: tuple[Path, Path]) -> int:
    return x509.load_pem_x509_certificate(files[0].read_bytes()).serial_number


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
async def node(tmp_path: Path, controlplane: FakeControlPlane, orders: Instance) -> AsyncIterator[DataPlane]:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as plane:
        await plane.started()
        yield plane


async def test_certificates_change_under_load_and_no_request_fails(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    """With a client that keeps its connection, and one that connects each time."""
    port, trusted = free_port(), authority.trusted()
    old = authority.issue("old")
    web = https("web", port)
    controlplane.publish(snapshot(orders, web, wire.certificate("shop", old, 6), revision=6))
    await acked(controlplane, 6)
    assert await serial(port, trusted) == number(old)
    statuses: list[int] = []
    stopped = asyncio.Event()

    async def keep() -> None:
        async with httpx.AsyncClient(trust_env=False, verify=trusted) as session:
            while not stopped.is_set():
                statuses.append((await session.get(f"https://localhost:{port}/orders/1")).status_code)

    async def connect() -> None:
        while not stopped.is_set():
            statuses.append(await get(port, trusted))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep())
        tasks.create_task(connect())
        for revision in range(7, 12):
            new = authority.issue(f"new-{revision}")
            more = https("more", free_port(), revision=revision)
            changed = wire.certificate("shop", new, revision)
            controlplane.publish(snapshot(orders, web, more, changed, revision=revision))
            await acked(controlplane, revision)
            assert await serial(port, trusted) == number(new)
            seen = len(statuses)
            await eventually(lambda before=seen: len(statuses) > before + 3)  # type: ignore[misc]
        stopped.set()
    assert set(statuses) == {200}


async def test_a_key_of_another_certificate_is_a_nack(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    port, trusted = free_port(), authority.trusted()
    one, other = authority.issue("one"), authority.issue("other")
    controlplane.publish(snapshot(orders, https("web", port), wire.certificate("shop", one, 6), revision=6))
    await acked(controlplane, 6)
    mixed = wire.certificate("shop", (one[0], other[1]), 7)
    controlplane.publish(snapshot(orders, https("web", port), mixed, revision=7))
    await eventually(lambda: controlplane.latest.nacked)
    (problem,) = controlplane.latest.nacked[0].problems
    assert (problem.resource, problem.field) == ("certificate/shop", "private_key")
    assert "PRIVATE" not in problem.detail
    assert await get(port, trusted) == 200


async def test_keys_are_encrypted_on_disk_and_a_restart_serves_them(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    port, trusted = free_port(), authority.trusted()
    files = authority.issue("one")
    controlplane.publish(snapshot(orders, https("web", port), wire.certificate("shop", files, 6), revision=6))
    await acked(controlplane, 6)
    secret = files[1].read_text().splitlines()[1]
    assert secret.encode() not in node.cache_file.read_bytes()
    shown = (await node.status("/debug/config")).text
    assert "shop" in shown and secret not in shown and "PRIVATE" not in shown
    assert await node.metric("headgate_certificate_not_after_seconds", certificate="shop") > 0
    await node.stop()
    await controlplane.stop()
    await node.started()
    assert await get(port, trusted) == 200
    assert secret not in str(node.log())


async def test_a_connection_made_for_another_listener_is_refused(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    """RFC 9110, section 15.5.20. Unit tests have the table."""
    port, pair = free_port(), authority.issue("both", hosts=["a.org", "b.org"])
    sites = [https(name, port, f"{name}.org") for name in ("a", "b")]
    controlplane.publish(snapshot(orders, *sites, wire.certificate("shop", pair, 6), revision=6))
    await acked(controlplane, 6)

    async def asked(session: httpx.AsyncClient, name: str, host: str) -> int:
        url, fields = f"https://127.0.0.1:{port}/orders/1", {"Host": host}
        answer = await session.get(url, headers=fields, extensions={"sni_hostname": name})
        return answer.status_code

    async with httpx.AsyncClient(trust_env=False, verify=authority.trusted()) as session:
        found = [await asked(session, "a.org", host) for host in ("a.org", "b.org", "A.ORG", "c.org")]
    assert found == [200, 421, 200, 404]


async def test_open_connections_end_when_clients_have_to_show_something_else(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    port, shop = free_port(), wire.certificate("shop", authority.issue("one"), 6)
    controlplane.publish(snapshot(orders, https("web", port), shop, revision=6))
    await acked(controlplane, 6)
    url = f"https://localhost:{port}/orders/1"
    async with httpx.AsyncClient(trust_env=False, verify=authority.trusted()) as session:
        assert (await session.get(url)).status_code == 200
        ca = authority.certificate.read_text()
        checked = https("web", port, revision=7, client_certificate="required", client_ca=ca)
        controlplane.publish(snapshot(orders, checked, shop, revision=7))
        await acked(controlplane, 7)
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            # A request that was on its way is answered, as the last one of its connection.
            for _ in range(2):
                await session.get(url)


async def test_a_port_changes_its_protocol_and_checks_clients(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance, authority: Authority
) -> None:
    port, trusted = free_port(), authority.trusted()
    shop = wire.certificate("shop", authority.issue("one"), 6)
    controlplane.publish(snapshot(orders, wire.listener("web", port, revision=6), shop, revision=6))
    await acked(controlplane, 6)
    assert await get(port, trusted, "http") == 200
    ca = authority.certificate.read_text()
    secured = https("web", port, revision=7, client_certificate="required", client_ca=ca)
    controlplane.publish(snapshot(orders, secured, shop, revision=7))
    await acked(controlplane, 7)
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await get(port, trusted, "http")
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await get(port, trusted)
    client = authority.trusted()
    client.load_cert_chain(*authority.issue("client"))
    assert await get(port, client) == 200
    controlplane.publish(snapshot(orders, https("web", port, revision=8), shop, revision=8))
    await acked(controlplane, 8)
    assert await get(port, trusted) == 200
    proxied = wire.listener("web", port, revision=9, proxy_protocol_from=["127.0.0.0/8"])
    controlplane.publish(snapshot(orders, proxied, shop, revision=9))
    await acked(controlplane, 9)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET /orders/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await eventually(lambda: any(line.get("client") == "192.0.2.7" for line in node.log()))
