"""Bodies that are too long, or never end."""

from __future__ import annotations

import asyncio
import gzip
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


@pytest.mark.parametrize("coding", ["gzip", "identity, br"])
async def test_a_compressed_body_is_told_so(admin: httpx.AsyncClient, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await admin.post("/api/v1/apply", content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["detail"] == f"Content-Encoding {coding} is not supported: send the body unencoded"
    assert answer.headers["Accept-Encoding"] == "identity"


async def test_a_body_that_says_it_is_not_compressed(admin: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "Identity"}
    assert (await admin.post("/api/v1/apply", content=b"{}", headers=headers)).status_code == 200
