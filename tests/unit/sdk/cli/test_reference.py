"""reference: fields out of the description that the API gives of itself."""

from __future__ import annotations

import pytest

from controlplane.api.openapi import describe
from controlplane.api.table import operations
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run


@pytest.fixture
def described(logged_in: Run, admin: FakeAdmin) -> Run:
    admin.openapi = dict(describe(operations(), "0.1.0"))
    return logged_in


def test_kinds(described: Run) -> None:
    lines = described("reference").stdout.splitlines()
    assert lines[0].split() == ["KIND", "IN", "DOCUMENTS", "MEANING"]
    assert [line.split()[:2] for line in lines[1:3]] == [["service", "services"], ["route", "routes"]]


def test_a_kind(described: Run) -> None:
    output = described("reference", "routes").stdout
    assert output.startswith("route\n  Matches requests and names the service that answers them.")
    assert "\n  service_name  <string>\n    Service that answers the requests.\n" in output
    assert "\n  public  <true or false; default false>\n" in output
    assert "\n  timeout  <number 0.01 to 86400>\n" in output


def test_a_field(described: Run) -> None:
    output = described("reference", "route.rate_limits").stdout
    assert output == "route.rate_limits  <list of string>\n  Rate limits, applied in this order.\n"


def test_a_field_with_fields(described: Run) -> None:
    output = described("reference", "service.circuit").stdout
    assert "\n  failure_threshold  <whole number 1 to 1000000; default 5>\n" in output
    deeper = described("reference", "service.circuit.failure_threshold").stdout
    assert deeper.startswith("service.circuit.failure_threshold  <whole number 1 to 1000000; default 5>\n")
    assert "\n  port  <" in described("reference", "service.instances").stdout
    assert described("reference", "service.instances[0].port").stdout.startswith("service.instances.port  <")


def test_every_field_of_every_kind_has_a_type(described: Run, admin: FakeAdmin) -> None:
    for kind in ("service", "route", "scope", "user", "rate_limit", "issuer"):
        result = described("reference", kind)
        assert (result.exit_code, "<any" in result.stdout) == (0, False), result.output


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("route.rate_limit", "route has no field 'rate_limit': did you mean rate_limits? it has name,"),
        ("route.name.x", "route.name has no fields, so there is no 'x' in it"),
        ("rout", "there is no kind 'rout': did you mean route?"),
        ("instances", "there is nothing to write of kind 'instances'"),
    ],
)
def test_what_does_not_exist(described: Run, field: str, told: str) -> None:
    result = described("reference", field)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"headgate: {told}")


def test_a_description_of_another_form(logged_in: Run, admin: FakeAdmin) -> None:
    admin.openapi = {"paths": {}}
    result = logged_in("reference", "route")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
