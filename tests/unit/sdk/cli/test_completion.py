"""What Tab completes, as the shell asks for it."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

import headgate.cli
from headgate.cli.app import app
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run


@pytest.fixture
def filled(logged_in: Run, admin: FakeAdmin) -> FakeAdmin:
    admin.sections["routes"] = {name: {"name": name} for name in ("orders", "other", "payments")}
    instance = {"status": "healthy"}
    admin.sections["services"] = {name: {"service_name": name} for name in ("orders", "payments")}
    admin.sections["rate_limits"] = {"calm": {"name": "calm"}}
    admin.views["dataplanes"] = [{"node": "gateway-1"}]
    admin.views["services"] = [
        {"service_name": "orders", "instances": {"o-1": instance, "o-2": instance}},
        {"service_name": "payments", "instances": {"p-1": instance}},
    ]
    return admin


def complete(words: str) -> list[str]:
    """What bash gets for the last of the words."""
    environment = {
        "_HEADGATE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = CliRunner().invoke(app, [], prog_name="headgate", env=environment)
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("headgate wh", ["whoami"]),
        ("headgate get ro", ["routes"]),
        ("headgate get a", ["all"]),
        ("headgate get routes o", ["orders", "other"]),
        ("headgate delete ro", ["route"]),
        ("headgate delete route p", ["payments"]),
        ("headgate edit route oth", ["other"]),
        ("headgate drain orders o-", ["o-1", "o-2"]),
        ("headgate reference rate", ["rate-limit"]),
        ("headgate context use 127", ["127.0.0.1:8080"]),
        ("headgate get nosuch o", []),
        ("headgate token service ord", ["orders"]),
        ("headgate circuits reset pay", ["payments"]),
        ("headgate limits --limit ca", ["calm"]),
        ("headgate limits --node g", ["gateway-1"]),
    ],
)
def test_words(filled: FakeAdmin, words: str, found: list[str]) -> None:
    assert complete(words) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("headgate get scopes o", ["orders:read", "orders:write"]),
        ("headgate get scopes orders :", ["read", "write"]),
        ("headgate get scopes orders : w", ["write"]),
        ("headgate get scopes orders:w", ["orders:write"]),  # COMP_WORDBREAKS without a colon
        ("headgate context use 127.0.0.1 : 80", ["8080"]),
        ("headgate --context 127.0.0.1 : 8080 get scopes orders : r", ["read"]),
        ("headgate --context 127.0.0.1 : 8080 get sco", ["scopes"]),
    ],
)
def test_bash_splits_words_at_colons(
    filled: FakeAdmin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    found: list[str],
) -> None:
    filled.sections["scopes"] = {name: {"name": name} for name in ("orders:read", "orders:write")}
    monkeypatch.setattr(sys, "argv", ["headgate"])
    monkeypatch.setenv("_HEADGATE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        headgate.cli.main()
    assert capsys.readouterr().out.split() == found


def test_names_of_the_context_that_is_meant(filled: FakeAdmin) -> None:
    assert complete("headgate get routes --url http://other.example o") == []
    assert complete("headgate --context 127.0.0.1:8080 get routes oth") == ["other"]


def test_it_fails_in_silence(filled: FakeAdmin) -> None:
    filled.end_login()
    assert complete("headgate get routes o") == []
