"""One probe against a real socket that answers as scripted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from dataplane.gateway.policy.resources import HealthCheck, Instance, UpstreamTls
from dataplane.health.endpoint import EndpointChecker, _request
from dataplane.health.state import Probe
from dataplane.proxy.lookups import Lookups

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(*pieces: bytes, hang: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every request with `pieces`; gives its port and the heads it was sent."""
    heads: list[bytes] = []
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        # Python 3.12 and 3.13 write an empty piece for ever.
        writer.writelines([piece for piece in pieces if piece])
        if hang:
            await release.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        release.set()
        server.close()
        await server.wait_closed()


async def probe(port: int, check: HealthCheck | None = None, host: str = "127.0.0.1") -> Probe:
    return await EndpointChecker()(Instance("orders", "o-1", host, port), check or HealthCheck(timeout=5.0))


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"299 Fine"])
async def test_2xx_is_healthy(status: bytes) -> None:
    async with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as (port, heads):
        result = await probe(port, HealthCheck(path="/ping?deep=1"))
    assert (result.passed, result.reason) == (True, "")
    assert heads[0].startswith(b"GET /ping?deep=1 HTTP/1.1\r\n")
    assert b"user-agent: headgate-health" in heads[0].lower()
    assert b"host: 127.0.0.1:%d\r\n" % port in heads[0].lower()


@pytest.mark.parametrize("status", [b"301 Moved", b"400 Bad", b"404 Not Found", b"500 Oops", b"503 Busy"])
async def test_everything_else_is_not_and_redirects_are_not_followed(status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with answering(answer) as (port, heads):
        result = await probe(port)
    assert (result.passed, result.reason) == (False, f"answered {status[:3].decode()}")
    assert len(heads) == 1


async def test_the_body_is_not_waited_for() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", hang=True) as (port, _):
        assert (await probe(port)).passed


async def test_no_answer_in_time() -> None:
    async with answering(hang=True) as (port, _):
        result = await probe(port, HealthCheck(timeout=0.05))
    assert (result.passed, result.reason) == (False, "no answer within 0.05 s")


async def test_nobody_there(unused_tcp_port: int) -> None:
    result = await probe(unused_tcp_port)
    assert (result.passed, result.reason) == (False, "connection refused")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9000)"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("orders.internal has no address"), "orders.internal has no address"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
async def test_causes_are_told_in_words(error: OSError, told: str) -> None:
    async def fail(host: str) -> list[str]:
        raise error

    checker = EndpointChecker(cast(Lookups, fail))
    assert (await checker(Instance("orders", "o-1", "name", 9000), HealthCheck())).reason == told


async def test_a_probe_over_tls_of_plain_text_names_no_place_in_a_library() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reason = (await probe(port, HealthCheck(timeout=5.0, tls=UpstreamTls()))).reason
    assert reason.startswith("TLS failed: ")
    assert "_ssl.c" not in reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed the connection without an answer"),
        (b"nonsense\r\n\r\n", "did not answer in HTTP"),
        (b"\x00\xff", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, "answered with a head of more than 65536 bytes"),
    ],
)
async def test_no_http(answer: bytes, reason: str) -> None:
    async with answering(answer) as (port, _):
        result = await probe(port)
    assert not result.passed
    assert reason in result.reason


async def test_a_provisional_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with answering(early, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert (await probe(port)).reason == "answered 503"


@pytest.mark.parametrize(
    ("host", "port", "tls", "authority"),
    [
        ("10.0.0.1", 8080, None, b"10.0.0.1:8080"),
        ("orders.local", 80, None, b"orders.local"),
        ("orders.local", 443, UpstreamTls(), b"orders.local"),
        ("orders.local", 80, UpstreamTls(), b"orders.local:80"),
        ("fe80::1", 9000, None, b"[fe80::1]:9000"),
    ],
)
def test_who_is_asked(host: str, port: int, tls: UpstreamTls | None, authority: bytes) -> None:
    request = _request(Instance("orders", "o-1", host, port), HealthCheck(tls=tls))
    assert request.split(b"\r\n")[1] == b"Host: " + authority


async def test_what_follows_the_head_is_not_looked_at() -> None:
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    async with answering(broken) as (port, _):
        assert (await probe(port)).passed


async def test_a_host_that_makes_no_url() -> None:
    result = await probe(80, host="[::bad")
    assert not result.passed


async def test_a_fault_of_ours_is_a_failed_probe() -> None:
    """Whatever a probe raises would end all the others."""

    async def broken(host: str) -> tuple[str, ...]:
        raise RuntimeError("no thread")

    checker = EndpointChecker(cast(Lookups, broken))
    result = await checker(Instance("orders", "o-1", "orders.example", 80), HealthCheck(timeout=5.0))
    assert not result.passed and "unexpectedly" in result.reason
