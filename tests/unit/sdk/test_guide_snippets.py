"""The Python of the operations guide that touches registry, router and breaker, as it stands there."""

# ruff: noqa: T201 - the guide prints

from __future__ import annotations

import logging

import pytest

import headgate
from headgate import CircuitConfig, RegistrationRequest, ServiceDefinition, ServiceStatus
from headgate_api.v1 import resources_pb2, status_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.waiting import eventually

logger = logging.getLogger(__name__)


async def test_the_guide(registry: FakeRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.routes["orders"] = resources_pb2.Route(
        prefix="/orders", service_name="orders", methods=["GET", "POST"]
    )
    registry.add_circuit("orders", state=status_pb2.CIRCUIT_STATE_OPEN, failed_requests=5, recent_failures=5)
    registry.status = status_pb2.INSTANCE_STATUS_HEALTHY
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        await the_snippets(gateway)
    shown = capsys.readouterr().out
    for line in (
        "Service: orders\nInstances: 1\n",
        "Instance orders-1:\n  Status: healthy\n",
        "Route: /orders\n  Service: orders\n  Methods: ('GET', 'POST')\n",
        "Circuit state: open\n",
        "Failed requests: 5\n",
        "Recent failures: 5\n",
        "orders: 1/1 healthy\n",
    ):
        assert line in shown


async def the_snippets(gateway: headgate.Gateway) -> None:
    registry, router = gateway.registry, gateway.router
    service_name, instance_id = "orders", "orders-1"

    # Performance Optimization
    circuit_config = CircuitConfig(
        failure_threshold=5, recovery_timeout=30, half_open_timeout=10, failure_window=60, min_throughput=2
    )
    service_config = ServiceDefinition(
        check_interval=30,
        check_timeout=5,
    )
    assert service_config.circuit == circuit_config
    registration_request = RegistrationRequest(
        service_name, instance_id, "127.0.0.1", 9001, definition=service_config
    )

    # Service Reregistration
    await registry.deregister_service(service_name, instance_id)
    instance = await registry.register_service(registration_request)
    logger.info(f"Reregistered service {service_name}")
    assert instance.instance_id == instance_id

    # Service Not Found
    services = await registry.get_services()
    for service in services:
        print(f"Service: {service.service_name}")
        print(f"Instances: {len(service.instances)}")

    # Unhealthy Service Instances
    service = await registry.get_service(service_name)
    for instance_id, instance in service.instances.items():
        print(f"Instance {instance_id}:")
        print(f"  Status: {instance.status}")
        print(f"  Last check: {instance.last_check}")

    # Route Not Found
    routes = await router.get_routes()
    for prefix, route in routes.items():
        print(f"Route: {prefix}")
        print(f"  Service: {route.service_name}")
        print(f"  Methods: {route.methods}")

    # Monitor Circuit Breakers
    for name, breaker in router.circuit_breakers.items():
        print(f"\nCircuit Breaker: {name}")
        print(f"State: {breaker.state}")
        print(f"Stats: {breaker.stats}")

    # Circuit Stays Open
    print(f"Circuit state: {breaker.state}")
    print(f"Last state change: {breaker.last_state_change}")
    print(f"Failed requests: {breaker.stats.failed_requests}")

    # Premature Circuit Opening
    print(f"Failure threshold: {breaker.config.failure_threshold}")
    print(f"Failure window: {breaker.config.failure_window}")
    print(f"Recent failures: {await breaker._get_recent_failures()}")

    # Service Health Checks
    for service in await registry.get_services():
        healthy = 0
        total = 0
        for instance in service.instances.values():
            total += 1
            if instance.status == ServiceStatus.HEALTHY:
                healthy += 1
        print(f"{service.service_name}: {healthy}/{total} healthy")

    # Circuit Breaker Reset
    await breaker.reset()
    logger.info(f"Reset circuit breaker for {service_name}")
    await eventually(lambda: breaker.state == "closed")
