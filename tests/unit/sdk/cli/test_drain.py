"""`headgate drain` with the services' token, as a Kubernetes preStop runs it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.advertise import default_instance_id
from headgate.target import Target
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


@pytest.mark.parametrize("value", ["a", "a\n", " a "])
async def test_named_by_the_environment(
    run: Any, in_a_pod: FakeRegistry, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A preStop hook has no shell to expand a variable."""
    monkeypatch.setenv("HEADGATE_INSTANCE", value)
    result = await asyncio.to_thread(run, "drain", "orders")
    assert (result.exit_code, result.stdout) == (0, "Instance orders/a is drained\n")


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


def test_what_the_docs_put_into_a_pod_lets_the_token_travel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As documented, address and all: the token goes to another machine, and only encrypted."""
    page = (Path(__file__).resolve().parents[4] / "docs/explanation/distribution.md").read_text()
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.S) if "preStop" in text]
    pod = yaml.safe_load(block)
    for variable in pod["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", TOKEN))
    target = Target.make()
    assert target.encrypted and target._far()
    command = pod["lifecycle"]["preStop"]["exec"]["command"]
    assert "headgate drain orders" in command[-1]


async def test_an_instance_with_a_long_name_is_found_by_host_name_and_port(
    run: Any, in_a_pod: FakeRegistry
) -> None:
    host = "a-service-with-a-long-name-in-a-team-with-a-long-name-7f9c-x2x4z"
    in_a_pod.instances["orders", default_instance_id(host, 9000)] = registry_pb2.InstanceView()
    result = await asyncio.to_thread(run, "drain", "orders", f"{host}-9000", "--timeout", "3")
    assert result.exit_code == 0, result.output
