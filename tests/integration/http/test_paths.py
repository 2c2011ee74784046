"""A protected prefix is reached by no spelling: what is routed is forwarded, and nobody can read that otherwise."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import unquote

import pytest

from dataplane.gateway.policy.resources import Route
from tests.support.http_stage import OK, Client, Stage, Upstream, answering, stage

ROUTES = [
    Route("open", "s", prefix="/", public=True),
    Route("admin", "s", prefix="/admin", scopes=frozenset({"admin"})),
]
BEFORE = (
    *("/", "//", "///", "/./", "/%2e/", "/.//", "/open/../", "/open/./../", "/open//..//", "/a/b/../../"),
    *("/open/%2e%2e/", "/open/.%2e/", "/open/%2E./", "/open/..%2f", "/open%2f../", "/%2f", "/open/..;/"),
    *(
        "/open/..;a=b/",
        "/;/",
        "/;a/",
        "/.;/",
        "/%3b/",
        "/open\\..\\",
        "/\\",
        "/%5c",
        "/open/..%5c",
        "/open%5c..%5c",
    ),
    *(
        "/%252e%252e/",
        "/open/%252e%252e/",
        "/open/..%252f",
        "/%252f",
        "/open/%c0%ae%c0%ae/",
        "/../",
        "/%2e%2e/",
    ),
    *("http://a/", "http://a//", "http://a/open/../", "http://a/open/%2e%2e/"),
)
NAMES = (
    *(
        "admin",
        "%61dmin",
        "a%64min",
        "%61%64%6d%69%6E",
        "%2561dmin",
        "admin;x",
        "admin%3bx",
        "admin%00",
        "admin%2500",
    ),
    *("admin%0a", "admin%2f..%2fadmin", "admin/../admin", "x/../admin", "admin%23", "admin%3fx", "admin%5c"),
)
AFTER = ("", "/", "/x", "/x/..", "%2fx", "\\x", ";/x", "?q")


def spellings() -> Iterator[str]:
    return ("".join(parts) for parts in product(BEFORE, NAMES, AFTER))


def readings(target: str) -> Iterator[str]:
    """What the most careless servers could take a target for."""
    path = target.partition("?")[0]
    for decoded in (path, unquote(path), unquote(unquote(path)), unquote(unquote(unquote(path)))):
        for slashed in (decoded, decoded.replace("\\", "/")):
            for stripped in (slashed, re.sub(r";[^/]*", "", slashed)):
                for cut in (stripped, stripped.partition("\0")[0]):
                    yield resolved(cut)


def resolved(path: str) -> str:
    """Without empty and dot segments."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)


async def test_a_protected_prefix_is_reached_by_no_spelling() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=ROUTES) as gate:
        told = {b"200": 0, b"400": 0, b"401": 0}
        clients = [spelled(gate, list(spellings())[part::8], told) for part in range(8)]
        await asyncio.gather(*clients)
        assert all(told.values()), told
    passed = {head.split(b" ")[1].decode() for head in upstream.heads}
    for target in passed:
        for reading in readings(target):
            assert reading.partition("/admin")[0] or reading[6:7] not in ("", "/"), (target, reading)


async def spelled(gate: Stage, targets: list[str], told: dict[bytes, int]) -> None:
    """Ask for all of them, one after the other."""
    client: Client | None = None
    for target in targets:
        client = client or await gate.client()
        await client.say(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head, _ = await client.answer()
        told[head[9:12]] += 1
        if b"\r\nconnection: close" in head:
            client.close()
            client = None


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v2", "200"),
        ("/v2/", "200"),
        ("/v2/x", "200"),
        ("/v2?x", "200"),
        ("//v2//x", "200"),
        ("/%762", "200"),
        ("/v2x", "404"),
        ("/v2.", "404"),
        ("/v2%20", "404"),
        ("/v", "404"),
        ("/V2", "404"),
        ("/x/v2", "404"),
        ("/v2/../v2x", "404"),
    ],
)
async def test_a_prefix_matches_whole_segments(target: str, status: str) -> None:
    async with stage(Upstream(answering(OK)), routes=[Route("v2", "s", prefix="/v2", public=True)]) as gate:
        head, _ = await gate.ask(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert head[9:12].decode() == status


@pytest.mark.parametrize("guarded", ["/$admin", "/jobs:purge", "/@internal", "/a+b", "/a,b", "/caf%C3%A9"])
async def test_a_reserved_name_is_reached_by_no_spelling(guarded: str) -> None:
    upstream = Upstream(answering(OK))
    routes = [ROUTES[0], Route("guarded", "s", prefix=guarded, scopes=frozenset({"admin"}))]
    name = unquote(guarded[1:]).encode()
    encoded = ["".join(f"%{byte:02{case}}" for byte in name) for case in ("x", "X")]
    mixed = [f"{name[:i].decode('latin-1')}{encoded[0][3 * i :]}" for i in range(len(name))]
    async with stage(upstream, routes=routes) as gate:
        for spelling in [*encoded, *mixed, name.decode("latin-1")]:
            head, _ = await gate.ask(f"GET /{spelling}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
            assert head[9:12] in (b"400", b"401"), spelling
    assert upstream.connections == 0
