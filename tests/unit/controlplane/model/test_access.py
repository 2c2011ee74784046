"""Scopes, users and issuers: what is accepted, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.resources import User, parse
from controlplane.model.stored import encode, shown
from tests.unit.controlplane.model.raw_resources import check_accepted, check_refused, complaints

PHC = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("scope", {"name": "orders:read", "description": "Läsen ✓"}),
    ("user", {"username": "First.Last@example-1"}),
    ("user", {"username": "u", "password": "testpass", "scopes": ["a"], "disabled": True}),
    ("user", {"username": "u", "password_hash": PHC}),
]


@pytest.mark.parametrize(("kind", "raw"), GOOD)
def test_what_is_right_is_taken_and_survives_being_stored(kind: str, raw: dict[str, Any]) -> None:
    check_accepted(kind, raw)


BAD: list[tuple[str, object, str, str]] = [
    # kind, raw, field, a part of what is said of it
    ("scope", {"name": "a", "description": "x" * 501}, "description", "must have at most 500 characters"),
    ("scope", {"name": "a", "description": "\ud800"}, "description", "must be text that UTF-8 can hold"),
    ("scope", {"name": "a", 3: 4}, "[3]", "names that are strings"),
    ("user", {"username": "a b"}, "username", "1 to 64 letters"),
    ("user", {"username": "a/b"}, "username", "1 to 64 letters"),
    ("user", {"username": "u", "password": "short"}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": ""}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": "x" * 129}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": 12345678}, "password", "must be a string, not a number"),
    ("user", {"username": "u", "password_hash": "testpass"}, "password_hash", "argon2id hash in PHC form"),
    ("user", {"username": "u", "password_hash": ""}, "password_hash", "argon2id hash in PHC form"),
    ("user", {"username": "u", "password_hash": PHC.replace("2id", "2i")}, "password_hash", "argon2id hash"),
    (
        "user",
        {"username": "u", "password_hash": PHC.replace("65536", "4194304")},
        "password_hash",
        "m of at most",
    ),
    ("user", {"username": "u", "password_hash": PHC.replace("t=3", "t=99")}, "password_hash", "t of at most"),
    ("user", {"username": "u", "password_hash": PHC + "\n"}, "password_hash", "argon2id hash"),
    (
        "user",
        {"username": "u", "password_hash": PHC, "password": "testpass"},
        "password_hash",
        "together with",
    ),
    ("issuer", {"issuer": "https://example.org"}, "", "trusting outside issuers is not built yet"),
    ("issuer", 5, "", "trusting outside issuers is not built yet"),
]


@pytest.mark.parametrize(("kind", "raw", "field", "detail"), BAD)
def test_what_is_wrong_is_told_with_its_field(kind: str, raw: object, field: str, detail: str) -> None:
    check_refused(kind, raw, field, detail)


def test_a_problem_never_shows_a_password() -> None:
    for raw in ({"username": "u", "password": "hunter2"}, {"username": "u", "password_hash": "hunter2"}):
        assert "hunter2" not in str(complaints("user", raw))


def test_a_password_is_neither_shown_nor_stored_nor_printed() -> None:
    user = parse("user", {"username": "u", "password": "testpass", "disabled": True})
    assert isinstance(user, User)
    assert "testpass" not in f"{user!r} {user} {user.model_dump()} {user.model_dump_json()}"
    fields = {"username": "u", "scopes": [], "disabled": True, "description": "", "labels": {}}
    assert shown(user) == fields
    assert b"testpass" not in encode(user)
