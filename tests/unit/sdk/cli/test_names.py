"""Names that are mistyped: what may be meant is named, in one sentence."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.fake_admin import FakeAdmin, problem
from tests.unit.sdk.cli.conftest import Run


@pytest.fixture
def filled(logged_in: Run, admin: FakeAdmin) -> Run:
    admin.sections["routes"] = {name: {"name": name} for name in ("orders", "payments")}
    instance = {"status": "healthy"}
    admin.views["services"] = [{"service_name": "orders", "instances": {"orders-1": instance}}]
    admin.views["circuits"] = [{"service_name": "orders"}]
    admin.views["dataplanes"] = [{"node": "gateway-1"}]
    return logged_in


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("get route ordrs", "there is no route 'ordrs': did you mean orders?"),
        ("get route zzz", "there is no route 'zzz'"),
        ("get dataplane gateway1", "there is no dataplane 'gateway1': did you mean gateway-1?"),
        ("delete route payment", "there is no route 'payment': did you mean payments?"),
        ("edit route ordrs", "there is no route 'ordrs': did you mean orders?"),
        ("circuits reset ordres", "there is no service 'ordres': did you mean orders?"),
        ("drain ordres orders-1", "service 'ordres' has no instances: did you mean orders?"),
        ("drain orders order-1", "service orders has no instance 'order-1': did you mean orders-1?"),
        ("drain orders order-1 --undo", "service orders has no instance 'order-1': did you mean orders-1?"),
    ],
)
def test_what_may_be_meant(filled: Run, admin: FakeAdmin, command: str, told: str) -> None:
    result = filled(*command.split())
    assert (result.exit_code, result.stderr) == (1, f"headgate: {told}\n")


def test_an_instance_that_is_declared_is_not_drained(filled: Run, admin: FakeAdmin) -> None:
    services = [{"service_name": "orders", "instances": {"a": {"status": "healthy"}}}]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=services)
        return problem(404, "instance 'orders/a' does not exist")

    admin.override = answer
    for options in ((), ("--undo",)):
        result = filled("drain", "orders", "a", *options)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "it is declared in service orders, and only instances that register can be" in result.stderr


def test_an_instance_that_was_discovered_is_not_drained(filled: Run, admin: FakeAdmin) -> None:
    found = {"status": "healthy", "source": "discovered"}
    services = [{"service_name": "orders", "instances": {"a": found}}]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=services)
        return problem(404, "instance 'orders/a' does not exist")

    admin.override = answer
    result = filled("drain", "orders", "a")
    told = "headgate: instance orders/a was discovered: only its source can take it out\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_who_may_not_read_names_is_told_none(filled: Run, admin: FakeAdmin) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        one = request.url.path.endswith("/ordrs")
        return problem(404, "it does not exist") if one else problem(403, "Not enough permissions")

    admin.override = answer
    assert filled("get", "route", "ordrs").stderr == "headgate: there is no route 'ordrs'\n"


def test_a_file_in_the_place_of_a_kind(filled: Run, admin: FakeAdmin, home: Any) -> None:
    (home / "work/old.yaml").write_text("routes: [{name: orders}]")
    result = filled("delete", "old.yaml")
    told = "headgate: to delete what a file declares: headgate delete -f old.yaml\n"
    assert (result.exit_code, result.stderr, admin.requests) == (2, told, [])


def test_one_problem_is_one_sentence(filled: Run, admin: FakeAdmin, home: Any) -> None:
    detail = "The configuration has 1 problem; nothing was changed"
    errors = [{"field": "", "detail": "scope 'x' is needed by route 'orders'"}]
    admin.override = lambda _: problem(400, detail, errors=errors)
    told = "headgate: scope 'x' is needed by route 'orders'; nothing was changed\n"
    assert filled("delete", "scope", "x").stderr == told

    errors[:] = [{"field": "routes[0].prefix", "detail": "must start with '/'"}]
    (home / "work/a.yaml").write_text("routes:\n  - name: r\n    prefix: x\n")
    told = "headgate: a.yaml:3: route r: prefix: must start with '/'; nothing was changed\n"
    assert filled("apply", "-f", "a.yaml").stderr == told
