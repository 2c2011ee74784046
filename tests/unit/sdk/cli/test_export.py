"""export: one file that can be applied, without secrets; schema: what editors check such files with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from controlplane.model.resources import documents
from headgate.cli.yaml_values import read_yaml
from tests.support import schema_file
from tests.support.fake_admin import FakeAdmin
from tests.support.pages import ROOT, all_pages, blocks
from tests.support.resource_files import is_document


@pytest.fixture
def filled(admin: FakeAdmin) -> FakeAdmin:
    admin.sections["scopes"]["a"] = {"name": "a", "description": "${HOME} costs 5$", "labels": {"team": "a"}}
    admin.sections["users"]["jo"] = {"username": "jo", "scopes": ["a"], "labels": {}}
    admin.sections["certificates"]["shop"] = {"name": "shop", "certificate": "PEM", "not_after": "2030"}
    admin.sections["certificates"]["file"] = {"name": "file", "files": {"certificate": "a.pem"}}
    return admin


def test_secrets_are_named_in_a_comment(logged_in: Any, filled: FakeAdmin) -> None:
    assert logged_in("export").stdout == (
        "# Exported by `headgate export`.\n"
        "# Secrets are never shown. If the file is applied, those in the store stay; a new store needs them:\n"
        "#   password of user jo\n"
        "#   private_key of certificate shop\n"
        "scopes:\n"
        "- name: a\n"
        "  description: $${HOME} costs 5$\n"
        "  labels:\n"
        "    team: a\n"
        "users:\n"
        "- username: jo\n"
        "  scopes:\n"
        "  - a\n"
        "  labels: {}\n"
        "certificates:\n"
        "- name: shop\n"
        "  certificate: PEM\n"
        "- name: file\n"
        "  files:\n"
        "    certificate: a.pem\n"
    )
    assert filled.requests == ["GET api/v1/config"]


def test_labels_and_json(logged_in: Any, filled: FakeAdmin) -> None:
    found = json.loads(logged_in("export", "-l", "team=a", "-o", "json").stdout)
    assert [one["name"] for one in found["scopes"]] == ["a"]
    assert set(found) == {"scopes"}
    assert logged_in("export", "-o", "table").exit_code == 2


def test_an_older_control_plane_is_asked_for_each_kind(logged_in: Any, filled: FakeAdmin) -> None:
    whole = logged_in("export").stdout
    filled.old = True
    assert logged_in("export").stdout == whole


def test_it_can_be_applied(logged_in: Any, filled: FakeAdmin) -> None:
    text = logged_in("export").stdout
    assert "4 unchanged" in logged_in("apply", "-f", "-", input=text).stdout
    # So can what `get` writes.
    for arguments in (("get", "all"), ("get", "scopes"), ("get", "scope", "a")):
        shown = logged_in(*arguments, "-o", "yaml").stdout
        assert "$${HOME} costs 5$" in shown
        assert " created" not in logged_in("apply", "-f", "-", "--dry-run", input=shown).stdout


SCHEMA = schema_file.schema()
CHECK = Draft202012Validator(SCHEMA)


def complaints(document: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in CHECK.iter_errors(document)]


def files() -> Iterator[Any]:
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        yield pytest.param(path.read_text(), id=path.name)
    for page in all_pages():
        for block in blocks(page):
            if block.language == "yaml" and block.page.parent.name in ("how-to", "reference"):
                yield pytest.param(block.text, id=block.place)


@pytest.mark.parametrize("text", list(files()))
def test_the_schema_holds_for_every_example(text: str) -> None:
    for document in filter(is_document, read_yaml(text)):
        assert complaints(document) == []


def test_the_schema_is_printed_and_valid(run: Any) -> None:
    printed = json.loads(run("schema").stdout)
    Draft202012Validator.check_schema(printed)
    assert printed == SCHEMA, "run: make proto"
    assert set(printed["properties"]) == set(documents())


@pytest.mark.parametrize("plural", sorted(documents()))
def test_the_schema_holds_for_every_example_of_the_model(plural: str) -> None:
    example = documents()[plural].EXAMPLE
    assert complaints({plural: [dict(example)] if example else []}) == []


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": [{"name": "a", "prefix": "/a", "service_name": "s", **fields}]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"routes": None},
        route(name="${NAME:-a}-x", timeout="${TIMEOUT}", public="${PUBLIC:-true}", methods=["${METHOD}"]),
        route(labels={"team": "${TEAM}"}),
        {"services": [{"service_name": "s", "circuit": {"failure_threshold": "${FAILURES}"}}]},
    ],
)
def test_variables_may_stand_for_any_value(document: object) -> None:
    assert complaints(document) == []


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ({"rotes": []}, "$"),
        (route(prefx="/b"), "$.routes[0]"),
        (route(timeout="soon"), "$.routes[0].timeout"),
        (route(timeout="$TIMEOUT"), "$.routes[0].timeout"),
        (route(methods=["FETCH"]), "$.routes[0].methods[0]"),
        (route(name="A b"), "$.routes[0].name"),
        ({"routes": {}}, "$.routes"),
    ],
)
def test_the_schema_finds_mistakes(document: object, at: str) -> None:
    assert [found.partition(": ")[0] for found in complaints(document)] == [at]
