"""Models to messages and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headgate import (
    CircuitConfig,
    CircuitState,
    DiscoveryState,
    InvalidDefinition,
    LoadBalancer,
    RegistrationRequest,
    Retries,
    ServiceDefinition,
    ServiceStatus,
    Timeouts,
)
from headgate.wire import decode_circuit, decode_routes, decode_service, encode_registration
from headgate_api.v1 import registry_pb2, resources_pb2, status_pb2

FULL = ServiceDefinition(
    service_name="orders",
    check_path="/ready",
    check_interval=7,
    check_timeout=1.5,
    healthy_threshold=4,
    unhealthy_threshold=6,
    load_balancer=LoadBalancer.IP_HASH,
    circuit=CircuitConfig(9, 0.25, 30, 8, 15, 5, 3),
    timeouts=Timeouts(1, 2, 3, 4),
    retries=Retries(2, ("connect", "503"), 0.5),
)


def request(**changes: Any) -> RegistrationRequest:
    values: dict[str, Any] = {"service_name": "orders", "instance_id": "a", "host": "10.0.0.1", "port": 9001}
    return RegistrationRequest(**values | changes)


def test_a_definition_survives_the_way_there_and_back() -> None:
    message = encode_registration(request(definition=FULL))
    view = registry_pb2.ServiceView(service=message.service)
    assert decode_service(view).definition == FULL


def test_the_state_of_discovery() -> None:
    assert decode_service(registry_pb2.ServiceView()).discovery is None
    seen = registry_pb2.DiscoveryView(source="DNS name a (A)", instances=2, problem="silent", since=7.0)
    found = decode_service(registry_pb2.ServiceView(discovery=seen)).discovery
    assert found == DiscoveryState("DNS name a (A)", 2, "silent", datetime.fromtimestamp(7, UTC))
    well = registry_pb2.DiscoveryView(source="DNS name a (A)", instances=2)
    assert decode_service(registry_pb2.ServiceView(discovery=well)).discovery == DiscoveryState(
        "DNS name a (A)", 2
    )


def test_the_guides_definitions() -> None:
    service = ServiceDefinition(check_interval=30, check_timeout=5)
    circuit = CircuitConfig(
        failure_threshold=5, recovery_timeout=30, half_open_timeout=10, failure_window=60, min_throughput=2
    )
    assert service.circuit == circuit
    assert encode_registration(request(definition=service)).service.service_name == "orders"


def test_without_a_definition_no_service_is_sent() -> None:
    assert not encode_registration(request()).HasField("service")


def test_an_instance_is_sent_as_it_is() -> None:
    message = encode_registration(request(weight=3, metadata={"zone": "a"}, ttl=20))
    assert (message.instance.weight, dict(message.instance.metadata), message.ttl) == (3, {"zone": "a"}, 20)


def test_every_impossible_value_is_named() -> None:
    bad = ServiceDefinition(
        check_interval="soon",  # type: ignore[arg-type]
        healthy_threshold=-1,
        load_balancer="best",  # type: ignore[arg-type]
        circuit=CircuitConfig(failure_threshold=2.5),  # type: ignore[arg-type]
    )
    with pytest.raises(InvalidDefinition) as raised:
        encode_registration(request(port="http", metadata={"a": 1}, definition=bad))
    fields = [problem.split(":")[0] for problem in raised.value.problems]
    assert fields == [
        "port",
        "metadata",
        "healthy_threshold",
        "check_interval",
        "load_balancer",
        "circuit.failure_threshold",
    ]
    assert "round_robin, least_request, ip_hash" in str(raised.value)


def test_a_definition_of_another_service_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match=r"'payments'.*'orders'"):
        encode_registration(request(definition=ServiceDefinition("payments")))


def test_a_service_view() -> None:
    orders = resources_pb2.Instance(service_name="orders", instance_id="a", host="h", port=1, weight=2)
    fresh = resources_pb2.Instance(service_name="orders", instance_id="b", host="h", port=2, weight=1)
    service = decode_service(
        registry_pb2.ServiceView(
            service=resources_pb2.Service(service_name="orders"),
            instances=[
                registry_pb2.InstanceView(
                    instance=orders, status=status_pb2.INSTANCE_STATUS_HEALTHY, last_check=1_700_000_000.5
                ),
                registry_pb2.InstanceView(instance=fresh),
            ],
        )
    )
    assert service.instances["a"].status == ServiceStatus.HEALTHY
    assert service.instances["a"].last_check == datetime.fromtimestamp(1_700_000_000.5, UTC)
    assert service.instances["b"].status == ServiceStatus.STARTING
    assert service.instances["b"].last_check is None
    assert (service.healthy, service.total) == (1, 2)


def test_values_of_a_newer_control_plane_read_as_the_default() -> None:
    view = registry_pb2.ServiceView(service=resources_pb2.Service(load_balancer=99))  # type: ignore[arg-type]
    view.instances.add(status=99)
    service = decode_service(view)
    assert service.definition.load_balancer is LoadBalancer.ROUND_ROBIN
    assert service.instances[""].status is ServiceStatus.STARTING


def test_routes_by_prefix_none_lost() -> None:
    def view(name: str, **route: Any) -> registry_pb2.RouteView:
        return registry_pb2.RouteView(name=name, route=resources_pb2.Route(service_name=name, **route))

    routes = decode_routes(
        [
            view("tenant", prefix="/orders", hosts=["a.example"]),
            view("orders", prefix="/orders", methods=["GET", "POST"], scopes=["orders:read"]),
            view("exact", path="/one", public=True),
        ]
    )
    assert list(routes) == ["/one", "/orders", "/orders (tenant)"]
    assert routes["/orders"].methods == ("GET", "POST")
    assert routes["/orders (tenant)"].hosts == ("a.example",)
    assert (routes["/one"].path, routes["/one"].prefix, routes["/one"].timeout) == ("/one", None, None)


def test_a_circuit_view() -> None:
    report = status_pb2.CircuitReport(
        service_name="payments",
        state=status_pb2.CIRCUIT_STATE_OPEN,
        last_state_change=1_700_000_000,
        total_requests=10,
        failed_requests=5,
        rejected_requests=2,
        recent_failures=4,
        reason="Circuit opened after 5 failures",
    )
    config = resources_pb2.Circuit(failure_threshold=5, failure_window=60)
    message = registry_pb2.CircuitView(circuit=report, config=config, dataplanes={"gateway-1": report})
    view = decode_circuit(message)
    assert view.fleet.state is CircuitState.OPEN
    assert view.fleet.stats.failed_requests == 5
    assert view.config.failure_window == 60
    assert view.dataplanes["gateway-1"] == view.fleet
