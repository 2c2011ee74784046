"""delete: of files, with a question, and dry."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.api.openapi import describe
from controlplane.api.table import operations
from headgate.cli import options
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run

FILE = """
scopes: [{name: a}, {name: gone}]
services: [{service_name: orders}]
routes: [{name: r, prefix: /r, service_name: orders}]
"""


@pytest.fixture
def filled(logged_in: Run, admin: FakeAdmin, home: Path) -> Run:
    (home / "work/a.yaml").write_text(FILE)
    admin.sections["scopes"] = {"a": {"name": "a"}, "kept": {"name": "kept"}}
    admin.sections["services"] = {"orders": {"service_name": "orders"}}
    admin.sections["routes"] = {"r": {"name": "r", "service_name": "orders"}}
    admin.openapi = dict(describe(operations(), ""))
    return logged_in


def deleted(admin: FakeAdmin) -> list[str]:
    return [request for request in admin.requests if request.startswith("DELETE")]


def test_what_files_declare_goes_users_of_others_first(filled: Run, admin: FakeAdmin) -> None:
    result = filled("delete", "-f", "a.yaml", "--yes")
    assert (result.exit_code, result.stdout) == (
        0,
        "- route r\n- service orders\n- scope a\n3 deleted, 1 not there\n",
    )
    assert deleted(admin) == [
        "DELETE api/v1/config/routes/r",
        "DELETE api/v1/config/services/orders",
        "DELETE api/v1/config/scopes/a",
    ]
    assert filled("delete", "-f", "a.yaml", "--yes").stdout == "Nothing to delete, 4 not there\n"


def test_dry_run(filled: Run, admin: FakeAdmin) -> None:
    result = filled("delete", "-f", "a.yaml", "--dry-run")
    assert result.stdout.endswith("Dry run, nothing was changed: 3 would be deleted, 1 not there\n")
    assert filled("delete", "route", "r", "--dry-run").stdout == (
        "Dry run, nothing was changed: would delete route r\n"
    )
    nowhere = filled("delete", "route", "nope", "--dry-run")
    assert (nowhere.exit_code, nowhere.stderr) == (1, "headgate: there is no route 'nope'\n")
    assert [set(admin.sections[kind]) for kind in ("scopes", "services", "routes")] == [
        {"a", "kept"},
        {"orders"},
        {"r"},
    ]


def test_a_dry_run_names_the_users_of_a_resource(filled: Run, admin: FakeAdmin) -> None:
    dry = filled("delete", "service", "orders", "--dry-run")
    real = filled("delete", "service", "orders")
    told = "headgate: service 'orders' is needed by route 'r'; nothing was changed\n"
    assert [(one.exit_code, one.stderr) for one in (dry, real)] == [(1, told)] * 2


def test_a_dry_run_of_files_names_users_that_stay(filled: Run, admin: FakeAdmin) -> None:
    admin.sections["routes"]["other"] = {"name": "other", "service_name": "orders", "scopes": ["a"]}
    result = filled("delete", "-f", "a.yaml", "--dry-run")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: dry run, nothing was changed: 2 of 3 would not be deleted\n"
        "  service orders is needed by route other\n"
        "  scope a is needed by route other\n",
    )
    assert "r" in admin.sections["routes"]


def test_a_control_plane_without_dry_deletes_is_not_asked_for_one(filled: Run, admin: FakeAdmin) -> None:
    admin.openapi = {"paths": {}}
    for words in (("route", "r"), ("-f", "a.yaml")):
        result = filled("delete", *words, "--dry-run")
        assert (result.exit_code, "older" in result.stderr) == (1, True)
    assert deleted(admin) == []


def test_nobody_to_ask(filled: Run, admin: FakeAdmin) -> None:
    result = filled("delete", "-f", "a.yaml")
    assert (result.exit_code, admin.requests) == (2, [])
    assert "give --yes" in result.stderr


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 3)])
def test_the_question(
    filled: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    monkeypatch.setattr(options, "can_answer", lambda: True)
    result = filled("delete", "-f", "a.yaml", input=answer)
    assert "Delete 3 resources? [y/N]" in result.stdout
    assert len(deleted(admin)) == 3 - left
    if left:
        assert (result.exit_code, result.stderr) == (1, "headgate: cancelled; nothing was changed\n")


def test_one_that_is_refused_ends_it_and_is_named(filled: Run, admin: FakeAdmin) -> None:
    admin.lacks = "gateway:admin"
    result = filled("delete", "-f", "a.yaml", "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "headgate: 0 of 3 are deleted, then route r was not: Not enough permissions"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colours: [{name: a}]", "colours: unknown section"),
        ("scopes:\n- description: x", "a.yaml:2: scopes[0]: name is missing"),
        ("scopes: [x]", "a.yaml:1: scopes[0]: name is missing"),
    ],
)
def test_files_that_name_nothing(filled: Run, admin: FakeAdmin, home: Path, text: str, told: str) -> None:
    (home / "work/a.yaml").write_text(text)
    result = filled("delete", "-f", "a.yaml", "--yes")
    assert (result.exit_code, admin.requests) == (1, [])
    assert told in result.stderr


@pytest.mark.parametrize("arguments", [(), ("route", "r", "-f", "a.yaml")])
def test_what_is_meant_must_be_said_once(filled: Run, admin: FakeAdmin, arguments: tuple[str, ...]) -> None:
    assert (filled("delete", *arguments).exit_code, admin.requests) == (2, [])
