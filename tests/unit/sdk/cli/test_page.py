"""Every command on the page of the command line is one, and does what the page says it does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from controlplane.api.openapi import describe
from controlplane.api.table import operations
from headgate.cli import failure
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run
from tests.unit.sdk.cli.test_following import CHANGE, TRAFFIC, Streams, block
from tests.unit.sdk.cli.test_instances import SERVICES

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "reference" / "command-line.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line.startswith("headgate ")
]


def words_of(line: str) -> list[str]:
    return shlex.split(line.partition(" > ")[0], comments=True)[1:]


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page(
    run: Run, admin: FakeAdmin, home: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.openapi = dict(describe(operations(), "0.1.0"))
    admin.rollouts = [{"state": "served", "nodes": [], "serving": 0, "needed": 0, "digest": "d"}]
    admin.sections["routes"]["orders"] = {"name": "orders"}
    for folder in ("config/more", "shop"):
        (home / "work" / folder).mkdir(parents=True)
    for file in ("shop/c.yaml", "config/a.yaml", "config/more/b.yaml", "extra.yaml", "old.yaml", "ca.pem"):
        (home / "work" / file).write_text(f"scopes: [{{name: {Path(file).stem}}}]")
    run("login", "-u", "admin", "--password-stdin", input="correct horse")
    run("context", "set", "prod", "http://127.0.0.1:8080")

    admin.views["traffic"] = TRAFFIC  # type: ignore[assignment]
    if words_of(line)[0] == "instances":
        admin.views["services"] = SERVICES
    words = words_of(line)
    if words[0] == "events":
        Streams(monkeypatch, admin, block(CHANGE))  # and then Ctrl-C
    asked = "admin\ncorrect horse\n" if "-u" not in words else "correct horse\n"
    result = run(*words, input=asked)
    assert result.exit_code == (1 if words[0] == "diff" else 0), result.output


def test_the_page_has_commands_and_every_exit_code() -> None:
    assert len(LINES) > 12
    table = re.findall(r"^\| (\d+) \|", PAGE, re.M)
    codes = {value for name, value in vars(failure).items() if name.isupper()}
    assert set(map(int, table)) == {0, *codes}
