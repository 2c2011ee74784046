"""get --watch: changes line by line, through outages, until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headgate.cli import watching
from tests.support.fake_admin import FakeAdmin, problem
from tests.unit.sdk.cli.conftest import Run


@pytest.fixture
def steps(admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens in the pauses between two questions; after the last one comes Ctrl-C."""
    steps: list[Callable[[], None]] = []

    def pause(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(watching, "sleep", pause)
    admin.sections["scopes"] = {
        "a": {"name": "a", "description": "one"},
        "b": {"name": "b", "description": ""},
    }
    return steps


def test_a_line_for_whatever_changes(
    logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]
) -> None:
    scopes: dict[str, Any] = admin.sections["scopes"]
    steps += [
        lambda: None,
        lambda: scopes.update(a={"name": "a", "description": "two"}),
        lambda: scopes.pop("b"),
    ]
    result = logged_in("get", "scopes", "--watch")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["SCOPE", "DESCRIPTION"],
        ["a", "one"],
        ["b"],
        ["a", "two"],
        ["gone", "b"],
    ]


def test_what_has_not_changed_is_not_read_again(
    logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]
) -> None:
    steps += [lambda: None, admin.sections["scopes"].clear, lambda: None]
    assert logged_in("get", "scopes", "--watch").exit_code == 0
    assert (admin.requests.count("GET api/v1/config/scopes"), admin.unchanged) == (4, 2)


def test_objects_for_programs(logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]) -> None:
    scopes = admin.sections["scopes"]
    steps += [scopes.clear]
    lines = logged_in("get", "scopes", "-w", "-o", "json").stdout.splitlines()
    seen = [json.loads(line) for line in lines]
    assert [(one["deleted"], one["object"]["name"]) for one in seen] == [
        (False, "a"),
        (False, "b"),
        (True, "a"),
        (True, "b"),
    ]


def test_an_outage_is_told_once_and_outlived(
    logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]
) -> None:
    def away() -> None:
        admin.override = lambda _: problem(503, "The store (etcd) does not answer")

    def back() -> None:
        admin.override = None
        admin.sections["scopes"]["c"] = {"name": "c"}

    steps += [away, lambda: None, back]
    result = logged_in("get", "scopes", "-w")
    assert result.exit_code == 0
    assert result.stderr == "headgate: The store (etcd) does not answer; still trying\n"
    assert result.stdout.splitlines()[-1].split() == ["c"]


def test_what_will_not_pass_ends_it(
    logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]
) -> None:
    steps += [admin.end_login]
    result = logged_in("get", "scopes", "-w")
    assert (result.exit_code, "type `headgate login`" in result.stderr) == (1, True)
    assert logged_in("get", "scope", "nope", "-w").exit_code == 1


def test_the_one_that_is_watched_goes_and_comes_again(
    logged_in: Run, admin: FakeAdmin, steps: list[Callable[[], None]]
) -> None:
    scopes = admin.sections["scopes"]
    steps += [scopes.clear, lambda: scopes.update(a={"name": "a", "description": "new"})]
    result = logged_in("get", "scope", "a", "-w")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["SCOPE", "DESCRIPTION"],
        ["a", "one"],
        ["gone", "a", "one"],
        ["a", "new"],
    ]


def test_one_that_is_not_there_is_not_watched(logged_in: Run, admin: FakeAdmin) -> None:
    result = logged_in("get", "scope", "none", "-w")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no scope 'none'\n")
