"""Files of folders: links are followed once; several JSON values are several documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headgate.cli import folders
from tests.support.fake_admin import FakeAdmin


@pytest.fixture
def conf(home: Path) -> Path:
    folder = home / "work/conf"
    folder.mkdir()
    (folder / "a.yaml").write_text("scopes: [{name: a}]")
    return folder


def test_links_are_followed_and_loops_end(logged_in: Any, admin: FakeAdmin, conf: Path, home: Path) -> None:
    (home / "shared").mkdir()
    (home / "shared/b.yaml").write_text("scopes: [{name: b}]")
    (conf / "shared").symlink_to(home / "shared")
    (home / "shared/loop").symlink_to(conf)
    (conf / "below").mkdir()
    (conf / "below/up").symlink_to("..")
    (conf / "below/again").symlink_to(home / "shared")
    (conf / "c.yaml").symlink_to(home / "shared/c.txt")
    (home / "shared/c.txt").write_text("scopes: [{name: c}]")
    assert logged_in("apply", "-R", "-f", "conf").exit_code == 0
    assert set(admin.sections["scopes"]) == {"a", "b", "c"}


def test_links_that_lead_nowhere_or_to_themselves(logged_in: Any, conf: Path) -> None:
    (conf / "b.yaml").symlink_to("b.yaml")
    told = logged_in("apply", "-R", "-f", "conf").stderr
    assert told == "headgate: cannot read conf/b.yaml: Too many levels of symbolic links\n"
    (conf / "b.yaml").unlink()
    (conf / "b.yaml").symlink_to("absent")
    assert "cannot read conf/b.yaml: No such file" in logged_in("apply", "-R", "-f", "conf").stderr


def test_too_many_folders(logged_in: Any, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_FOLDERS", 3)
    for name in "xyz":
        (conf / name).mkdir()
    told = logged_in("apply", "-R", "-f", "conf").stderr
    assert "conf/z: more than 3 folders; a link may lead out of the configuration" in told


def test_json_documents(logged_in: Any, admin: FakeAdmin, conf: Path) -> None:
    (conf / "b.json").write_text('{"scopes": [{"name": "b"}]}\n{"scopes": [{"name": "c"}]}\n')
    lines = '{"scopes": [{"name": "d"}]}\n{"scopes": [{"name": "e"}]}\n'
    assert logged_in("apply", "-f", "conf", "-f", "-", input=lines).exit_code == 0
    assert set(admin.sections["scopes"]) == {"a", "b", "c", "d", "e"}
    admin.refuse = [{"field": "scopes[4].name", "detail": "is wrong"}]
    result = logged_in("apply", "-f", "conf", "-f", "-", input=lines)
    assert "  standard input:2: scope e: name: is wrong\n" in result.stderr


def test_yaml_that_begins_with_a_brace(logged_in: Any, admin: FakeAdmin, conf: Path) -> None:
    text = '{"scopes": [{"name": "x"}]}\n---\n{scopes: [{name: y}]}\n'
    assert logged_in("apply", "-f", "-", input=text).exit_code == 0
    assert set(admin.sections["scopes"]) == {"x", "y"}
    result = logged_in("apply", "-f", "-", input='{"scopes": [], "scopes": []}')
    assert result.stderr == "headgate: standard input: not JSON: key 'scopes' is given twice in one object\n"
