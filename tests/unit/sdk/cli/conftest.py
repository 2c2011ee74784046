"""A command line whose HTTP goes to a fake, and whose files lie in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import httpx
import pytest
import typer.testing
from typer.main import get_command
from typer.testing import CliRunner, Result

import headgate.cli.api
from headgate.cli.app import app
from tests.support.fake_admin import FakeAdmin

Run = Callable[..., Result]


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> FakeAdmin:
    fake = FakeAdmin()

    def make_client(url: str, ca: Path | None) -> httpx.Client:
        fake.authorities.append(ca)
        return httpx.Client(base_url=url, transport=httpx.MockTransport(fake))

    monkeypatch.setattr(headgate.cli.api, "make_client", make_client)
    return fake


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder, and a working folder beside it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


_built = cache(get_command)
"""All commands, made once: this takes most of the time of a test, and a call of the program does it once."""


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(typer.testing, "_get_command", _built)

    def run(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=input)

    return run


@pytest.fixture
def logged_in(run: Run, admin: FakeAdmin) -> Run:
    result = run("login", "-u", "admin", "--password-stdin", input="correct horse\n")
    assert result.exit_code == 0, result.output
    admin.requests.clear()
    return run
