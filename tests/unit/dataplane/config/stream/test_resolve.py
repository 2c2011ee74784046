"""The control planes behind names."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from dataplane.config.stream.resolve import resolved, server_name

V4 = ["10.0.0.1", "10.0.0.2"]
V6 = ["fd00::1", "fd00::2"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names; others cannot be resolved."""
    known: dict[str, list[str]] = {}

    async def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # The answers of getaddrinfo may hold an address twice.
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 0, 0, "", (each, port))
            for each in known[host] * 2
        ]

    monkeypatch.setattr(
        asyncio.BaseEventLoop, "getaddrinfo", lambda _, *args, **named: lookup(*args, **named)
    )
    return known


async def test_a_name_with_several_addresses_stands_for_several(names: dict[str, list[str]]) -> None:
    names["cp"] = V4
    assert await resolved(("cp:50051",), {}) == {"10.0.0.1:50051": "cp:50051", "10.0.0.2:50051": "cp:50051"}
    names["cp"] = V6
    assert set(await resolved(("cp:50051",), {})) == {"[fd00::1]:50051", "[fd00::2]:50051"}


async def test_a_name_with_one_address_of_each_family_stays(names: dict[str, list[str]]) -> None:
    names["cp"] = [V4[0], V6[0]]
    assert await resolved(("cp:1", "192.0.2.1:2", "[fd00::9]:3"), {}) == {
        "cp:1": "cp:1",
        "192.0.2.1:2": "192.0.2.1:2",
        "[fd00::9]:3": "[fd00::9]:3",
    }


async def test_a_name_that_cannot_be_resolved_keeps_its_addresses(names: dict[str, list[str]]) -> None:
    names["cp"] = V4
    before = await resolved(("cp:1", "other:1"), {})
    names.clear()
    assert await resolved(("cp:1", "other:1"), before) == before
    assert await resolved(("cp:1",), {}) == {"cp:1": "cp:1"}


def test_a_certificate_names_the_host_of_the_settings() -> None:
    assert server_name("10.0.0.1:50051", "cp.prod.svc:50051") == "cp.prod.svc"
    assert server_name("cp:50051", "cp:50051") == ""
