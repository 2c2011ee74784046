"""The command line, from its parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main
from typer.core import TyperGroup

from headgate.cli.app import app
from tests.support.reference.schema import cell, code

HEADER = """\
# Commands

Every command of `headgate` with its arguments and options, as `--help` shows them. [The command line](command-line.md)
describes their common behaviour: contexts, files, output, exit codes. This page is made from the code (`make docs`).

Options of all commands:
"""


Command = Any
"""A command of the parser that typer has within itself."""


def command_tree() -> TyperGroup:
    """The parser of `headgate`."""
    made: Any = typer.main.get_command(app)
    assert isinstance(made, TyperGroup)
    return made


def leaves(command: Command, name: str) -> Iterator[tuple[str, Command]]:
    """Full name and command of each command (without groups), in the order of the parser."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    if command.invoke_without_command:
        yield name, command
    for key, inner in command.commands.items():
        if not inner.hidden:
            yield from leaves(inner, f"{name} {key}")


def render() -> str:
    """The whole page."""
    root = command_tree()
    shared = dict(_parameters(root))
    lines = [HEADER, "| option | meaning |", "|---|---|", *shared.values()]
    for name, command in leaves(root, "headgate"):
        if command is root:
            continue
        usage = " ".join(command.collect_usage_pieces(command.context_class(command)))
        text, examples = _help(command)
        lines += [f"\n## {name}\n", f"`{name} {usage}`", "", *text]
        rows = [row for option, row in _parameters(command) if option not in shared]
        if rows:
            lines += ["", "| argument or option | meaning |", "|---|---|", *rows]
        if examples:
            lines += ["", "```bash", *examples, "```"]
    return "\n".join(lines) + "\n"


def _help(command: Command) -> tuple[list[str], list[str]]:
    """The text, and the examples, which are paragraphs that begin with \\b."""
    text, examples = list[str](), list[str]()
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            examples += [line.strip() for line in paragraph.splitlines()[1:]]
        else:
            text += ["", " ".join(paragraph.split())]
    return text[1:], examples


def _round(text: str) -> str:
    """Defaults and ranges in round brackets: square ones are links in Markdown."""
    return re.sub(r"\[([^\]]*)\]", r"(\1)", text)


def _parameters(command: Command) -> Iterator[tuple[str, str]]:
    """Name and row, of each argument and option that is shown."""
    context = command.context_class(command)
    for parameter in command.params:
        if record := parameter.get_help_record(context):
            shown, said = record
            yield parameter.name, f"| {code(shown)} | {cell(_round(' '.join(said.split())))} |"
