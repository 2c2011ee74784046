"""Certificates that data planes read from their own files, in a real supervisor and workers."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from demo.ports import free_port
from headgate_api.v1 import config_pb2, resources_pb2
from tests.integration.dataplane.test_listeners_tls import get, number, serial
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


def put(folder: Path, pair: tuple[Path, Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
        beside = folder / f".{name}"
        beside.write_bytes(source.read_bytes())
        beside.rename(folder / name)


def snapshot(orders: Instance, port: int, revision: int) -> config_pb2.Snapshot:
    files = resources_pb2.CertificateFiles(certificate="shop/tls.crt", private_key="shop/tls.key")
    shop = wire.Resource(name="shop", revision=revision, certificate=resources_pb2.Certificate(files=files))
    https = resources_pb2.LISTENER_PROTOCOL_HTTPS
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders"),
        wire.listener("web", port, revision=revision, protocol=https, certificates=["shop"]),
        shop,
        revision=revision,
    )


async def test_files_are_served_renewed_and_kept(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    authority = Authority(tmp_path / "ca")
    one, two, other = (authority.issue(name) for name in ("one", "two", "other"))
    trusted, port, certificates = authority.trusted(), free_port(), tmp_path / "certificates"
    shop = certificates / "shop"
    certificates.mkdir()
    controlplane.publish(snapshot(orders, port, 5))
    async with DataPlane(tmp_path, controlplane.address, CERTIFICATE_DIR=str(certificates)) as node:
        node.start()
        await eventually(lambda: any(one.nacked for one in controlplane.connections))
        (nack,) = (nack for one in controlplane.connections for nack in one.nacked)
        (problem,) = nack.problems
        assert (problem.resource, problem.field) == ("certificate/shop", "files.certificate")
        assert problem.detail.startswith("cannot read shop/tls.crt in CERTIFICATE_DIR")

        # The files arrive: the data plane asks for the configuration again.
        put(shop, one)
        node.send(signal.SIGHUP)
        await node.ready()
        assert await serial(port, trusted) == number(one)

        async with httpx.AsyncClient(trust_env=False, verify=trusted) as kept:
            assert (await kept.get(f"https://localhost:{port}/orders/1")).status_code == 200
            put(shop, two)
            node.send(signal.SIGHUP)
            await eventually(lambda: _is(port, authority, two))
            assert (await kept.get(f"https://localhost:{port}/orders/1")).status_code == 200

        # Half of a renewal: what was read last is served, and the reason is shown.
        (shop / "tls.key").write_bytes(other[1].read_bytes())
        node.send(signal.SIGHUP)
        await eventually(lambda: _failed(node))
        assert await serial(port, trusted) == number(two)
        shown = (await node.status("/debug/config")).json()["certificates"]["shop"]
        assert shown["problem"] == "shop/tls.key is not the unencrypted private key of shop/tls.crt"
        assert "the files of certificate shop cannot be used" in (await node.status("/health")).text
        await eventually(lambda: _reported(controlplane) == shown["problem"])

        # After a restart, too.
        await node.stop()
        await node.started()
        assert await get(port, trusted) == 200
        assert await serial(port, trusted) == number(two)
        secret = two[1].read_text().splitlines()[1]
        assert secret.encode() not in node.cache_file.read_bytes()
        assert secret not in str(node.log())


async def _is(port: int, authority: Authority, pair: tuple[Path, Path]) -> bool:
    return await serial(port, authority.trusted()) == number(pair)


async def _failed(node: DataPlane) -> bool:
    return await node.metric("headgate_certificate_files_failed", certificate="shop") == 1


def _reported(controlplane: FakeControlPlane) -> str:
    stats = controlplane.latest.stats
    listed = stats.certificates.certificates if stats is not None else ()
    return listed[0].problem if listed else ""
