"""One token for all calls, asked for once, renewed once."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.store import AccessDenied
from controlplane.store.etcd_tokens import TokenCache


class Server:
    def __init__(self) -> None:
        self.asked = 0
        self.refusing = False

    async def authenticate(self, username: str, password: str, deadline: float) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if self.refusing:
            raise AccessDenied("no")
        return f"{username}.{self.asked}"


async def test_without_credentials_there_is_no_token() -> None:
    server = Server()
    tokens = TokenCache(None, None, server.authenticate)
    assert await tokens.current(0.0) == ""
    assert not tokens.renewable
    assert server.asked == 0


async def test_many_calls_ask_once() -> None:
    server = Server()
    tokens = TokenCache("gate", "pw", server.authenticate)
    assert set(await asyncio.gather(*(tokens.current(0.0) for _ in range(10)))) == {"gate.1"}
    assert server.asked == 1


async def test_many_refusals_renew_once() -> None:
    server = Server()
    tokens = TokenCache("gate", "pw", server.authenticate)
    old = await tokens.current(0.0)

    async def refused() -> str:
        tokens.refuse(old)
        return await tokens.current(0.0)

    assert set(await asyncio.gather(*(refused() for _ in range(10)))) == {"gate.2"}
    tokens.refuse(old)  # late: the new token stays
    assert await tokens.current(0.0) == "gate.2"


async def test_a_refused_password_is_tried_anew_by_the_next_call() -> None:
    server = Server()
    tokens = TokenCache("gate", "pw", server.authenticate)
    server.refusing = True
    with pytest.raises(AccessDenied):
        await tokens.current(0.0)
    server.refusing = False
    assert await tokens.current(0.0) == "gate.2"
