"""Environment variables in files: values alone, after the file was parsed, and every mistake with its line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from headgate.cli.variables import BadVariable, escape, substitute
from tests.support.fake_admin import FakeAdmin

SET = {"NAME": "orders", "EMPTY": "", "DOLLAR": "${NAME}", "LINES": "a\nb: c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "orders"),
        ("/${NAME}/${NAME}x", "/orders/ordersx"),
        ("${MISSING:-/a:-b}", "/a:-b"),
        ("${EMPTY:-other}", "other"),
        ("${MISSING:-}", ""),
        ("${EMPTY}", ""),
        ("$${NAME}", "${NAME}"),
        ("$$", "$"),
        ("$$$$", "$$"),
        ("$$${NAME}", "$orders"),
        # Not of this notation.
        ("^/a$", "^/a$"),
        ("$NAME $1 $", "$NAME $1 $"),
        ("%{claim:sub}", "%{claim:sub}"),
        # What a variable holds is text.
        ("${DOLLAR}", "${NAME}"),
        ("${LINES}", "a\nb: c"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    assert substitute(text, SET) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${MISSING}", "environment variable MISSING is not set; ${MISSING:-default} has a default"),
        ("${}", "'${}' is no variable"),
        ("${1}", "'${1}' is no variable"),
        ("${NAME-x}", "'${NAME-x}' is no variable: write ${NAME} or ${NAME:-default}"),
        ("${ NAME }", "'${ NAME }' is no variable"),
        ("${NAME", "'${NAME' is no variable"),
        ("a ${", "'${' is no variable"),
        ("${MISSING:-${NAME}}", "'${MISSING:-${NAME}' is no variable"),
        ("${BYTES}", "environment variable BYTES is not UTF-8"),
    ],
)
def test_mistakes(text: str, told: str) -> None:
    with pytest.raises(BadVariable) as caught:
        substitute(text, {**SET, "BYTES": b"\xff".decode(errors="surrogateescape")})
    assert told in str(caught.value)


def test_escaped_texts_come_back() -> None:
    source = random.Random(1)
    for _ in range(2000):
        text = "".join(source.choice("$${}a:-") for _ in range(source.randrange(12)))
        assert substitute(escape(text), {}) == text


@pytest.fixture
def work(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"NAME": "orders", "PORT": "8443", "PUBLIC": "true", "NUMBER": "17"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STRUCTURE", "a, labels: {x: y}}, {name: b")
    return home / "work"


def test_yaml(logged_in: Any, admin: FakeAdmin, work: Path) -> None:
    (work / "a.yaml").write_text("""
routes:
  # ${NOT_SET} in a comment is nothing.
  - name: "${NAME}"
    port: ${PORT}
    text: "${PORT}"
    public: ${PUBLIC}
    nothing: ${ABSENT:-}
    folded: >-
      ${NAME}
      again
    ${PORT}: key
    base: &base {x: "${NAME}"}
    more: {<<: *base}
    structure: ${STRUCTURE}
""")
    assert logged_in("apply", "-f", "a.yaml").exit_code == 0
    assert admin.sections["routes"]["orders"] == {
        "name": "orders",
        "port": 8443,
        "text": "8443",
        "public": True,
        "nothing": None,
        "folded": "orders again",
        "${PORT}": "key",
        "base": {"x": "orders"},
        "more": {"x": "orders"},
        "structure": "a, labels: {x: y}}, {name: b",
    }


def test_json(logged_in: Any, admin: FakeAdmin, work: Path) -> None:
    (work / "a.json").write_text(json.dumps({"scopes": [{"name": "${NAME}", "n": "${NUMBER}"}]}))
    assert logged_in("apply", "-f", "a.json").exit_code == 0
    assert admin.sections["scopes"]["orders"] == {"name": "orders", "n": "17"}


def test_all_that_are_missing_are_named(logged_in: Any, admin: FakeAdmin, work: Path) -> None:
    (work / "a.yaml").write_text("scopes:\n  - name: ${A1}\n---\nroutes:\n  - {hosts: [b, '${B1}']}\n")
    (work / "b.json").write_text(
        '{"scopes": [\n{"name": "x"},\n{"name": "${C1}"}]}\n{"routes": [\n{"name": "${D1}"}]}'
    )
    result = logged_in("apply", "-f", "a.yaml", "-f", "b.json")
    assert (result.exit_code, admin.requests) == (1, [])
    told = [line.split(" is not set")[0].strip() for line in result.stderr.splitlines()[1:]]
    assert told == [
        "a.yaml:2: scopes[0].name: environment variable A1",
        "a.yaml:5: routes[0].hosts[1]: environment variable B1",
        "b.json:3: scopes[1].name: environment variable C1",
        "b.json:5: routes[0].name: environment variable D1",
    ]


def test_without_variables(logged_in: Any, admin: FakeAdmin, work: Path) -> None:
    (work / "a.yaml").write_text("scopes: [{name: a, description: '${A1} $$'}]")
    assert logged_in("apply", "-f", "a.yaml", "--no-env").exit_code == 0
    assert admin.sections["scopes"]["a"]["description"] == "${A1} $$"
