"""store and store confirm."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

from headgate.cli import options
from tests.support.fake_admin import FakeAdmin

Run = Callable[..., Result]

WHY = "the store went back from revision 20 to 3"


def test_a_store_that_is_well(logged_in: Run) -> None:
    result = logged_in("store")
    assert result.exit_code == 0
    assert result.output == "Store at revision 1, answers\nServed: revision 1\n"
    assert json.loads(logged_in("store", "-o", "json").output)["frozen"] is False


def test_confirming_asks_first(logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.frozen = WHY
    nobody = logged_in("store", "confirm")
    assert (nobody.exit_code, admin.frozen, "give --yes" in nobody.stderr) == (2, WHY, True)
    monkeypatch.setattr(options, "can_answer", lambda: True)
    assert f"Frozen: {WHY}" in logged_in("store").output
    refused = logged_in("store", "confirm", input="n\n")
    assert (refused.exit_code, admin.frozen) == (1, WHY)
    agreed = logged_in("store", "confirm", input="y\n")
    assert (agreed.exit_code, admin.frozen) == (0, "")
    assert WHY in agreed.output
    assert agreed.output.endswith("Confirmed: published from revision 1 on\n")


def test_confirming_for_programs(logged_in: Run, admin: FakeAdmin) -> None:
    admin.frozen = WHY
    assert logged_in("store", "confirm", "--yes").exit_code == 0
    assert not admin.frozen


def test_nobody_confirms_without_a_login(run: Run, admin: FakeAdmin) -> None:
    admin.frozen = WHY
    assert run("store", "confirm", "--yes").exit_code == 1
    assert admin.frozen
