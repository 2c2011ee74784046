"""Changes that take the admin API from the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.operation import ROOT
from controlplane.api.table import operations
from controlplane.model.builtin import ADMIN_PATHS, taken_away
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Resource, ResourceId, Route, Service

API = Route(name="headgate-api", prefix="/api/v1", service_name="controlplane", public=True)
SERVICE = Service(service_name="controlplane")


def route(name: str, **fields: Any) -> Route:
    return Route(name=name, **{"service_name": "shop", **fields})


def identity_of(resource: Resource) -> ResourceId:
    return resource.KIND, resource.name


def taken(there: list[Resource], after: list[Resource], gone: tuple[ResourceId, ...] = ()) -> str:
    """The name of the resource whose change takes it away; empty for none."""
    before = {identity_of(one): one for one in there}
    changes = [(identity_of(one), before.get(identity_of(one)), one) for one in after]
    found = taken_away(ResourceIndex(before), [*changes, *((one, before[one], None) for one in gone)])
    return found[0][1] if found else ""


def test_every_path_of_the_admin_api_is_known() -> None:
    paths = (one.path for one in operations() if one.path.startswith(f"{ROOT}/"))
    assert {path.removeprefix(f"{ROOT}/").partition("/")[0] for path in paths} == ADMIN_PATHS


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": ("admin.example",)},
        {"public": False},
        {"service_name": "shop"},
        {"prefix": "/elsewhere"},
        {"prefix": None, "path": "/api/v1"},
        {"methods": ("POST",)},
        {"strip_prefix": True},
        {"rewrite": "/x"},
    ],
    ids=str,
)
def test_the_route_itself(change: dict[str, Any]) -> None:
    changed = API.model_copy(update=change)
    assert taken([API], [changed]) == "headgate-api"
    assert not taken([changed], [changed.model_copy(update={"labels": {"a": "b"}})]), "it did not before"
    assert not taken([changed], [API])


@pytest.mark.parametrize(
    "change", [{"prefix": "/api"}, {"prefix": "/"}, {"methods": ("GET",)}, {"timeout": 3.0}]
)
def test_what_still_leads_there(change: dict[str, Any]) -> None:
    assert not taken([API], [API.model_copy(update=change)])


@pytest.mark.parametrize(
    "fields",
    [
        {"prefix": "/api/v1/services"},
        {"path": "/api/v1/auth/token", "methods": ("POST",)},
        {"prefix": "/api/v1/config/routes", "service_name": "controlplane"},
    ],
    ids=str,
)
def test_a_route_that_takes_a_path_of_the_admin_api(fields: dict[str, Any]) -> None:
    shadow = route("x", **fields)
    assert taken([API], [shadow]) == "x"
    assert not taken([API, shadow], [shadow.model_copy(update={"timeout": 1.0})]), "it is there already"
    assert not taken([API], [shadow.model_copy(update={"hosts": ("shop.example",)})]), "at its own host"


@pytest.mark.parametrize("prefix", ["/", "/api", "/api/v1/orders", "/api/v1/servicesx", "/api/v10/services"])
def test_routes_beside_it(prefix: str) -> None:
    assert not taken([API], [route("x", prefix=prefix)])


def test_routes_of_other_listeners_take_nothing() -> None:
    assert not taken([API], [route("x", prefix="/", service_name="x", listeners=("web",)), API])
    assert not taken([API], [route("x", path="/api/v1/apply", listeners=("web",))])
    assert taken([API], [route("x", path="/api/v1/apply", listeners=("web", "default"))]) == "x"
    assert taken([API], [API.model_copy(update={"listeners": ("web",)})]) == "headgate-api"


def test_another_route_may_lead_there_as_well() -> None:
    wider = route("mine", prefix="/api", service_name="controlplane", public=True)
    assert not taken([API, wider], [], gone=(identity_of(API),))
    assert not taken([API], [wider], gone=(identity_of(API),))
    assert taken([wider], [], gone=(identity_of(wider),)) == "mine"
    assert taken([wider.model_copy(update={"prefix": "/"})], [route("x", prefix="/api")]) == "x"


@pytest.mark.parametrize(
    ("change", "takes"),
    [
        ({"check_path": "/elsewhere"}, True),
        ({"instances": ({"instance_id": "a", "host": "10.0.0.1", "port": 1},)}, True),
        ({"tls": {"server_name": "gate"}}, True),
        ({"check_interval": 9.0}, False),
    ],
    ids=str,
)
def test_settings_of_the_service(change: dict[str, Any], takes: bool) -> None:
    changed = Service(**{"service_name": "controlplane", **change})
    assert taken([API, SERVICE], [changed]) == ("controlplane" if takes else "")
    assert not taken([API], [changed]), "it is created"
    assert not taken([], [Service(**{"service_name": "shop", **change})])
