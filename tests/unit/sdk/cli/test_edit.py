"""edit: a program in the place of the editor changes the text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run

ROUTE = {"name": "orders", "prefix": "/orders", "path": None}


@pytest.fixture
def editor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program to write: it gets the file as its last argument. What it is shown is kept in `seen`."""
    program = home / "editor.py"
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {program}")
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr("tempfile.tempdir", None)
    return program


def replace(program: Path, old: str, new: str) -> None:
    program.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[-1])\n"
        f"seen = pathlib.Path({str(program.with_name('seen'))!r})\n"
        "seen.write_text((seen.read_text() if seen.exists() else '') + file.read_text())\n"
        f"file.write_text(file.read_text().replace({old!r}, {new!r}))\n"
    )


def test_a_change(logged_in: Run, admin: FakeAdmin, editor: Path, home: Path) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "/orders", "/new")
    result = logged_in("edit", "route", "orders")
    assert (result.exit_code, result.stdout) == (0, "Changed route orders\n")
    assert admin.sections["routes"]["orders"] == {"name": "orders", "prefix": "/new"}
    assert not list(home.glob("headgate-*"))
    assert (home / "seen").read_text() == (
        "# route orders. An unchanged or empty text changes nothing.\nname: orders\nprefix: /orders\n"
    )


def test_a_password_is_a_change(logged_in: Run, admin: FakeAdmin, editor: Path) -> None:
    admin.sections["users"]["jo"] = {"username": "jo"}
    replace(editor, "username: jo", "username: jo\npassword: another one")
    assert logged_in("edit", "user", "jo").stdout == "Changed user jo\n"
    assert admin.sections["users"]["jo"]["password"] == "another one"


def test_an_unchanged_text_changes_nothing(
    logged_in: Run, admin: FakeAdmin, editor: Path, home: Path
) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "nothing there", "")
    assert logged_in("edit", "route", "orders").stdout == "Nothing changed\n"
    assert admin.requests == ["GET api/v1/config/routes/orders"]
    assert not list(home.glob("headgate-*"))


def test_an_emptied_text_ends_it(logged_in: Run, admin: FakeAdmin, editor: Path, home: Path) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    editor.write_text("import pathlib, sys\nassert pathlib.Path(sys.argv[-1]).read_text()\n")
    with editor.open("a") as program:
        program.write("pathlib.Path(sys.argv[-1]).write_text('# a comment\\n\\n')\n")
    result = logged_in("edit", "route", "orders")
    assert (result.exit_code, result.stdout) == (0, "Nothing changed: the text is empty\n")
    assert admin.requests == ["GET api/v1/config/routes/orders"]
    assert not list(home.glob("headgate-*"))


@pytest.mark.parametrize("broken", ["a: [", "- a", "name: a\n---\nname: b"])
def test_problems_open_the_editor_again(
    logged_in: Run, admin: FakeAdmin, editor: Path, home: Path, broken: str
) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "prefix: /orders\n", broken)
    result = logged_in("edit", "route", "orders")
    assert result.exit_code == 1
    assert "the text still has problems; nothing was changed (the text is in" in result.stderr
    assert "# line " in (home / "seen").read_text()
    [kept] = home.glob("headgate-route-orders-*.yaml")
    assert broken in kept.read_text()
    assert admin.sections["routes"]["orders"] == ROUTE


def test_refusals_are_shown_in_the_editor(logged_in: Run, admin: FakeAdmin, editor: Path, home: Path) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    admin.refuse = [{"field": "prefix", "detail": "must start with '/'"}]
    replace(editor, "/orders", "orders")
    assert logged_in("edit", "route", "orders").exit_code == 1
    assert "#   prefix: must start with '/'\n" in (home / "seen").read_text()


def test_another_writer_came_first(logged_in: Run, admin: FakeAdmin, editor: Path, home: Path) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "/orders", "/new")
    answer = admin._answer

    def meanwhile(request: object, path: list[str]) -> object:
        answered = answer(request, path)  # type: ignore[arg-type]
        admin.sections["routes"]["orders"] = {**ROUTE, "prefix": "/theirs"}
        return answered

    admin._answer = meanwhile  # type: ignore[assignment,method-assign]
    result = logged_in("edit", "route", "orders")
    assert result.exit_code == 1
    assert "route orders was changed by somebody else meanwhile (the text is in" in result.stderr
    assert list(home.glob("headgate-route-orders-*.yaml"))


def test_editors_that_fail(
    logged_in: Run, admin: FakeAdmin, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    editor.write_text("raise SystemExit(3)")
    assert "ended with exit code 3; nothing was changed" in logged_in("edit", "route", "orders").stderr
    monkeypatch.setenv("VISUAL", "/nosuch/editor")
    result = logged_in("edit", "route", "orders")
    assert (result.exit_code, "set EDITOR to one that is installed" in result.stderr) == (1, True)


def test_nothing_to_edit(logged_in: Run, editor: Path) -> None:
    result = logged_in("edit", "route", "nope")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no route 'nope'\n")


def test_mistakes_are_on_the_line_that_the_editor_shows(
    logged_in: Run, admin: FakeAdmin, editor: Path, home: Path
) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "prefix: /orders\n", "prefix: a: b\n")
    logged_in("edit", "route", "orders")
    shown = (home / "seen").read_text().split("# route orders.")[-1].splitlines()
    number = int(shown[1].removeprefix("# line ").partition(":")[0])
    assert shown[number - 1] == "prefix: a: b"


def test_a_text_that_cannot_be_read_is_kept(
    logged_in: Run, admin: FakeAdmin, editor: Path, home: Path
) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    editor.write_text("import sys; open(sys.argv[-1], 'wb').write(b'name: caf\\xe9')")
    result = logged_in("edit", "route", "orders")
    [kept] = home.glob("headgate-route-orders-*.yaml")
    told = f"headgate: the text is not UTF-8; nothing was changed (the text is in {kept})\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_ctrl_c_is_the_editors(logged_in: Run, admin: FakeAdmin, editor: Path, home: Path) -> None:
    admin.sections["routes"]["orders"] = dict(ROUTE)
    replace(editor, "/orders", "/new")
    # As a terminal sends it, to both; this editor handles it.
    text = "import os, signal; signal.signal(signal.SIGINT, lambda *_: None)\n"
    text += "os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)\n"
    editor.write_text(text + editor.read_text())
    assert logged_in("edit", "route", "orders").stdout == "Changed route orders\n"
