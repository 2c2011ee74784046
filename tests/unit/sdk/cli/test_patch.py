"""patch: some fields of a resource, as JSON or YAML."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from controlplane.api.openapi import describe
from controlplane.api.table import operations
from headgate.cli import waiting
from tests.support import fake_admin
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run


@pytest.fixture
def orders(logged_in: Run, admin: FakeAdmin) -> Run:
    admin.sections["routes"]["orders"] = {"name": "orders", "prefix": "/orders", "timeout": None}
    return logged_in


@pytest.mark.parametrize("patch", ['{"timeout": 3.0}', "timeout: 3.0", "-"])
def test_a_field(orders: Run, admin: FakeAdmin, patch: str) -> None:
    result = orders("patch", "route", "orders", "-p", patch, input='{"timeout": 3.0}')
    assert (result.exit_code, result.stdout) == (0, "Changed route orders\n")
    assert admin.sections["routes"]["orders"] == {"name": "orders", "prefix": "/orders", "timeout": 3.0}
    assert orders("patch", "routes", "orders", "-p", "timeout: 3.0").stdout == "Nothing changed\n"


def test_it_is_sent_as_a_merge_patch(orders: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    answer = admin._answer

    def keep(request: httpx.Request, path: list[str]) -> httpx.Response:
        sent.append((request.headers.get("content-type"), request.content))
        return answer(request, path)

    monkeypatch.setattr(admin, "_answer", keep)
    orders("patch", "route", "orders", "-p", "{labels: {team: shop, old: null}}")
    assert sent[-1] == ("application/merge-patch+json", b'{"labels": {"team": "shop", "old": null}}')


def test_a_password_is_a_change(logged_in: Run, admin: FakeAdmin) -> None:
    admin.sections["users"]["jo"] = {"username": "jo"}
    assert logged_in("patch", "user", "jo", "-p", "password: another one").stdout == "Changed user jo\n"


@pytest.mark.parametrize("patch", ["{", "[1]", "timeout", ""])
def test_a_patch_that_is_none_is_not_sent(orders: Run, admin: FakeAdmin, patch: str) -> None:
    result = orders("patch", "route", "orders", "-p", patch)
    assert (result.exit_code, admin.requests) == (2, [])
    assert "the patch is neither JSON nor YAML" in result.stderr


def test_what_is_missing_is_said(orders: Run, admin: FakeAdmin) -> None:
    assert "--patch" in orders("patch", "route", "orders").stderr
    assert orders("patch", "route", "-p", "{}").exit_code == 2
    absent = orders("patch", "route", "order", "-p", "{}")
    assert (absent.exit_code, absent.stderr) == (
        1,
        "headgate: there is no route 'order': did you mean orders?\n",
    )


def test_a_refusal_names_the_field(orders: Run, admin: FakeAdmin) -> None:
    admin.refuse = [{"field": "prefix", "detail": "must start with '/'"}]
    result = orders("patch", "route", "orders", "-p", "prefix: x")
    assert (result.exit_code, "prefix: must start with '/'" in result.stderr) == (1, True)


def test_a_dry_run_changes_nothing(orders: Run, admin: FakeAdmin) -> None:
    admin.openapi = dict(describe(operations(), ""))
    result = orders("patch", "route", "orders", "-p", "timeout: 3.0", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "Would change route orders\n")
    assert admin.sections["routes"]["orders"]["timeout"] is None
    same = orders("patch", "route", "orders", "-p", "prefix: /orders", "--dry-run")
    assert (same.exit_code, same.stdout) == (0, "Nothing would change\n")


def test_an_older_control_plane_would_make_the_change(orders: Run, admin: FakeAdmin) -> None:
    admin.openapi = {"paths": {}}
    result = orders("patch", "route", "orders", "-p", "timeout: 3.0", "--dry-run")
    assert (result.exit_code, "knows no dry run of a patch" in result.stderr) == (1, True)
    assert not [one for one in admin.requests if one.startswith("PATCH")]


def test_the_data_planes_are_waited_for(
    orders: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[int, float, str]] = []

    def follow(_: object, revision: int, seconds: float, quorum: str) -> dict[str, Any]:
        waited.append((revision, seconds, quorum))
        return {"nodes": ["a"], "serving": 1, "needed": 1, "digest": "0123456789abcdef"}

    monkeypatch.setattr(fake_admin, "_tag", lambda resource: '"7"')
    monkeypatch.setattr(waiting, "follow", follow)
    result = orders("patch", "route", "orders", "-p", "timeout: 3.0", "--wait", "--timeout", "5")
    assert (result.exit_code, waited) == (0, [(7, 5.0, "all")])
    assert result.stdout.splitlines()[-1] == "Served by 1 data plane (1 needed), digest 0123456789ab"
    both = orders("patch", "route", "orders", "-p", "{}", "--wait", "--dry-run")
    assert (both.exit_code, "--dry-run writes nothing" in both.stderr) == (2, True)
