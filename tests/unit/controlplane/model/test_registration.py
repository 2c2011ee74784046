"""Who may register instances, as a field of a service: what is refused, and how it is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.model.base import parse_as
from controlplane.model.problems import InvalidConfig
from controlplane.model.registration import Registration, ServiceAccount
from controlplane.model.resources import Service
from controlplane.model.stored import encode

STOCK = {"namespace": "shop", "service_account": "stock"}


def service(registration: Any) -> Service:
    return parse_as(Service, {"service_name": "stock", "registration": registration})


@pytest.mark.parametrize(
    ("registration", "problems"),
    [
        (
            {"kubernetes": [{"namespace": "shop"}]},
            ["registration.kubernetes[0].service_account: is required"],
        ),
        (
            {"kubernetes": [{**STOCK, "namespace": "*"}]},
            ["registration.kubernetes[0].namespace: must be 1 to 63"],
        ),
        (
            {"kubernetes": [{**STOCK, "service_account": "a/b"}]},
            ["registration.kubernetes[0].service_account: must"],
        ),
        (
            {"kubernetes": [{**STOCK, "service_account": ""}]},
            ["registration.kubernetes[0].service_account: must"],
        ),
        ({"kubernetes": [STOCK, STOCK]}, ["registration.kubernetes: 'shop/stock' is there twice"]),
        ({"kubernetes": STOCK}, ["registration.kubernetes: must be a list"]),
        ({"spiffe": []}, ["registration.spiffe: "]),
    ],
)
def test_wrong(registration: Any, problems: list[str]) -> None:
    with pytest.raises(InvalidConfig) as refused:
        service(registration)
    found = [str(problem) for problem in refused.value.problems]
    assert len(found) == len(problems)
    assert all(one.startswith(start) for one, start in zip(found, problems, strict=True)), found


def test_the_number_of_accounts_is_bounded() -> None:
    many = [{**STOCK, "service_account": f"a{number}"} for number in range(65)]
    with pytest.raises(InvalidConfig):
        service({"kubernetes": many})
    assert len((service({"kubernetes": many[:64]}).registration or Registration()).kubernetes) == 64


def test_who_is_allowed() -> None:
    registration = service({"kubernetes": [STOCK, {**STOCK, "namespace": "web"}]}).registration
    assert registration is not None
    assert registration.allows(ServiceAccount(namespace="web", service_account="stock"))
    assert not registration.allows(ServiceAccount(namespace="web", service_account="other"))
    assert not Registration().allows(ServiceAccount(namespace="shop", service_account="stock"))


def test_a_service_without_it_is_stored_as_before() -> None:
    """Older control planes cannot read a service with the field."""
    assert "registration" not in json.loads(encode(Service(service_name="stock")))
    assert json.loads(encode(service({"kubernetes": [STOCK]})))["registration"] == {"kubernetes": [STOCK]}
