"""A control plane that tests drive, an instance that answers, and folders of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_controlplane import FakeControlPlane, running
from tests.support.instance import Instance


@pytest.fixture
async def controlplane() -> AsyncIterator[FakeControlPlane]:
    async with running() as fake:
        yield fake


@pytest.fixture
async def orders() -> AsyncIterator[Instance]:
    async with Instance("orders-1") as instance:
        yield instance
