from __future__ import annotations

import asyncio
import gc
import socket
import sys
from typing import Any

import pytest

from tests.support.instance import Instance


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_as_its_server_ends_is_closed(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    instance = await Instance().__aenter__()
    with socket.create_connection(("127.0.0.1", instance.port)):
        for _ in range(turns):
            await asyncio.sleep(0)
        await instance.die()
    gc.collect()
    assert left == []
