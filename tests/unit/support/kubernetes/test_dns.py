"""Answers for Services, by the rules of the Kubernetes DNS specification."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support.kubernetes.dns import SRV, A, Object, answer, encode, find

SUFFIX = ("shop", "svc", "cluster", "local")
PORTS = [{"name": "grpc", "port": 50051, "protocol": "TCP"}]


class Services:
    """An API with the Services of one namespace."""

    def __init__(self, address: str, *endpoints: Object, **spec: object) -> None:
        self._service: Object = {"spec": {"clusterIP": address, "ports": PORTS, **spec}}
        self._slices: list[Object] = [{"endpoints": list(endpoints), "ports": PORTS}, {"endpoints": None}]

    def service(self, namespace: str, name: str) -> Object | None:
        return self._service if (namespace, name) == ("shop", "orders") else None

    def slices(self, namespace: str, name: str) -> Sequence[Object]:
        return self._slices


def endpoint(address: str, ready: bool = True, **fields: str) -> Object:
    return {"addresses": [address], "conditions": {"ready": ready}, **fields}


def addresses(api: Services, *front: str) -> list[str] | None:
    found = find([*front, "orders", *SUFFIX], api)
    return (
        None if found is None else [".".join(map(str, record.data)) for record in found if record.kind == A]
    )


def test_a_service_has_its_address() -> None:
    assert addresses(Services("10.96.0.7", endpoint("10.244.0.2"))) == ["10.96.0.7"]


def test_a_headless_service_has_the_addresses_of_ready_pods() -> None:
    pods = endpoint("10.244.0.2"), endpoint("10.244.0.3", ready=False)
    assert addresses(Services("None", *pods)) == ["10.244.0.2"]
    assert addresses(Services("None", *pods, publishNotReadyAddresses=True)) == ["10.244.0.2", "10.244.0.3"]


def test_a_pod_has_a_name_below_its_service() -> None:
    api = Services("None", endpoint("10.244.0.2", hostname="orders-0"), endpoint("10.244.0.3"))
    assert addresses(api, "orders-0") == ["10.244.0.2"]
    assert addresses(api, "10-244-0-3") == ["10.244.0.3"]
    assert addresses(api, "orders-1") is None


def test_ports_by_name() -> None:
    api = Services("None", endpoint("10.244.0.2", hostname="orders-0"))
    found = find(["_grpc", "_tcp", "orders", *SUFFIX], api)
    assert found is not None
    target = encode(["orders-0", "orders", *SUFFIX])
    assert [(record.kind, record.data) for record in found] == [
        (SRV, struct.pack("!HHH", 0, 100, 50051) + target)
    ]


def test_unknown_names_do_not_exist() -> None:
    api = Services("10.96.0.7")
    assert find(["other", *SUFFIX], api) is None
    assert find(["example", "org"], api) is None
    assert find(["svc", "cluster", "local"], api) is None


def test_answers_on_the_wire() -> None:
    api = Services("10.96.0.7")
    question = encode(["ORDERS", *SUFFIX]) + struct.pack("!HH", A, 1)
    reply = answer(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question, api)
    assert struct.unpack_from("!HHHHHH", reply) == (7, 0x8580, 1, 1, 0, 0)
    assert reply[12:].startswith(question)
    assert reply.endswith(bytes([10, 96, 0, 7]))


def test_an_existing_name_without_such_a_record_and_an_unknown_one() -> None:
    head = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0)
    aaaa = answer(head + encode(["orders", *SUFFIX]) + struct.pack("!HH", 28, 1), Services("10.96.0.7"))
    unknown = answer(head + encode(["x", *SUFFIX]) + struct.pack("!HH", A, 1), Services("10.96.0.7"))
    assert (aaaa[3] & 15, unknown[3] & 15) == (0, 3)
