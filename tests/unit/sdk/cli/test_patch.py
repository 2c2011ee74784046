"""patch: some fields of a resource, as JSON or YAML."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

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
