"""An admin API per test, and a client for each role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.api import READER, Api, running_api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Without credentials."""
    async with running_api() as api:
        yield api


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    """The API's client with an administrator's token."""
    api.client.headers.update(await api.token())
    return api.client


@pytest.fixture
async def reader(api: Api) -> httpx.AsyncClient:
    """The API's client with a token that may only look."""
    api.client.headers.update(await api.token(READER))
    return api.client
