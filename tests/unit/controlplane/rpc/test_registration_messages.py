"""Registrations from the wire: defaults where nothing was said, zero where zero was meant, all problems at once."""

from __future__ import annotations

import pytest

from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Circuit, Instance, Retries, Service, Timeouts
from controlplane.rpc.wire import resource_messages
from controlplane.rpc.wire.registration_messages import registration
from headgate_api.v1 import registry_pb2
from headgate_api.v1 import resources_pb2 as pb

INSTANCE = pb.Instance(service_name="orders", instance_id="a", host="127.0.0.1", port=9001)


def service_of(service: pb.Service) -> Service | None:
    return registration(registry_pb2.RegisterRequest(instance=INSTANCE, service=service))[1]


def test_what_is_left_out_is_the_default() -> None:
    instance, service = registration(registry_pb2.RegisterRequest(instance=INSTANCE))
    assert instance == Instance(service_name="orders", instance_id="a", host="127.0.0.1", port=9001)
    assert (instance.weight, instance.draining, service) == (1, False, None)
    assert service_of(pb.Service(service_name="orders")) == Service(service_name="orders")


def test_a_service_comes_back_as_it_went_out() -> None:
    service = Service(
        service_name="orders",
        check_path="/up",
        check_interval=1.5,
        load_balancer="least_request",
        circuit=Circuit(failure_ratio=0, failure_threshold=3),
        timeouts=Timeouts(connect=1, response=2, idle=3),
        retries=Retries(attempts=0),
    )
    assert service_of(resource_messages.message(pb.Service, service)) == service


def test_an_instance_comes_back_as_it_went_out() -> None:
    instance = Instance(
        service_name="orders",
        instance_id="a",
        host="::1",
        port=9001,
        weight=7,
        metadata={"zone": "b"},
        draining=True,
    )
    request = registry_pb2.RegisterRequest(instance=resource_messages.message(pb.Instance, instance))
    assert registration(request) == (instance, None)


def test_zero_means_default_except_where_it_says_something() -> None:
    some = service_of(pb.Service(service_name="orders", circuit=pb.Circuit(failure_threshold=3)))
    assert some is not None and some.circuit == Circuit(failure_threshold=3)
    none = service_of(pb.Service(service_name="orders", retries=pb.Retries()))
    assert none is not None and none.retries.attempts == 0


def problems(request: registry_pb2.RegisterRequest) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        registration(request)
    return list(map(str, caught.value.problems))


def test_problems_of_both_at_once() -> None:
    request = registry_pb2.RegisterRequest(
        instance=pb.Instance(service_name="orders", instance_id="a", host="127.0.0.1", weight=5000),
        service=pb.Service(service_name="Orders", check_interval=-1, retries=pb.Retries(on=["reset", "404"])),
    )
    assert [problem.partition(":")[0] for problem in problems(request)] == [
        "instance.weight",
        "instance.port",
        "service.service_name",
        "service.check_interval",
        "service.retries.on[1]",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_numbers_that_are_none(value: float) -> None:
    service = pb.Service(service_name="orders", check_interval=value)
    (problem,) = problems(registry_pb2.RegisterRequest(instance=INSTANCE, service=service))
    assert problem.startswith("service.check_interval: ")


def test_a_balancer_of_a_newer_version() -> None:
    service = pb.Service.FromString(b"\x0a\x06orders\x38\x63")  # load_balancer 99
    (problem,) = problems(registry_pb2.RegisterRequest(instance=INSTANCE, service=service))
    assert problem == "service.load_balancer: must be 'round_robin', 'least_request' or 'ip_hash'"


def test_nothing_at_all() -> None:
    assert problems(registry_pb2.RegisterRequest()) == ["instance: is required"]
