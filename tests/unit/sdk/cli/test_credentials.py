"""The file of contexts and logins: two commands at once, damage, and nobody's home."""

from __future__ import annotations

import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from headgate.cli.credentials import Context, Credentials, Login
from headgate.cli.failure import Failure
from tests.unit.sdk.cli.conftest import Run

URL = "https://prod.example"


def change(path: Path, name: str, times: int) -> None:
    for number in range(times):
        Credentials(path).set_context(Context(f"{name}{number}", f"https://{name}{number}.example"))


def test_commands_side_by_side_keep_each_others_changes(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=change, args=(path, name, 40)) for name in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join()
        assert other.exitcode == 0
    assert len(Credentials(path).contexts) == 80


def test_a_change_waits_for_a_renewal(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    renewing, using = Credentials(path), Credentials(path)
    renewing.save(URL, Login("admin", "old", 0.0, "once"))
    with renewing.locked():
        other = threading.Thread(target=using.use, args=("https://other.example",))
        other.start()
        renewing.save(URL, Login("admin", "new", 1.0, "next"))
    other.join()
    found = Credentials(path).find(URL)
    assert found is not None and found.refresh_token == "next"
    assert Credentials(path).current == "https://other.example"


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        "[" * 100_000,
        '{"contexts": {"a": "x"}}',
        '{"contexts": {"a": {}}}',
        '{"contexts": {"a": {"url": 5}}}',
        '{"contexts": ["a"]}',
        '{"logins": ["a"]}',
        "\0",
    ],
)
def test_a_damaged_file_is_one_line_and_stays(run: Run, home: Path, content: str) -> None:
    path = home / "config/headgate/credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    for words in (("context",), ("context", "set", "a", URL), ("get", "routes")):
        result = run(*words)
        assert (result.exit_code, result.stderr) == (
            1,
            f"headgate: {path} is damaged: remove it and log in again\n",
        )
    assert path.read_text() == content


@pytest.mark.parametrize(
    "login", [{"username": "a"}, {**dict.fromkeys(("username", "access_token"), "a"), "expires": "x"}]
)
def test_a_login_of_another_version_is_none(tmp_path: Path, login: dict[str, str]) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"logins": {URL: login}}))
    assert Credentials(path).find(URL) is None


def test_where_nobody_has_a_home(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    result = run("context")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: there is no home folder to keep logins in: set HOME or XDG_CONFIG_HOME\n",
    )
    with pytest.raises(Failure):
        Credentials().contexts  # noqa: B018 - looked for only now
    assert "No such file" in run("register", "s", "--port", "9000", "--", "no-such-command").stderr
