"""apply and diff: files in, receipts and problems out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_admin import FakeAdmin

DEMO = """
scopes:
  - name: orders:read
routes:
  - name: orders
    prefix: /orders
    service_name: orders
    methods: [GET]
"""


def write(home: Path, name: str, text: str) -> str:
    path = home / "work" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return name


def test_apply(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO))
    assert result.exit_code == 0
    assert result.stdout == "+ scope orders:read\n+ route orders\nApplied at revision 2: 2 created\n"
    assert admin.sections["routes"]["orders"]["methods"] == ["GET"]


def test_apply_again_changes_nothing(logged_in: Any, home: Path) -> None:
    write(home, "demo.yaml", DEMO)
    logged_in("apply", "-f", "demo.yaml")
    assert logged_in("apply", "-f", "demo.yaml").stdout == "Applied at revision 3: 2 unchanged\n"


def test_dry_run(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO), "--dry-run")
    assert result.stdout.splitlines()[-1] == "Dry run, nothing was changed: 2 created"
    assert not admin.sections["routes"]


def test_receipt_for_programs(logged_in: Any, home: Path) -> None:
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO), "-o", "json")
    assert json.loads(result.stdout)["changes"][0] == {
        "action": "create",
        "kind": "scope",
        "name": "orders:read",
    }


def test_standard_input_and_json(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "a.json", json.dumps({"scopes": [{"name": "a"}]}))
    result = logged_in("apply", "-f", "-", "-f", "a.json", input="scopes: [{name: b}]")
    assert result.exit_code == 0
    assert set(admin.sections["scopes"]) == {"a", "b"}


def test_a_folder_is_one_change(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "conf/1.yaml", "scopes: [{name: a}]")
    write(home, "conf/2.yml", "scopes: [{name: b}]\n---\nscopes: [{name: c}]")
    write(home, "conf/notes.txt", "not this")
    assert logged_in("apply", "-f", "conf").exit_code == 0
    assert set(admin.sections["scopes"]) == {"a", "b", "c"}
    assert admin.requests == ["POST api/v1/apply"]


def test_problems_are_listed_with_their_fields(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    admin.refuse = [
        {"field": "routes[0].scopes[0]", "detail": "there is no scope 'x'"},
        {"field": "", "detail": "something about the whole"},
    ]
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO))
    assert result.exit_code == 1
    assert result.stderr == (
        "headgate: The configuration has problems; nothing was changed\n"
        "  routes[0].scopes[0]: there is no scope 'x'\n"
        "  something about the whole\n"
    )


def test_problems_name_the_file_where_there_are_several(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "conf/1.yaml", "scopes: [{name: a}]")
    write(home, "conf/2.yaml", "scopes: [{name: b}, {name: C}]")
    admin.refuse = [{"field": "scopes[2].name", "detail": "must be lower case"}]
    assert "  conf/2.yaml: scopes[1].name: must be lower case\n" in logged_in("apply", "-f", "conf").stderr


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "a: [", "a.yaml:1:5: not YAML"),
        ("a.yaml", "scopes: []\nscopes: []", "a.yaml:2:1: not YAML: key 'scopes' is given twice"),
        ("a.yaml", "scopes:\n  - name: a\n   x: 1", "a.yaml:3:4: not YAML: expected <block end>"),
        ("a.yaml", "scopes:\n  - name: a\n   x: 1", "is the line indented as those beside it?"),
        ("a.yaml", "- a list", "must be an object; a document holds the lists services, routes"),
        (
            "a.yaml",
            "kind: route\nname: a",
            "kind: must be a list; a document holds the lists services, routes",
        ),
        ("a.yaml", "scopes: {a: b}", "scopes: must be a list"),
        ("a.yaml", "", "nothing is declared"),
        ("a.yaml", "? [a]\n: b", "not YAML"),
        ("a.yaml", "a: !!python/object:os.system x", "not YAML: could not determine a constructor"),
        ("a.yaml", "a: \x07", "a.yaml: unacceptable character"),
        ("a.yaml", "scopes: [.nan]", "not a document that can be sent"),
        ("a.yaml", "a: " + "[" * 5000, "nested too deeply"),
        ("a.json", '{"a": 1,}', "a.json:1:9: not JSON"),
        ("a.json", '{"a": 1, "a": 2}', "key 'a' is given twice"),
    ],
)
def test_files_that_cannot_be_read(
    logged_in: Any, admin: FakeAdmin, home: Path, name: str, text: str, expected: str
) -> None:
    result = logged_in("apply", "-f", write(home, name, text))
    assert (result.exit_code, admin.requests) == (1, [])
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_such_file(logged_in: Any) -> None:
    result = logged_in("apply", "-f", "nope.yaml")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: cannot read nope.yaml: No such file or directory\n",
    )


def test_an_empty_folder(logged_in: Any, home: Path) -> None:
    (home / "work/empty").mkdir()
    assert "no .yaml, .yml, .json file" in logged_in("apply", "-f", "empty").stderr


def test_not_utf8(logged_in: Any, home: Path) -> None:
    (home / "work/a.yaml").write_bytes(b"a: \xff")
    assert "not UTF-8 at byte 3" in logged_in("apply", "-f", "a.yaml").stderr


def test_yaml_is_read_as_the_control_plane_reads_it(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    text = "name: a, on: yes, when: 2024-01-01, number: 010, octal: 0o10, base: &b {x: 1}, more: {<<: *b}"
    logged_in("apply", "-f", write(home, "a.yaml", f"scopes: [{{{text}}}]"))
    assert admin.sections["scopes"]["a"] == {
        "name": "a",
        "on": "yes",
        "when": "2024-01-01",
        "number": 10,
        "octal": 8,
        "base": {"x": 1},
        "more": {"x": 1},
    }


def test_diff(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    admin.sections["routes"]["orders"] = {
        "name": "orders",
        "prefix": "/old",
        "service_name": "orders",
        "methods": ["GET"],
    }
    result = logged_in("diff", "-f", write(home, "demo.yaml", DEMO))
    assert result.exit_code == 0
    assert result.stdout == "+ scope orders:read\n~ route orders\n    prefix: '/old' -> '/orders'\n"
    assert admin.sections["routes"]["orders"]["prefix"] == "/old"


def test_diff_looks_inside(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    admin.sections["services"]["o"] = {
        "service_name": "o",
        "circuit": {"failure_threshold": 5, "failure_window": 60.0},
    }
    text = (
        "services: [{service_name: o, circuit: {failure_threshold: 6, failure_window: 60}, check_path: /up}]"
    )
    result = logged_in("diff", "-f", write(home, "a.yaml", text), "-o", "json")
    [change] = json.loads(result.stdout)
    assert change["fields"] == [
        {"field": "circuit.failure_threshold", "now": 5, "then": 6},
        {"field": "check_path", "now": None, "then": "/up"},
    ]


def test_diff_of_lists(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    now = {"service_name": "o", "instances": [{"instance_id": "a", "port": 1, "weight": 1}], "tags": ["a"]}
    admin.sections["services"]["o"] = now
    text = "services: [{service_name: o, instances: [{instance_id: a, port: 2}], tags: [a, b]}]"
    assert logged_in("diff", "-f", write(home, "a.yaml", text)).stdout == (
        "~ service o\n    instances[0].port: 1 -> 2\n    tags: ['a'] -> ['a', 'b']\n"
    )


def test_diff_never_shows_passwords(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    admin.sections["users"]["u"] = {"username": "u", "scopes": []}
    result = logged_in("diff", "-f", write(home, "a.yaml", "users: [{username: u, password: hunter22}]"))
    assert result.stdout == "~ user u\n    by what the files leave out, or keep secret\n"


def test_nothing_would_change(logged_in: Any, home: Path) -> None:
    write(home, "demo.yaml", DEMO)
    logged_in("apply", "-f", "demo.yaml")
    result = logged_in("diff", "-f", "demo.yaml", "--exit-code")
    assert (result.exit_code, result.stdout) == (0, "Nothing would change\n")


def test_diff_exit_code_for_scripts(logged_in: Any, home: Path) -> None:
    assert logged_in("diff", "-f", write(home, "demo.yaml", DEMO), "--exit-code").exit_code == 1
