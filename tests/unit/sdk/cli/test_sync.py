"""sync: the plan is shown, agreed to, and then exactly it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headgate.cli import options
from tests.support.fake_admin import FakeAdmin

A = {"team": "a"}
FILE = """
scopes:
  - {name: kept, labels: {team: a}}
  - {name: new, labels: {team: a}}
"""
PLAN = "+ scope new\n- scope old\nPlan: 1 to create, 1 to delete, 1 unchanged\n"


@pytest.fixture
def files(home: Path, admin: FakeAdmin) -> Path:
    """A folder whose one file lies in a folder below."""
    admin.sections["scopes"] = {
        name: {"name": name, "labels": labels} for name, labels in (("kept", A), ("old", A), ("theirs", {}))
    }
    folder = home / "work/config/below"
    folder.mkdir(parents=True)
    (folder / "scopes.yaml").write_text(FILE)
    return folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "can_answer", lambda: True)


SYNC = ("sync", "-f", "config", "--label", "team=a")


def test_a_dry_run_shows_the_plan(logged_in: Any, admin: FakeAdmin, files: Path) -> None:
    result = logged_in(*SYNC, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, f"{PLAN}Dry run, nothing was changed\n")
    assert set(admin.sections["scopes"]) == {"kept", "old", "theirs"}


def test_the_question_comes_after_the_plan(
    logged_in: Any, admin: FakeAdmin, files: Path, terminal: None
) -> None:
    result = logged_in(*SYNC, input="n\n")
    assert result.exit_code == 1
    assert result.stdout == f"{PLAN}Make 2 changes (1 deletion)? [y/N]: n\n"
    assert "old" in admin.sections["scopes"]
    result = logged_in(*SYNC, input="y\n")
    assert result.exit_code == 0
    assert result.stdout.endswith("[y/N]: y\nSynced at revision 2\n")
    assert set(admin.sections["scopes"]) == {"kept", "new", "theirs"}
    # What was shown is what is done.
    assert admin.queries[-1]["plan"] == f"{1:032x}"


def test_in_sync(logged_in: Any, files: Path) -> None:
    assert logged_in(*SYNC, "--yes").exit_code == 0
    result = logged_in(*SYNC, "--yes")
    assert (result.exit_code, result.stdout) == (0, "Plan: 2 unchanged\nIn sync at revision 2\n")


def test_apply_with_prune_is_the_same(logged_in: Any, admin: FakeAdmin, files: Path) -> None:
    result = logged_in("apply", "-f", "config", "--prune", "-l", "team=a", "--yes")
    assert (result.exit_code, result.stdout) == (0, f"{PLAN}Synced at revision 2\n")
    assert set(admin.sections["scopes"]) == {"kept", "new", "theirs"}


def test_diff_with_prune(logged_in: Any, admin: FakeAdmin, files: Path) -> None:
    result = logged_in("diff", "-f", "config", "--prune", "-l", "team=a")
    assert (result.exit_code, result.stdout) == (1, "+ scope new\n- scope old\n")
    logged_in(*SYNC, "--yes")
    assert logged_in("diff", "-f", "config", "--prune", "-l", "team=a").exit_code == 0


def test_everything(logged_in: Any, admin: FakeAdmin, files: Path) -> None:
    admin.sections["users"] = {name: {"username": name} for name in "abcdefg"}
    result = logged_in("sync", "-f", "config", "--all", "--yes")
    assert "- scope theirs\n" in result.stdout
    kept = "Kept: user a, user b, user c, user d, user e and 2 more: users stay (--users)\n"
    assert kept in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("sync", "-f", "config"), "resources with --label NAME=VALUE, or --all of them"),
        ((*SYNC, "--all"), "resources with --label NAME=VALUE, or --all of them"),
        (("apply", "-f", "config", "-l", "team=a"), "--label: only together with --prune"),
        (("diff", "-f", "config", "--all", "--users"), "--all and --users: only together with --prune"),
        ((*SYNC, "-o", "json"), "-o json prints the receipt alone"),
        (SYNC, "standard input is not a terminal: give --yes"),
        ((*SYNC, "--dry-run", "--wait"), "--dry-run writes nothing"),
    ],
)
def test_wrong_usage(
    logged_in: Any, admin: FakeAdmin, files: Path, arguments: tuple[str, ...], told: str
) -> None:
    result = logged_in(*arguments)
    assert (result.exit_code, admin.requests) == (2, [])
    assert told in result.stderr


def test_an_empty_folder_deletes_nothing_unless_that_is_said(
    logged_in: Any, admin: FakeAdmin, files: Path
) -> None:
    (files / "scopes.yaml").unlink()
    result = logged_in(*SYNC, "--yes")
    assert (result.exit_code, admin.requests) == (1, [])
    assert "no .yaml, .yml, .json file in this folder or those below" in result.stderr
    (files / "empty.yaml").write_text("# nothing\n")
    assert "nothing is declared there" in logged_in(*SYNC, "--yes").stderr
    (files / "empty.yaml").unlink()
    assert logged_in(*SYNC, "--yes", "--allow-empty").exit_code == 0
    assert set(admin.sections["scopes"]) == {"theirs"}
    assert admin.queries[-1]["empty"] == "true"


def test_another_change_in_between(logged_in: Any, admin: FakeAdmin, files: Path, terminal: None) -> None:
    def change() -> None:
        admin.sections["scopes"]["late"] = {"name": "late", "labels": A}

    admin.rivals = [change]
    result = logged_in(*SYNC, input="y\n")
    assert result.exit_code == 1
    assert "the configuration was changed after the plan was made; nothing was done" in result.stderr
    assert {"old", "late"} <= set(admin.sections["scopes"])
    # With --yes nobody has agreed to a certain plan: another one is made, and shown.
    admin.rivals = [change]
    result = logged_in(*SYNC, "--yes")
    assert result.exit_code == 0
    assert result.stdout.count("- scope late\n") == 2
    assert "late" not in admin.sections["scopes"]
    admin.rivals = [change] * 3
    admin.sections["scopes"]["old"] = {"name": "old", "labels": A}
    assert logged_in(*SYNC, "--yes").exit_code == 1


def test_problems_and_receipts(logged_in: Any, admin: FakeAdmin, files: Path) -> None:
    admin.refuse = [
        {"field": "scopes[1].labels", "detail": "must have team=a"},
        {"field": "", "detail": "declares nothing (empty=true does it)"},
    ]
    told = logged_in(*SYNC, "--yes").stderr
    assert "  config/below/scopes.yaml:4: scope new: labels: must have team=a\n" in told
    assert "(--allow-empty does it)" in told
    admin.refuse = []
    receipt = json.loads(logged_in(*SYNC, "--yes", "-o", "json").stdout)
    assert {"action": "delete", "kind": "scope", "name": "old"} in receipt["changes"]
