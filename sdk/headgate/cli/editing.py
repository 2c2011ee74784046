"""headgate edit: a resource in the editor, written back unless it was changed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.api import ApiError, as_option
from headgate.cli.completion import complete_kind_or_name
from headgate.cli.failure import FAILED, Failure
from headgate.cli.kinds import Kind, find_resource
from headgate.cli.options import ForceOption
from headgate.cli.render import print_line, without_nothing, yaml_text
from headgate.cli.resources import absent
from headgate.cli.session import Session
from headgate.cli.yaml_values import MalformedYaml, read_yaml

_ABOVE = 2
"""Lines that stand above the text when a mistake is shown in it: the title, and the mistake."""


def edit(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="KIND NAME", autocompletion=complete_kind_or_name)
    ] = None,
    force: ForceOption = False,
) -> None:
    """Change a resource in an editor.

    The editor is that of VISUAL or EDITOR, else vi. Saving writes the resource as a whole: a removed field gets its
    default. If the text has problems, the editor opens again and shows them; leaving the text unchanged then ends the
    command and keeps the file. An empty text ends the command, too.

    \b
    headgate edit route orders
    EDITOR="code --wait" headgate edit service payments
    """
    kind, name = find_resource(what or (), "edit")
    session: Session = ctx.obj
    with session.api() as api:
        try:
            now, etag = api.read(*kind.path, name)
        except ApiError as refused:
            raise absent(api, kind, name) if refused.status == 404 else refused from refused
        before = _text(now)
        file = _file(kind, name)
        problems: list[str] = []
        while True:
            text = _edited(file, before, problems, f"{kind.singular} {name}")
            if not text.strip():
                file.unlink(missing_ok=True)
                print_line("Nothing changed: the text is empty")
                return
            if text == before:
                _end_unchanged(file, problems)
                return
            try:
                content = json.dumps(read_object(text)).encode()
                written = api.put(*kind.path, name, content=content, if_match=etag, force=force)
                break
            except ApiError as refused:
                if refused.status == 412:
                    raise _kept(
                        file, f"{kind.singular} {name} was changed by somebody else meanwhile"
                    ) from refused
                if refused.status != 400:
                    raise _kept(file, str(as_option(refused))) from refused
                problems = str(refused).splitlines()
            except MalformedYaml as error:
                problems = [f"line {_ABOVE + error.line}: {error}"]
            except Failure as failure:
                raise _kept(file, str(failure)) from failure
            before = text
    file.unlink(missing_ok=True)
    # The ETag, because a password is not among the fields that are read.
    print_line(f"Changed {kind.singular} {name}" if written != etag else "Nothing changed")


def _text(resource: Any) -> str:
    return yaml_text(without_nothing(resource))


def _file(kind: Kind, name: str) -> Path:
    safe = "".join(character if character.isalnum() else "-" for character in name)
    handle, path = tempfile.mkstemp(prefix=f"headgate-{kind.singular}-{safe}-", suffix=".yaml")
    os.close(handle)
    return Path(path)


def _edited(file: Path, text: str, problems: list[str], title: str) -> str:
    """The text from the editor, without leading comments. Raises Failure if the editor cannot be started, or fails."""
    head = [f"{title}. An unchanged or empty text changes nothing.", *problems]
    file.write_text("".join(f"# {line}\n" for line in head) + text, encoding="utf-8")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        with _interrupted_alone():
            code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode  # noqa: S603 - theirs
    except (OSError, ValueError) as error:
        file.unlink(missing_ok=True)
        raise Failure(f"cannot start the editor {editor!r}: set EDITOR to one that is installed") from error
    if code:
        raise _kept(file, f"the editor {editor!r} ended with exit code {code}; nothing was changed")
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise _kept(file, "the text is not UTF-8; nothing was changed") from error
    while lines and lines[0].startswith("#"):
        del lines[0]
    return "".join(lines)


@contextlib.contextmanager
def _interrupted_alone() -> Iterator[None]:
    """Leave Ctrl-C to the editor, as git does: it would be killed, and the text with it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread alone
        return
    # Not ignored: the editor would ignore it as well.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_object(text: str) -> dict[str, object]:
    """The one object in a text of YAML or JSON. Raises MalformedYaml."""
    found = read_yaml(text)
    if len(found) != 1 or not isinstance(found[0], dict):
        raise MalformedYaml("there must be exactly one object", 1, 1)
    return found[0]


def _end_unchanged(file: Path, problems: list[str]) -> None:
    if problems:
        raise _kept(file, "the text still has problems; nothing was changed")
    file.unlink(missing_ok=True)
    print_line("Nothing changed")


def _kept(file: Path, why: str) -> Failure:
    return Failure(f"{why} (the text is in {file})", FAILED)
