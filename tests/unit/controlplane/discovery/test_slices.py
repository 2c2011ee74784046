"""EndpointSlices become instances: readiness, termination, ports, zones, families, and everything malformed."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.discovery.answer import Answer
from controlplane.discovery.slices import MOST_SLICES, Slice, Slices, answer, read
from controlplane.model.base import parse_as
from controlplane.model.discovery import KubernetesSource


def allowed(host: str) -> None:
    """No host is refused."""


def source(**fields: object) -> KubernetesSource:
    return parse_as(KubernetesSource, {"namespace": "shop", "service": "orders", **fields})


def endpoint(address: str, pod: str = "", zone: str = "", **conditions: bool | None) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    if pod:
        made["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "shop"}
    return made | ({"zone": zone} if zone else {})


def raw(
    *endpoints: dict[str, Any], name: str = "orders-abc", ports: object = (("http", 8080),), **fields: Any
) -> dict[str, Any]:
    """A slice as the API sends it."""
    listed = [{"name": one, "port": number, "protocol": "TCP"} for one, number in ports]  # type: ignore[attr-defined]
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "orders"}},
        "addressType": "IPv4",
        "ports": listed,
        "endpoints": list(endpoints),
        **fields,
    }


def made(*objects: dict[str, Any]) -> list[Slice]:
    return [one for one in map(read, objects) if one is not None]


def told(found: Answer) -> dict[str, tuple[str, int | None, bool]]:
    return {one.instance_id: (one.host, one.port, one.draining) for one in found.instances or ()}


def test_a_ready_pod_is_an_instance_of_its_name() -> None:
    found = answer(source(), made(raw(endpoint("10.1.0.5", "orders-7d9-x", "eu-1a", ready=True))), allowed)
    assert told(found) == {"orders-7d9-x": ("10.1.0.5", 8080, False)}
    assert found.instances and found.instances[0].metadata == {"zone": "eu-1a"}
    assert found.problem == ""


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, False),
        ({"ready": None}, False),
        ({"ready": True, "serving": True, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, None),
        ({"ready": False, "serving": False, "terminating": False}, None),
        ({"ready": False}, None),
        # publishNotReadyAddresses
        ({"ready": True, "serving": False, "terminating": True}, False),
    ],
)
def test_conditions(conditions: dict[str, bool | None], expected: bool | None) -> None:
    one = endpoint("10.1.0.2", "one") | {"conditions": conditions}
    slices = made(raw(endpoint("10.1.0.1", "stays", ready=True), one))
    found = told(answer(source(), slices, allowed))
    assert (found["one"][2] if "one" in found else None) is expected


def test_without_a_ready_pod_those_that_end_and_still_serve_get_the_requests() -> None:
    ending = endpoint("10.1.0.1", "one", ready=False, serving=True, terminating=True)
    assert told(answer(source(), made(raw(ending)), allowed)) == {"one": ("10.1.0.1", 8080, False)}


def test_no_pod_is_no_instance_and_no_problem() -> None:
    assert answer(source(), made(raw()), allowed) == Answer(())


def test_an_unknown_service() -> None:
    problem = "Kubernetes Service shop/orders has no EndpointSlices: it does not exist, or has no selector"
    assert answer(source(), [], allowed) == Answer((), problem)


@pytest.mark.parametrize(
    ("port", "ports", "expected"),
    [
        ("http", [("http", 8080), ("metrics", 9090)], 8080),
        (9090, [("http", 8080), ("metrics", 9090)], 9090),
        (None, [("", 8080)], 8080),
        (None, [("a", 1), ("b", 2)], "has several ports, name one of a (1), b (2)"),
        ("grpc", [("http", 8080)], "has no port 'grpc', but http (8080)"),
        (80, [("", 8080)], "has no port 80, but unnamed (8080)"),
        (None, [], "has no TCP port"),
    ],
)
def test_ports(port: object, ports: list[tuple[str, int]], expected: int | str) -> None:
    found = answer(source(port=port), made(raw(endpoint("10.1.0.1", "one"), ports=ports)), allowed)
    if isinstance(expected, int):
        assert told(found)["one"][1] == expected
    else:
        assert found == Answer((), f"Kubernetes Service shop/orders {expected}")


def test_a_named_target_port_may_differ_among_pods() -> None:
    slices = made(
        raw(endpoint("10.1.0.1", "one"), name="a"),
        raw(endpoint("10.1.0.2", "two"), name="b", ports=[("http", 9090)]),
    )
    found = answer(source(port="http"), slices, allowed)
    assert {name: port for name, (_, port, _) in told(found).items()} == {"one": 8080, "two": 9090}


def test_a_slice_without_the_port_does_not_hide_the_others() -> None:
    slices = made(
        raw(endpoint("10.1.0.1", "one"), name="a"),
        raw(endpoint("10.1.0.2", "two"), name="b", ports=[("web", 9090)]),
    )
    found = answer(source(port="http"), slices, allowed)
    assert set(told(found)) == {"one"} and "has no port 'http'" in found.problem


def test_zones() -> None:
    slices = made(raw(endpoint("10.1.0.1", "one", "eu-1a"), endpoint("10.1.0.2", "two", "eu-1b")))
    assert set(told(answer(source(zones=["eu-1b"]), slices, allowed))) == {"two"}
    assert answer(source(zones=["us"]), slices, allowed) == Answer((), "no endpoint is in us")


def test_a_pod_with_two_families_is_one_instance() -> None:
    slices = made(
        raw(endpoint("fd00::1", "one"), name="a", addressType="IPv6"),
        raw(endpoint("10.1.0.1", "one"), name="b"),
    )
    assert told(answer(source(), slices, allowed)) == {"one": ("10.1.0.1", 8080, False)}
    assert told(answer(source(), slices[:1], allowed)) == {"one": ("fd00::1", 8080, False)}


def test_names_alone_are_no_addresses() -> None:
    found = answer(source(), made(raw(endpoint("a.example"), addressType="FQDN")), allowed)
    assert found == Answer((), "Kubernetes Service shop/orders has neither IPv4 nor IPv6 endpoints")


def test_an_endpoint_in_two_slices_counts_once_and_the_ready_one() -> None:
    slices = made(
        raw(endpoint("10.1.0.1", "one", ready=False, serving=True, terminating=True), name="a"),
        raw(endpoint("10.1.0.1", "one", ready=True), name="b"),
    )
    assert told(answer(source(), slices, allowed)) == {"one": ("10.1.0.1", 8080, False)}


def test_endpoints_that_are_no_pods_have_their_address_as_name() -> None:
    assert set(told(answer(source(), made(raw(endpoint("10.1.0.1"))), allowed))) == {"10.1.0.1-8080"}


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x", "labels": {"kubernetes.io/service-name": 7}}, "addressType": "IPv4"},
        raw({"addresses": []}),
        raw({"conditions": {}}),
        raw(ports=[("a", "b")]) | {"ports": 7},
        raw() | {"endpoints": {"a": 1}},
    ],
)
def test_what_is_no_slice_is_none(broken: object) -> None:
    assert read(broken) is None


def test_ports_without_a_number_and_of_other_protocols_are_left_out() -> None:
    ports = [
        {"name": "a", "port": None},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "b", "port": 1},
    ]
    (found,) = made(raw() | {"ports": ports})
    assert found.ports == (("b", 1),)


def test_changes_concern_the_services_that_they_touch() -> None:
    slices = Slices({"orders", "stock"})
    (one,) = made(raw(endpoint("10.1.0.1", "one")))
    assert set(slices.replace([one])) == {"orders", "stock"}
    assert slices.put(one) == ()
    (moved,) = made(
        raw() | {"metadata": {"name": one.name, "labels": {"kubernetes.io/service-name": "stock"}}}
    )
    assert slices.put(moved) == {"orders", "stock"}
    assert slices.of("stock") == [moved] and slices.of("orders") == []
    (other,) = made(
        raw() | {"metadata": {"name": one.name, "labels": {"kubernetes.io/service-name": "else"}}}
    )
    assert slices.put(other) == {"stock"}
    assert slices.remove(one.name) == () and slices.of("stock") == []


def test_slices_beyond_the_bound_are_counted() -> None:
    slices = Slices({"orders"})
    for number in range(MOST_SLICES + 3):
        slices.put(Slice(f"s{number}", "orders", "IPv4", (), ()))
    assert len(slices.of("orders")) == MOST_SLICES and slices.dropped == 3


def test_a_pod_without_an_address_of_the_first_family_has_that_of_the_second() -> None:
    """A Service that gets a second family keeps its pods, which have one address: those of the first may have no slice,
    an empty one, or one with newer pods only."""
    old, new = endpoint("fd00::1", "old", ready=True), endpoint("fd00::2", "new", ready=True)
    second = raw(old, new, name="b", addressType="IPv6")
    for first in (raw(name="a"), raw(endpoint("10.1.0.9", "leaving", ready=False), name="a")):
        found = answer(source(), made(first, second), allowed)
        assert told(found) == {"old": ("fd00::1", 8080, False), "new": ("fd00::2", 8080, False)}
    first = raw(endpoint("10.1.0.2", "new", ready=True), name="a")
    found = answer(source(), made(first, second), allowed)
    assert told(found) == {"old": ("fd00::1", 8080, False), "new": ("10.1.0.2", 8080, False)}


def test_endpoints_of_no_pod_are_those_of_one_family() -> None:
    first, second = raw(endpoint("10.1.0.1")), raw(endpoint("fd00::1"), name="b", addressType="IPv6")
    assert set(told(answer(source(), made(first, second), allowed))) == {"10.1.0.1-8080"}
    assert len(told(answer(source(), made(second), allowed))) == 1


def test_a_slice_may_move_to_another_service() -> None:
    slices = Slices({"orders", "stock"})
    (one,) = made(raw(endpoint("10.1.0.1", "one")))
    (other,) = made(raw(metadata={"name": one.name, "labels": {"kubernetes.io/service-name": "stock"}}))
    assert set(slices.put(one)) == {"orders"}
    assert set(slices.put(other)) == {"orders", "stock"}
    assert (slices.of("orders"), slices.of("stock")) == ([], [other])
    assert set(slices.remove(one.name)) == {"stock"} and not slices.of("stock")
