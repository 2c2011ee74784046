"""`headgate drain` with the services' token, as a Kubernetes preStop runs it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate_api.v1 import registry_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry


@pytest.fixture
def in_a_pod(monkeypatch: pytest.MonkeyPatch, registry: FakeRegistry) -> FakeRegistry:
    monkeypatch.setenv("HEADGATE_TOKEN", TOKEN)
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", registry.address)
    registry.instances["orders", "a"] = registry_pb2.InstanceView()
    return registry


async def test_drained(run: Any, in_a_pod: FakeRegistry) -> None:
    result = await asyncio.to_thread(run, "drain", "orders", "a", "--timeout", "3")
    assert (result.exit_code, result.stdout) == (0, "Instance orders/a is drained\n")
    assert in_a_pod.waits == [3.0]


async def test_late(run: Any, in_a_pod: FakeRegistry) -> None:
    in_a_pod.stragglers = {"gw-1": "1 request under way"}
    result = await asyncio.to_thread(run, "drain", "orders", "a", "--timeout", "3")
    assert result.exit_code == 1
    assert result.stderr == (
        "headgate: instance orders/a is not drained after 3 s: gw-1 (1 request under way)\n"
    )


async def test_no_such_instance(run: Any, in_a_pod: FakeRegistry) -> None:
    result = await asyncio.to_thread(run, "drain", "orders", "typo")
    assert (result.exit_code, result.stderr) == (1, "headgate: instance orders/typo is not registered\n")
