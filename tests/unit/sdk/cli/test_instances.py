"""`headgate instances`: all, those of a service, and the verdicts on one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import Result

from tests.support.fake_admin import FakeAdmin

Run = Callable[..., Result]
INSTANCE: dict[str, Any] = {
    "status": "unhealthy",
    "last_check": None,
    "reason": "refused",
    "host": "10.0.0.1",
    "port": 9000,
    "weight": 1,
    "metadata": {},
    "workers": 0,
    "source": "static",
}
SERVICES = [
    {"service_name": "orders", "instances": {"a": INSTANCE}, "healthy": 0, "total": 1},
    {"service_name": "payments", "instances": {"b": INSTANCE}, "healthy": 0, "total": 1},
]
VERDICTS: dict[str, Any] = {
    "service_name": "orders",
    "instance_id": "a",
    "status": "unhealthy",
    "reason": "refused",
    "healthy": 1,
    "unhealthy": 2,
    "starting": 0,
    "judges": [
        {"dataplane": "gw-1", "status": "unhealthy", "since": "2026-11-30T03:00:00.000Z"},
        {"dataplane": "gw-3", "status": "healthy", "since": None},
    ],
    "verdicts": [
        {
            "at": "2026-11-30T03:00:01.000Z",
            "dataplane": None,
            "status": "unhealthy",
            "previous": "healthy",
            "reason": "refused",
            "healthy": 1,
            "unhealthy": 2,
        },
        {
            "at": "2026-11-30T03:00:00.000Z",
            "dataplane": "gw-1",
            "status": "unhealthy",
            "previous": None,
            "reason": "refused",
            "healthy": 2,
            "unhealthy": 1,
        },
    ],
    "noted_since": "2026-11-29T00:00:00.000Z",
}


@pytest.fixture
def filled(admin: FakeAdmin, logged_in: Run) -> Run:
    admin.views = {"services": SERVICES}
    return logged_in


def test_all_and_those_of_a_service(filled: Run) -> None:
    assert [row["instance_id"] for row in json.loads(filled("instances", "-o", "json").stdout)] == ["a", "b"]
    done = filled("instances", "payments")
    assert done.exit_code == 0 and "10.0.0.1" in done.stdout and "orders" not in done.stdout
    assert filled("instances", "payment").exit_code == 1


def test_the_verdicts_on_one(admin: FakeAdmin, logged_in: Run) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=VERDICTS)

    admin.override = answer
    done = logged_in("instances", "orders", "a")
    assert asked == ["/api/v1/services/orders/instances/a/verdicts"]
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:2] == [
        "Instance orders/a is unhealthy: refused",
        "1 healthy, 2 unhealthy, 0 without a verdict",
    ]
    assert "gw-1 unhealthy 2026-11-30T03:00:00.000Z" in lines and "1 more" in lines
    assert "2026-11-30T03:00:01.000Z (the fleet) unhealthy healthy 1 of 3 healthy refused" in lines
    assert json.loads(logged_in("instances", "orders", "a", "-o", "json").stdout) == VERDICTS


def test_an_instance_that_there_is_not(admin: FakeAdmin, logged_in: Run) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/verdicts"):
            return httpx.Response(404, json={"status": 404, "detail": "Instance orders/x does not exist"})
        return httpx.Response(200, json=SERVICES)

    admin.override = answer
    done = logged_in("instances", "orders", "x")
    assert done.exit_code == 1 and "service orders has no instance 'x'" in done.output
    older = logged_in("instances", "orders", "a")
    assert older.exit_code == 1 and "older" in older.output
