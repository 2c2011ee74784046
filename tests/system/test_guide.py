"""The operations of the troubleshooting guide, one by one, against the running demo."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio

import headgate
from demo.ports import free_port
from demo.processes import DataPlane, Process, start, wait_until
from demo.world import CASHIER, World, all_healthy
from headgate import CircuitConfig, ServiceDefinition, ServiceStatus
from tests.support import redis_server
from tests.support.waiting import eventually, eventually_now


@pytest.fixture
def gateway(world: World) -> Iterator[httpx.Client]:
    """What a user reaches at http://localhost:8000."""
    with httpx.Client(base_url=world.dataplanes[0].url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def sdk(world: World) -> AsyncIterator[headgate.Gateway]:
    """A connection with an operator's rights."""
    with world.controlplane.admin() as admin:
        token = admin.headers["Authorization"].removeprefix("Bearer ")
    async with headgate.connect(world.controlplane.grpc, token=token) as connection:
        yield connection


def token_of(gateway: httpx.Client, username: str, password: str) -> str:
    """The guide's curl: a form without grant_type."""
    form = {"username": username, "password": password}
    answer = eventually_now(lambda: gateway.post("/api/v1/auth/token", data=form).raise_for_status())
    return str(answer.json()["access_token"])


def cashier(world: World, gateway: httpx.Client) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(gateway, CASHIER, world.cashier_password)}"}


def open_circuit(world: World, gateway: httpx.Client) -> None:
    """Let payments fail until its breaker opens on the first data plane."""
    headers = cashier(world, gateway)
    httpx.post(f"{world.instance('payments-1').url}/fail", trust_env=False).raise_for_status()
    eventually_now(lambda: gateway.get("/payments", headers=headers).status_code == 503)


def refuses(gateway: httpx.Client, path: str) -> bool:
    return gateway.get(path).status_code == 503


def recover(world: World) -> None:
    httpx.post(f"{world.instance('payments-1').url}/recover", trust_env=False).raise_for_status()


# Authentication


def test_a_token_for_the_guides_user(gateway: httpx.Client) -> None:
    token = token_of(gateway, "testuser", "testpass")
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims.get("scopes", []) == ["orders:read"]


def test_the_guides_pipe_shows_the_tokens_header(gateway: httpx.Client) -> None:
    token = token_of(gateway, "testuser", "testpass")
    pipe = "echo -n $TOKEN | base64 -d" + (" | jq -c" if shutil.which("jq") else "")
    shown = subprocess.run(
        ["bash", "-c", pipe], env={**os.environ, "TOKEN": token}, capture_output=True, check=False
    ).stdout
    header = json.loads(shown.split(b"}")[0] + b"}")
    assert header["alg"] == "RS256"


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_could_not_validate_credentials(gateway: httpx.Client, token: str) -> None:
    answer = gateway.get("/orders", headers={"Authorization": f"Bearer {token}"} if token else {})
    assert (answer.status_code, answer.json()["detail"]) == (401, "Could not validate credentials")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ('error="invalid_token"' in answer.headers["WWW-Authenticate"]) is bool(token)


def test_not_enough_permissions(gateway: httpx.Client) -> None:
    token = token_of(gateway, "testuser", "testpass")
    answer = gateway.get("/payments", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "Not enough permissions")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="headgate", error="insufficient_scope", scope="payments:write"'
    )


# Circuit breakers


async def test_circuit_state_stats_and_reset(
    world: World, gateway: httpx.Client, sdk: headgate.Gateway
) -> None:
    await asyncio.to_thread(open_circuit, world, gateway)
    try:
        answer = gateway.get("/payments", headers=await asyncio.to_thread(cashier, world, gateway))
        assert answer.json()["detail"] == "Circuit breaker is open for service payments"
        assert int(answer.headers["Retry-After"]) >= 1
        breaker = sdk.router.circuit_breakers["payments"]
        await eventually(lambda: str(breaker.state) == "open" and breaker.stats.failed_requests >= 5)
        assert breaker.last_state_change is not None
        assert breaker.config.failure_threshold == 5
        assert breaker.config.failure_window == 60
        assert await breaker._get_recent_failures() is not None
        shown = {circuit["service_name"]: circuit for circuit in gateway.get("/api/v1/circuits").json()}
        assert shown["payments"]["state"] == "open"
        health = gateway.get("/health")
        assert health.status_code == 200
        assert "Circuit opened after 5 failures" in health.text
    finally:
        recover(world)
    await breaker.reset()
    await eventually(
        lambda: gateway.get("/payments", headers=cashier(world, gateway)).status_code == 200, within=30
    )


def test_circuit_opened_is_logged(world: World, gateway: httpx.Client) -> None:
    open_circuit(world, gateway)
    recover(world)
    log = world.processes[world.dataplanes[0].name].log
    eventually_now(lambda: "Circuit opened after 5 failures" in log.read_text())


# Rate limits


def test_too_many_requests(gateway: httpx.Client) -> None:
    answers = [gateway.get("/public") for _ in range(40)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert limited[0].json()["detail"] == "Too many requests"
    assert {"retry-after", "ratelimit", "ratelimit-policy"} <= limited[0].headers.keys()


def test_the_settings_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataplane.settings import load

    monkeypatch.setenv("DATAPLANE_TOKEN", "x" * 32)
    settings = load()
    assert (settings.RATE_LIMIT_PER_SECOND, settings.RATE_LIMIT_BURST) == (100, 150)


async def test_limits_in_redis(world: World, tmp_path: Path) -> None:
    """The guide's lines on Redis, one by one."""
    limit = {"name": "guide", "requests": 5, "per": "hour", "key": "address", "mode": "redis"}
    route = {
        "name": "guide",
        "prefix": "/guide",
        "service_name": "orders",
        "public": True,
        "rate_limits": ["guide"],
    }
    with redis_server.running(tmp_path) as server:
        # REDIS_HOST and REDIS_PORT; it may take seconds to answer on a busy machine.
        settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "REDIS_TIMEOUT": "5"}
        dataplane = DataPlane(
            world.controlplane.grpc, world.controlplane.secrets, "gateway-redis", settings=settings
        )
        process = world.processes[dataplane.name] = dataplane.start(tmp_path)
        wait_until(all_healthy(world, dataplane), process)
        with (
            world.controlplane.admin() as admin,
            httpx.Client(base_url=dataplane.url, timeout=10, trust_env=False) as client,
        ):
            document = {"rate_limits": [limit], "routes": [route]}
            admin.post("/api/v1/apply?wait=30", json=document).raise_for_status()
            # Too many requests
            eventually_now(lambda: client.get("/guide/1").status_code == 200)
            answers = [client.get("/guide/1") for _ in range(8)]
            assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 4
            assert answers[-1].json()["detail"] == "Too many requests"
            # redis-cli ping, redis-cli info
            assert server.cli("ping") == "PONG"
            assert "redis_version" in server.cli("info")
            # zcard and delete
            key = "guide:127.0.0.1"
            redis_client = redis.asyncio.Redis(port=server.port)
            assert await redis_client.zcard(f"rate_limit:{key}") == 5
            bucket = eventually_now(lambda: _bucket(client, "guide", "address:127.0.0.1"))
            assert (bucket["remaining"], bucket["refused"]) == (0, 4)
            assert await redis_client.delete(f"rate_limit:{key}") == 1
            assert client.get("/guide/1").status_code == 200
            await redis_client.aclose()
            # Failed to connect to Redis
            server.kill()
            eventually_now(lambda: "Failed to connect to Redis" in client.get("/health").text)
            told = '"message": "Failed to connect to Redis"'
            eventually_now(lambda: told in process.log.read_text())
            assert client.get("/guide/1").status_code == 200
            server.start()
            eventually_now(lambda: client.get("/health").json()["redis"]["connected"])
        world.processes.pop(dataplane.name).stop()


def _bucket(client: httpx.Client, limit: str, key: str) -> dict[str, Any]:
    """A bucket that GET /api/v1/rate-limits shows, once it has been refused."""
    shown: list[dict[str, Any]] = client.get("/api/v1/rate-limits").json()
    buckets = next(each for each in shown if each["name"] == limit)["buckets"]
    found: dict[str, Any] = next(each for each in buckets if each["key"] == key)
    return found if found["refused"] == 4 else {}


# Service discovery


async def test_registered_services_and_their_health(sdk: headgate.Gateway) -> None:
    services = {service.service_name: service for service in await sdk.registry.get_services()}
    assert len(services["orders"].instances) == 2

    async def all_healthy() -> bool:
        service = await sdk.registry.get_service("orders")
        return all(
            instance.status == ServiceStatus.HEALTHY and instance.last_check
            for instance in service.instances.values()
        )

    assert await eventually(all_healthy)


async def test_reregistration(world: World, sdk: headgate.Gateway) -> None:
    service = await sdk.registry.get_service("orders")
    instance = service.instances["orders-2"]
    await sdk.registry.deregister_service("orders", "orders-2")
    assert "orders-2" not in (await sdk.registry.get_service("orders")).instances
    # The instance's own keep-alive notices that it is gone, and comes back by itself as well.
    again = await sdk.registry.register_service(
        headgate.RegistrationRequest(
            service_name="orders", instance_id="orders-2", host=instance.host, port=instance.port
        )
    )
    assert again.instance_id == "orders-2"

    async def back() -> bool:
        found = (await sdk.registry.get_service("orders")).instances.get("orders-2")
        return found is not None and found.status == ServiceStatus.HEALTHY

    assert await eventually(back, within=30)


def test_service_not_in_registry_and_none_healthy(world: World, gateway: httpx.Client) -> None:
    nobody = {"instance_id": "nobody", "host": "127.0.0.1", "port": free_port()}
    document = {
        "services": [
            {"service_name": "ghost"},
            {"service_name": "ill", "check_interval": 1, "check_timeout": 1, "instances": [nobody]},
        ],
        "routes": [
            {"name": name, "prefix": f"/{name}", "service_name": name, "public": True}
            for name in ("ghost", "ill")
        ],
    }
    with world.controlplane.admin() as admin:
        admin.post("/api/v1/apply", json=document).raise_for_status()
    for path, detail in (
        ("/ghost", "Service 'ghost' not found in registry"),
        ("/ill", "No healthy instances available"),
    ):
        eventually_now(partial(refuses, gateway, path))
        answer = gateway.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (503, detail)


# Routing


async def test_routes(sdk: headgate.Gateway) -> None:
    routes = await sdk.router.get_routes()
    assert routes["/orders"].service_name == "orders"
    assert set(routes["/orders"].methods) == {"GET", "POST"}


def test_service_not_found(gateway: httpx.Client) -> None:
    answer = gateway.get("/no-such-route")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Service not found")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]


def test_method_not_allowed(gateway: httpx.Client) -> None:
    answer = gateway.delete("/orders")
    assert (answer.status_code, answer.json()["detail"]) == (405, "Method not allowed")
    assert {method.strip() for method in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}


# Diagnostic tools


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/api/v1/services",
        "/api/v1/circuits",
        "/api/v1/rate-limits",
        "/api/v1/dataplanes",
        "/metrics",
    ],
)
def test_diagnostic_endpoints_on_the_traffic_port(gateway: httpx.Client, path: str) -> None:
    assert eventually_now(lambda: gateway.get(path).status_code == 200)


def test_shapes_of_services_and_circuits(gateway: httpx.Client) -> None:
    services = {service["service_name"]: service for service in gateway.get("/api/v1/services").json()}
    orders = services["orders"]
    assert orders["total"] == 2
    assert {"status", "last_check"} <= orders["instances"]["orders-1"].keys()
    circuit = gateway.get("/api/v1/circuits").json()[0]
    expected = {
        "service_name",
        "state",
        "last_state_change",
        "stats",
        "config",
        "recent_failures",
        "dataplanes",
    }
    assert expected <= circuit.keys()
    assert {"total_requests", "failed_requests"} <= circuit["stats"].keys()


def test_writing_needs_a_token_even_from_loopback(gateway: httpx.Client) -> None:
    assert gateway.post("/api/v1/circuits/payments/reset").status_code == 401
    assert gateway.delete("/api/v1/rate-limits/address:127.0.0.1").status_code == 401


def test_the_guides_definitions() -> None:
    circuit = CircuitConfig(
        failure_threshold=5, recovery_timeout=30, half_open_timeout=10, failure_window=60, min_throughput=2
    )
    assert circuit == CircuitConfig()
    assert ServiceDefinition(check_interval=30, check_timeout=5) == ServiceDefinition()


# Debug mode


def test_uvicorn_runs_the_control_plane_in_debug_mode(world: World, tmp_path: Path) -> None:
    port, grpc_port = free_port(), free_port()
    environment = {
        **world.controlplane.environment(),
        "DEBUG": "true",
        "ADMIN_LISTEN": f"127.0.0.1:{port}",
        "GRPC_LISTEN": f"127.0.0.1:{grpc_port}",
    }
    argv = [sys.executable, "-m", "uvicorn", "controlplane.app:app", "--log-level", "debug", "--reload"]
    process: Process = start("debug", [*argv, "--port", str(port)], environment, tmp_path)
    try:
        wait_until(
            lambda: httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 200, process
        )
    finally:
        process.stop()
