"""apply and diff: files in, receipts and problems out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headgate.cli import documents, sources
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
        "  demo.yaml:5: route orders: scopes[0]: there is no scope 'x'\n"
        "  something about the whole\n"
    )


def test_problems_name_the_file_where_there_are_several(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "conf/1.yaml", "scopes: [{name: a}]")
    write(home, "conf/2.yaml", "scopes: [{name: b}, {name: C}]")
    admin.refuse = [{"field": "scopes[2].name", "detail": "must be lower case"}]
    assert "  conf/2.yaml:1: scope C: name: must be lower case\n" in logged_in("apply", "-f", "conf").stderr


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "a: [", "a.yaml:2:1: not YAML: a value is missing"),
        ("a.yaml", "scopes: []\nscopes: []", "a.yaml:2:1: not YAML: key 'scopes' is given twice"),
        ("a.yaml", "scopes:\n  - name: a\n   x: 1", "a.yaml:3:4: not YAML: the line is not indented as"),
        ("a.yaml", "a: b: c", "a.yaml:1:5: not YAML: a ':' is not allowed here"),
        ("a.yaml", "a:\n\t- b", "a.yaml:2:1: not YAML: no value begins with this character"),
        ("a.yaml", "a: [b", "a.yaml:2:1: not YAML: a ',' or ']' is missing"),
        ("a.yaml", "a: 'b", "not YAML: the file ends within a quoted text"),
        ("a.yaml", "a: *b", "a.yaml:1:4: not YAML: alias 'b' has no complete anchor"),
        ("a.yaml", "a: " + "9" * 5000, "a.yaml:1:4: not YAML: a number with so many digits"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "a.json: not JSON: a number with so many digits"),
        ("a.json", '{"a": ' + "[" * 100_000, "a.json: nested too deeply"),
        ("a.yaml", "scopes: []\n---\n- b", "a.yaml:3: must be an object"),
        ("a.yaml", "scopes: []\nroutes:\n  a: b", "a.yaml:2: routes: must be a list"),
        ("a.yaml", "- a list", "must be an object; a document holds the lists services, routes"),
        (
            "a.yaml",
            "kind: route\nname: a",
            "kind: is none of the lists that a document holds: services, routes",
        ),
        ("a.yaml", "x-base: {a: b}\nscopes: []", "a.yaml:1: x-base: is none of the lists"),
        ("a.yaml", "scopes: {a: b}", "scopes: must be a list"),
        ("a.yaml", "", "nothing is declared"),
        ("a.yaml", "? [a]\n: b", "not YAML"),
        (
            "a.yaml",
            "a: !!python/object:os.system x",
            "a.yaml:1:4: not YAML: tag 'tag:yaml.org,2002:python/object:os.system' is not known",
        ),
        ("a.yaml", "a: \x07", "a.yaml:1:4: not YAML: a control character"),
        ("a.yaml", "scopes: [.nan]", "not a document that can be sent"),
        ("a.yaml", "a: " + "[" * 5000, "a.yaml:1:67: not YAML: nested deeper than 64"),
        ("a.json", '{"a" 1}', "a.json:1:6: not JSON"),
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


def test_a_url_is_no_file(logged_in: Any) -> None:
    result = logged_in("apply", "-f", "https://example.org/a.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        "headgate: https://example.org/a.yaml is a URL, and files are read: "
        "curl -fsS https://example.org/a.yaml | headgate … -f -\n",
    )


def test_no_such_file(logged_in: Any) -> None:
    result = logged_in("apply", "-f", "nope.yaml")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: cannot read nope.yaml: No such file or directory\n",
    )


def test_an_empty_folder(logged_in: Any, home: Path) -> None:
    (home / "work/empty").mkdir()
    told = "headgate: empty: no .yaml, .yml, .json file in this folder (-R reads the folders below, too)\n"
    assert logged_in("apply", "-f", "empty").stderr == told


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
    assert result.exit_code == 1
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


def test_diff_tells_a_difference_from_a_failure(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "demo.yaml", DEMO)
    assert logged_in("diff", "-f", "demo.yaml").exit_code == 1
    assert logged_in("diff", "-f", "demo.yaml", "--exit-code").exit_code == 1
    assert logged_in("diff", "-f", "nope.yaml").exit_code == 2
    admin.refuse = [{"field": "routes[0].prefix", "detail": "must start with '/'"}]
    result = logged_in("diff", "-f", "demo.yaml")
    assert result.exit_code == 2
    assert "  demo.yaml:6: route orders: prefix: must start with '/'\n" in result.stderr


def test_folders_below_and_not_those_that_are_hidden(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    for folder in ("conf", "conf/a", "conf/a/b", "conf/.git"):
        (home / "work" / folder).mkdir()
    write(home, "conf/1.yaml", "scopes: [{name: one}]")
    write(home, "conf/a/b/2.yaml", "scopes: [{name: two}]")
    write(home, "conf/.git/3.yaml", "scopes: [{name: three}]")
    assert logged_in("apply", "-f", "conf").exit_code == 0
    assert set(admin.sections["scopes"]) == {"one"}
    assert logged_in("apply", "-R", "-f", "conf").exit_code == 0
    assert set(admin.sections["scopes"]) == {"one", "two"}


def test_every_file_with_an_error_is_named(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    write(home, "conf/1.yaml", "a: [")
    write(home, "conf/2.yaml", "scopes: [{name: a}]")
    write(home, "conf/3.json", "{")
    result = logged_in("apply", "-f", "conf")
    assert (result.exit_code, admin.requests) == (1, [])
    assert result.stderr.splitlines() == [
        "headgate: 2 files have problems",
        "  conf/1.yaml:2:1: not YAML: a value is missing",
        "  conf/3.json:1:2: not JSON: Expecting property name enclosed in double quotes",
    ]


def test_standard_input_can_be_read_once(logged_in: Any, admin: FakeAdmin) -> None:
    result = logged_in("apply", "-f", "-", "-f", "-", input="scopes: [{name: a}]")
    assert (result.exit_code, admin.requests) == (2, [])


def test_problems_have_the_line_in_the_document_and_file_that_they_are_of(
    logged_in: Any, admin: FakeAdmin, home: Path
) -> None:
    write(
        home, "1.yaml", "scopes:\n- name: a\n---\nscopes:\n- name: b\nroutes:\n- prefix: x\n  hosts:\n  - h\n"
    )
    write(home, "2.json", '{"scopes": [{"name": "c"},\n {"name": "d",\n  "description": "e"}]}')
    admin.refuse = [
        {"field": "scopes[1].name", "detail": "is there twice, first as scopes[0]"},
        {"field": "routes[0].hosts[0]", "detail": "must be a host name"},
        {"field": "routes[0].name", "detail": "is required"},
        {"field": "scopes[3].description", "detail": "must be shorter"},
        {"field": "colours", "detail": "unknown field"},
    ]
    result = logged_in("apply", "-f", "1.yaml", "-f", "2.json", "-f", "-", input="colours: []")
    assert result.stderr.splitlines()[1:] == [
        "  1.yaml:5: scope b: name: is there twice, first at 1.yaml:2",
        "  1.yaml:9: routes[0]: hosts[0]: must be a host name",
        "  1.yaml:7: routes[0]: name: is required",
        "  2.json:3: scope d: description: must be shorter",
        "  standard input:1: colours: unknown field",
    ]


def test_warnings_have_their_line(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    admin.warn = [{"field": "routes[0].methods", "detail": "HEAD is not among them"}]
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO))
    assert result.stdout.endswith("Warning: demo.yaml:8: route orders: methods: HEAD is not among them\n")


def test_a_large_file_is_refused_before_it_is_read(
    logged_in: Any, admin: FakeAdmin, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (home / "work/large.yaml").open("wb") as file:
        file.truncate(sources.MOST_BYTES + 1)
    monkeypatch.setattr(sources, "read_yaml", None)
    result = logged_in("apply", "-f", "large.yaml")
    assert (result.exit_code, admin.requests) == (1, [])
    assert result.stderr == (
        "headgate: large.yaml: too large: the files of one command may have 32 MiB together\n"
    )


def test_an_endless_file_is_refused(logged_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 1000)
    assert "/dev/zero: too large" in logged_in("apply", "-f", "/dev/zero").stderr
    assert "standard input: too large" in logged_in("apply", "-f", "-", input="#" * 1001).stderr


@pytest.mark.parametrize("options", [("-f", "."), ("-R", "-f", ".")])
def test_a_pipe_in_a_folder_is_not_waited_for(logged_in: Any, home: Path, options: tuple[str, ...]) -> None:
    (home / "work/a.yaml").write_text("scopes: [{name: a}]")
    os.mkfifo(home / "work/b.yaml")
    result = logged_in("apply", *options)
    told = "headgate: b.yaml: neither a file nor a folder; name it with -f to read it\n"
    assert (result.exit_code, result.stderr.replace("./", "")) == (1, told)


@pytest.mark.parametrize("anchored", ["{long}", "{{text: {long}}}", "[{long}]"])
def test_a_long_text_that_aliases_repeat_is_bounded(logged_in: Any, home: Path, anchored: str) -> None:
    text = "x" * 1_000_000
    repeated = "- *a\n" * 100_000  # a hundred gigabytes as JSON
    write(home, "a.yaml", f"scopes:\n- &a {anchored.format(long=text)}\n{repeated}")
    result = logged_in("apply", "-f", "a.yaml")
    assert result.exit_code == 1
    assert "not YAML: more than 64 MiB of text, with what aliases repeat" in result.stderr


def test_a_key_given_twice_among_many_is_found_at_once(logged_in: Any, home: Path) -> None:
    keys = ",".join(f'"k{number}": 1' for number in range(200_000))
    (home / "work/a.json").write_text(f'{{{keys},"k199999": 2}}')
    result = logged_in("apply", "-f", "a.json")  # counting each of them in all would take hours
    assert "key 'k199999' is given twice in one object" in result.stderr


def test_what_is_too_large_to_be_sent(
    logged_in: Any, admin: FakeAdmin, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MOST_SENT", 30)
    result = logged_in("apply", "-f", write(home, "demo.yaml", DEMO))
    assert (result.exit_code, admin.requests) == (1, [])
    assert "apply them in parts" in result.stderr


def test_many_updates_are_compared_with_one_question(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    for number in range(20):
        admin.sections["scopes"][f"s{number}"] = {"name": f"s{number}", "description": "old"}
    entries = "".join(f"- {{name: s{number}, description: new}}\n" for number in range(20))
    result = logged_in("diff", "-f", write(home, "a.yaml", f"scopes:\n{entries}"))
    assert result.stdout.count("description: 'old' -> 'new'") == 20
    assert admin.requests == ["POST api/v1/apply", "GET api/v1/config/scopes"]
