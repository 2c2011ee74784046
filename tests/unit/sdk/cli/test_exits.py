"""How commands end: exit codes, one line for one problem, causes on demand, and outputs that are not screens."""

from __future__ import annotations

import json
import os
import pty
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

import headgate.cli
from headgate.cli import causes, changes, resources
from tests.support.fake_admin import FakeAdmin, problem
from tests.unit.sdk.cli.conftest import Run

CONTEXTS = "from headgate.cli import main; import sys; sys.argv = ['headgate', *sys.argv[1:]]; main()"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("get", "routes", "-o", "wide"), "--output: 'wide' is not one of 'table', 'json', 'yaml' (see `"),
        (("get",), "KIND is missing: headgate get KIND [NAME]\n"),
        (
            ("drain", "orders"),
            "INSTANCE is missing: headgate drain SERVICE INSTANCE, or set HEADGATE_INSTANCE\n",
        ),
        (("apply", "config"), "--file is missing: headgate apply -f FILE\n"),
        (("rollback",), "--to is missing: headgate rollback --to REVISION\n"),
        (("certs", "init"), "--out is missing: headgate certs init --out FOLDER\n"),
        (("nosuch",), "there is no command 'nosuch' (see `headgate --help`)\n"),
        (("logn",), "there is no command 'logn': did you mean login? (see `headgate --help`)\n"),
        (("context", "rm"), "there is no command 'rm': there are use, set, delete (see `headgate context"),
        (
            ("completion", "bash"),
            "there is no command 'completion': the same is `headgate --show-completion`",
        ),
        (("explain", "route"), "URL is missing: headgate explain METHOD URL\n"),
        (("apply", "--dryrun"), "there is no option --dryrun: did you mean --dry-run? (see `headgate apply"),
        (("apply", "-f"), "option '-f' requires an argument"),
        (("history", "-n", "0"), "--number must be at least 1, not 0 (see `headgate history --help`)\n"),
        (("history", "-n", "x"), "--number must be a whole number, not 'x' (see"),
        (("rollback", "--to", "1.5"), "--to must be a whole number, not '1.5' (see"),
        (("drain", "a", "b", "--timeout", "999"), "--timeout must be at most 300, not 999 (see"),
        (("apply", "-f", "x", "--timeout", "soon"), "--timeout must be a number, not 'soon' (see"),
        (("diff", "a", "b"), "REVISION must be a whole number, not 'a' (see"),
        (("token", "service", "a", "--days", "0"), "--days must be at least 0.001, not 0 (see"),
        (
            ("apply", "-f", "a.yaml", "b.yaml"),
            "too many words, 'b.yaml': each file needs its own -f, or name",
        ),
        (("get", "routes", "a", "b"), "too many words, 'b': headgate get KIND [NAME]\n"),
        (("edit", "route"), "one name of a route is needed"),
        (("edit",), "name what is meant: headgate edit KIND NAME"),
    ],
)
def test_usage_is_told_in_one_line(
    logged_in: Run, admin: FakeAdmin, arguments: tuple[str, ...], told: str
) -> None:
    result = logged_in(*arguments)
    assert (result.exit_code, admin.requests, result.stderr.count("\n")) == (2, [], 1)
    assert result.stderr.startswith(f"headgate: {told}")
    assert not any(words in result.stderr for words in ("Value error", "Input should", "parse"))


@pytest.mark.parametrize("group", ["", "context", "token", "certs", "store", "circuits", "limits"])
def test_help_names_every_command_in_a_line(run: Run, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(*group.split(), "--help").output
    commands = shown.partition("Commands:\n")[2]
    assert commands
    assert "..." not in commands


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (KeyboardInterrupt, 130, "interrupted; nothing was changed"),
        (EOFError, 1, "the question was not answered (--help has an option for it); nothing was changed"),
    ],
)
def test_a_question_that_gets_no_answer(
    run: Run,
    admin: FakeAdmin,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[BaseException],
    code: int,
    told: str,
) -> None:
    def prompt(*_: Any, **__: Any) -> str:
        try:
            raise raised
        except raised:
            raise typer.Abort from None

    monkeypatch.setattr(typer, "prompt", prompt)
    result = run("login")
    assert (result.exit_code, result.stderr) == (code, f"\nheadgate: {told}\n")


def test_another_port(logged_in: Run, admin: FakeAdmin) -> None:
    said = "illegal status line: bytearray(b'\\x00\\x00')"

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError(said, request=request)

    admin.override = answer
    assert "does not speak HTTP/1.1, as an admin API does (--url" in logged_in("get", "routes").stderr
    said = "Server disconnected without sending a response."
    assert "broke: try again" in logged_in("get", "routes").stderr


def test_no_command_shows_the_help(run: Run) -> None:
    result = run()
    assert (result.exit_code, "Commands:" in result.output) == (2, True)


def test_the_cause_is_shown_when_it_is_asked_for(logged_in: Run, admin: FakeAdmin) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused", request=request)

    admin.override = refuse
    short = logged_in("get", "routes")
    assert (short.exit_code, short.stderr.count("\n"), "Errno" in short.stderr) == (1, 1, False)
    for arguments in (("get", "routes", "--verbose"), ("-v", "get", "routes")):
        long = logged_in(*arguments)
        assert long.stderr.startswith(short.stderr)
        assert "httpx.ConnectError: [Errno 111] Connection refused" in long.stderr


def test_a_bug_is_no_traceback(logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(resources, "fetch", broken)
    result = logged_in("get", "routes")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("headgate: this is a bug in headgate (KeyError)")
    assert "Traceback" in logged_in("get", "routes", "-v").stderr


def test_a_write_that_times_out(logged_in: Run, admin: FakeAdmin) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    admin.override = slow
    assert "30 s; whether the change was made is not known" in logged_in("delete", "route", "r").stderr
    assert "not known" not in logged_in("get", "routes").stderr
    assert "not known" not in logged_in("rollback", "--to", "1", "--dry-run").stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "use http:// instead"),
        ("certificate verify failed: unable to get local issuer certificate (_ssl.c:1)", "with --ca"),
        ("certificate verify failed: certificate has expired (_ssl.c:1)", "its certificate has expired"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'x'", "another name"),
        ("certificate verify failed: IP address mismatch, certificate is not", "another name"),
        ("[Errno 111] Connection refused", "nothing listens there"),
        ("[Errno -2] Name or service not known", "its host name is not known"),
        ("[X509] something new (_ssl.c:9)", "the connection failed (--verbose shows why)"),
    ],
)
def test_causes_in_words(error: str, words: str) -> None:
    said = causes.explain(ssl.SSLError(1, error))
    assert words in said
    assert not {"_ssl.c", "Errno", "["} & set(said.split())


def test_files_that_cannot_be_read_or_written(run: Run, admin: FakeAdmin, home: Path) -> None:
    (home / "config").write_text("a file where a folder should be")
    result = run("login", "-u", "admin", "--password-stdin", input="correct horse")
    assert (result.exit_code, result.stderr.count("\n"), "Errno" in result.stderr) == (1, 1, False)


def test_an_answer_without_a_table_of_problems(logged_in: Run, admin: FakeAdmin) -> None:
    admin.override = lambda _: problem(500, "Internal error")
    assert logged_in("get", "routes").stderr == "headgate: Internal error\n"


def command(*arguments: str, stdout: Any, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; `context` needs no control plane."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return subprocess.run(
        [sys.executable, "-c", CONTEXTS, *arguments],
        env={**known, "XDG_CONFIG_HOME": str(home / "config"), "TERM": "xterm", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture
def named(run: Run, home: Path) -> Path:
    run("context", "set", "prod", "https://prod.example")
    return home


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_a_failure(named: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = command("context", stdout=full, home=named)
    assert (done.returncode, done.stderr) == (
        1,
        "headgate: cannot write the output: No space left on device\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_before_any_command(named: Path, option: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = command(option, stdout=full, home=named)
    assert (done.returncode, done.stderr) == (
        1,
        "headgate: cannot write the output: No space left on device\n",
    )


def test_outputs_that_are_closed(named: Path) -> None:
    command = [sys.executable, "-m", "headgate.cli", "context"]
    code = f"import os; os.close(1); os.execv({sys.executable!r}, {command!r})"
    known = {**os.environ, "XDG_CONFIG_HOME": str(named / "config")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_input_that_is_closed(named: Path) -> None:
    command = [sys.executable, "-m", "headgate.cli", "apply", "-f", "-"]
    code = f"import os; os.close(0); os.execv({sys.executable!r}, {command!r})"
    known = {**os.environ, "XDG_CONFIG_HOME": str(named / "config")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "headgate: standard input: nothing is declared there\n")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), AttributeError("none")])
def test_a_diff_that_fails_is_no_difference(
    logged_in: Run, admin: FakeAdmin, home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    (home / "work/a.yaml").write_text("scopes: [{name: a}]")
    monkeypatch.setattr(changes, "print_comparison", fails)
    assert logged_in("diff", "-f", "a.yaml").exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_diff_that_cannot_be_written_is_no_difference(named: Path) -> None:
    code = (
        "from headgate.cli import configuration as c, app\n"
        "def found(*_):\n    print('differs')\n    return True\n"
        "c._between = found\napp.app(['diff', '1', '2'])"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        2,
        "headgate: cannot write the output: No space left on device\n",
    )


def test_an_argument_that_is_not_utf_8(logged_in: Run, admin: FakeAdmin) -> None:
    result = logged_in("get", "route", "caf\udce9")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no route 'caf\\udce9'\n")


def test_passwords_in_urls_are_not_repeated(run: Run) -> None:
    for url in ("https://admin:secret@prod.example", "https://:secret@prod.example", "a:secret@h"):
        result = run("context", "set", "prod", url)
        assert (result.exit_code, "secret" in result.output) == (1, False)
        assert "a URL holds no user name and no password here" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_outputs_that_lack_characters(home: Path, encoding: str) -> None:
    value = {"a": "caf\u00e9 \u65e5 \U0001f600"}
    code = (
        "import sys, headgate.cli as cli, headgate.cli.app as app\n"
        "from headgate.cli import render\n"
        f"value = {value!r}\n"
        "def show(prog_name):\n"
        "    getattr(render, sys.argv[1])(value if 'line' not in sys.argv[1] else value['a'])\n"
        "app.app = show\ncli.main()"
    )
    known = {**os.environ, "PYTHONIOENCODING": encoding}
    shown = {}
    for form in ("print_json", "print_yaml", "print_line"):
        done = subprocess.run([sys.executable, "-c", code, form], env=known, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        shown[form] = done.stdout.decode(encoding)
    assert json.loads(shown["print_json"]) == yaml.safe_load(shown["print_yaml"]) == value
    if encoding == "utf-8":
        assert shown["print_line"] == f"{value['a']}\n"


def test_an_interrupt_while_it_loads_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "headgate.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "headgate.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        headgate.cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "headgate: interrupted\n")


def test_a_reader_that_ended_is_no_failure_to_talk_about(named: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = command("context", stdout=writing, home=named)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color(named: Path, environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        done = command("circuits", "--help", stdout=theirs, home=named, **environment)
        assert done.returncode == 0
        code = "from headgate.cli.render import print_line; print_line(('x', 'red'))"
        known = {**os.environ, "TERM": "xterm-256color", **environment}
        subprocess.run([sys.executable, "-c", code], env=known, stdout=theirs, check=True)
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ("\x1b[31m" in shown) == coloured
