"""Logs of both planes: messages and their fields from the calls that log them, meanings from `log_fields`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane import log_fields as controlplane
from dataplane.observe import log_fields as dataplane
from tests.support.pages import ROOT
from tests.support.reference.schema import cell

HEADER = """\
# Logs

Both planes log one JSON object on each line of stderr (`LOG_LEVEL`). Data planes also write an access log, one line for
each request, on stdout (`ACCESS_LOG`) or in a file (`ACCESS_LOG_FILE`). If a log is not read fast enough, lines are
dropped and counted; the planes never wait for the reader. This page is made from the code (`make docs`).
"""
CHOSEN = """
`ACCESS_LOG_FIELDS` chooses the fields of a line, `ACCESS_LOG_FORMAT` also its form: see
[Monitoring](../how-to/monitoring.md#the-access-log). Only then may a line have these, and any field of the request as
`header:NAME`. Values of fields and query parameters that hold credentials are `***`; `ACCESS_LOG_REDACT` names more.
"""
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


@dataclass(frozen=True, order=True)
class Line:
    """A log message of a plane."""

    message: str
    level: str
    fields: tuple[str, ...]


def lines_of(plane: str) -> Iterator[Line]:
    """Every message with a constant text, in the sources of a plane."""
    for path in sorted((ROOT / plane).rglob("*.py")):
        if "_pb2" not in path.name:
            yield from lines_in(path)


def lines_in(path: Path) -> Iterator[Line]:
    """The same, in one source."""
    tree = ast.parse(path.read_text())
    named = list(_dictionaries(tree))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        owner, text = node.func.value, node.args[0]
        logs = (
            isinstance(owner, ast.Name)
            and owner.id in ("logger", "_log", "log")
            and node.func.attr in _LEVELS
        )
        if logs and isinstance(text, ast.Constant) and str(text.value).strip("%s"):
            extra = next((one.value for one in node.keywords if one.arg == "extra"), None)
            level = node.func.attr.replace("exception", "error")
            message = re.sub(r"%[sdr]", "…", str(text.value))
            before = {name: found for at, name, found in named if at <= node.lineno or name.startswith("_")}
            yield Line(message, level, tuple(dict.fromkeys(_keys(extra, before))))


def _dictionaries(tree: ast.AST) -> Iterator[tuple[int, str, ast.Dict]]:
    """Line, name and value of dictionaries in variables, and of those that functions return, by the function's name. A
    variable may have several values: the last one before a call counts. Lines are in order.
    """
    yield from sorted(_unsorted(tree), key=lambda found: found[0])


def _unsorted(tree: ast.AST) -> Iterator[tuple[int, str, ast.Dict]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            yield from (
                (node.lineno, one.id, node.value) for one in node.targets if isinstance(one, ast.Name)
            )
        elif isinstance(node, ast.FunctionDef):
            for inner in node.body:
                if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Dict):
                    yield node.lineno, node.name, inner.value


def _keys(extra: ast.AST | None, named: Mapping[str, ast.Dict]) -> Iterator[str]:
    for node in ast.walk(extra) if extra is not None else ():
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        found = node if isinstance(node, ast.Dict) else named.get(name)
        for key in found.keys if found else ():
            if isinstance(key, ast.Constant):
                yield str(key.value)


def render() -> str:
    """The whole page. ValueError names the fields that have no meaning in `log_fields`."""
    lines = [HEADER, "\n## Access log\n", *_table(dataplane.REQUEST), CHOSEN, *_table(dataplane.CHOSEN)]
    for plane, title, fields in (
        ("dataplane", "Data plane", (dataplane.EVERY, dataplane.SOME)),
        ("controlplane", "Control plane", (controlplane.EVERY, controlplane.SOME)),
    ):
        messages = sorted(set(lines_of(plane)))
        if unknown := {one for line in messages for one in line.fields} - fields[1].keys():
            raise ValueError(f"fields of {plane}'s log without a meaning: {', '.join(sorted(unknown))}")
        lines += [f"\n## {title}\n", "Every line has:\n", *_table(fields[0])]
        if plane == "controlplane":
            lines += [
                "\n`admin request` has one line for each request to the admin API:\n",
                *_table(controlplane.REQUEST),
            ]
        lines += ["\nSome have:\n", *_table(fields[1])]
        lines += [f"\n### Messages of the {title.lower()}\n", "| message | level | fields |", "|---|---|---|"]
        for line in messages:
            names = ", ".join(f"`{name}`" for name in line.fields)
            lines.append(f"| {cell(line.message)} | {line.level} | {names} |")
    return "\n".join(lines) + "\n"


def _table(fields: Mapping[str, str]) -> Iterator[str]:
    yield from ("| field | meaning |", "|---|---|")
    for name, said in fields.items():
        yield f"| `{name}` | {cell(said)} |"
