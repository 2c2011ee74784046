"""Bodies that are too long, or never end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from controlplane.api import body
from tests.support.api import Api


async def test_a_body_that_never_ends(
    api: Api, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "WITHIN", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"scopes": ['
        await asyncio.Event().wait()

    headers = {"Content-Type": "application/json"}
    answer = await admin.post("/api/v1/apply", content=slow(), headers=headers)
    assert answer.status_code == 408
    assert answer.json()["detail"] == "The body did not arrive within 0.05 s"
    assert answer.headers["Connection"] == "close"
