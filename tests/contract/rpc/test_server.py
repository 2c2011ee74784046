"""The server itself: health, TLS, ports."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.model.stored import key_of
from controlplane.rpc import CannotListen, TlsError, TlsFiles
from controlplane.store import Delete
from tests.support.certificates import Authority
from tests.support.control_plane import ControlPlane, Node
from tests.support.waiting import eventually

Status = health_pb2.HealthCheckResponse


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
    return int(answer.status)


async def serving(channel: grpc.aio.Channel, service: str = "") -> bool:
    return await health(channel, service) == int(Status.SERVING)


# Health


@pytest.mark.parametrize("service", ["", "headgate.v1.ConfigService", "headgate.v1.RegistryService"])
async def test_serving_once_caught_up(plane: ControlPlane, channel: grpc.aio.Channel, service: str) -> None:
    await eventually(lambda: serving(channel, service))


async def test_not_serving_before() -> None:
    plane = ControlPlane()
    await plane.put_raw(("route", "orders", b"{"))
    async with plane, plane.channel() as channel:
        await eventually(lambda: plane.watcher.problems)
        assert await health(channel) == Status.NOT_SERVING
        waiting = Node(channel)
        await waiting.hello()
        revision = await plane.store.commit({}, [Delete(key_of("route", "orders"))])
        # Streams that came early get the first snapshot as soon as there is one.
        assert (await waiting.receive()).revision == revision
        await eventually(lambda: serving(channel))


async def test_a_store_outage_does_not_end_serving(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    plane.store.available = False
    await eventually(lambda: not plane.watcher.connected)
    assert await health(channel) == Status.SERVING
    node = Node(channel)
    await node.hello()
    await node.receive()


async def test_unknown_services_are_not_found(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(channel, "somebody.Else")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# Ports


async def test_a_port_in_use_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListen, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"
        ):
            await _start(f"127.0.0.1:{port}")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("listen", "detail"),
    [
        ("127.0.0.1:http", "is not host:port"),
        ("127.0.0.1:99999", "is not host:port"),
        (f"{'x' * 300}:50051", "is not host:port"),
        ("192.0.2.1:50051", "cannot listen on 192.0.2.1:50051: "),
        ("no-such-host.invalid:50051", "cannot listen on no-such-host.invalid:50051: "),
    ],
)
async def test_addresses_that_cannot_be(listen: str, detail: str) -> None:
    with pytest.raises(CannotListen, match=detail) as caught:
        await _start(listen)
    assert "\n" not in str(caught.value)


async def _start(listen: str, tls: TlsFiles | None = None) -> None:
    async with ControlPlane(listen=listen, tls=tls):
        raise AssertionError("must not start")


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def trusting(authority: Authority, client: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    cert, key = (path.read_bytes() for path in client) if client else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, cert)


async def reaches(plane: ControlPlane, credentials: grpc.ChannelCredentials | None) -> bool:
    async with plane.channel(credentials) as channel:
        try:
            return await health(channel) in (Status.SERVING, Status.NOT_SERVING)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False


async def test_tls(authority: Authority) -> None:
    cert, key = authority.issue("server")
    async with ControlPlane(tls=TlsFiles(cert, key)) as plane:
        assert await reaches(plane, trusting(authority))
        assert not await reaches(plane, None)


async def test_client_certificates(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("server")
    stranger = Authority(tmp_path / "other").issue("stranger")
    async with ControlPlane(tls=TlsFiles(cert, key, authority.certificate)) as plane:
        assert await reaches(plane, trusting(authority, authority.issue("client")))
        assert not await reaches(plane, trusting(authority))
        assert not await reaches(plane, trusting(authority, stranger))


async def test_renewed_certificates_are_taken_up(authority: Authority, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key")
    successor = Authority(tmp_path / "successor")

    def install(pair: tuple[Path, Path]) -> None:
        for source, target in zip(pair, (files.cert, files.key), strict=True):
            shutil.copy(source, target)

    install(authority.issue("server"))
    async with ControlPlane(tls=files) as plane:
        assert await reaches(plane, trusting(authority))
        install(successor.issue("server"))
        assert await reaches(plane, trusting(successor))
        assert not await reaches(plane, trusting(authority))
        # A renewal that went wrong leaves the last good ones in use.
        files.key.write_bytes(b"half a key")
        assert await reaches(plane, trusting(successor))
        files.key.unlink()
        assert await reaches(plane, trusting(successor))


async def test_certificates_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("server")
    _, other_key = authority.issue("other")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    missing = tmp_path / "missing.pem"
    for files, detail in (
        (TlsFiles(missing, key), f"{missing}: No such file or directory"),
        (TlsFiles(cert, missing), f"{missing}: No such file or directory"),
        (TlsFiles(tmp_path, key), f"{tmp_path}: Is a directory"),
        (TlsFiles(cert, key, missing), f"{missing}: No such file or directory"),
        (TlsFiles(empty, key), f"{empty}, {key}: not a certificate and its unencrypted private key"),
        (
            TlsFiles(cert, other_key),
            f"{cert}, {other_key}: not a certificate and its unencrypted private key",
        ),
        (TlsFiles(cert, key, empty), f"{empty}: holds no PEM certificate"),
    ):
        with pytest.raises(TlsError) as caught:
            await _start("127.0.0.1:0", files)
        assert str(caught.value) == detail
