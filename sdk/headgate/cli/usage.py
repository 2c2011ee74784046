"""Plain messages for problems of a command line: those of the parser libraries are for programmers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.cli.spelling import meant

_HABITS: Mapping[str, str] = {
    "completion": "--show-completion",
    "config": "context",
    "create": "apply -f FILE",
    "describe": "get KIND NAME -o yaml",
    "dump": "get all -o yaml",
    "label": "patch KIND NAME -p PATCH",
    "ls": "get KIND",
    "ping": "status",
    "replace": "apply -f FILE",
    "rm": "delete KIND NAME",
    "set": "patch KIND NAME -p PATCH",
    "sync": "apply -f FILE",
    "validate": "apply -f FILE --dry-run",
    "version": "--version",
}
"""Commands of kubectl, decK and shells, and their equivalents here."""

_NUMBERS: Mapping[str, str] = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
}


def explain(error: Any) -> str:
    """One line for an error of typer: the problem, and the remedy."""
    context = getattr(error, "ctx", None)
    name = type(error).__name__
    param = getattr(error, "param", None)
    if name == "MissingParameter" and param is not None:
        variable = f", or set {param.envvar}" if param.envvar else ""
        return f"{_name(param)} is missing: {_usage(context, param)}{variable}"
    if name == "NoSuchOption":
        said = f"there is no option {error.option_name}{meant(error.option_name, error.possibilities or ())}"
    elif param is not None:
        said = f"{_name(param)}{_wrong(error)}"
    elif "unexpected extra argument" in str(error.message) and context is not None:
        words = str(error.message).rpartition("(")[2].rstrip(")")
        if any("--file" in param.opts for param in context.command.params):
            # A shell makes several words of `-f *.yaml`.
            return f"too many words, {words!r}: each file needs its own -f, or name their folder"
        return f"too many words, {words!r}: {_usage(context, None)}"
    elif "such command" in str(error.message):
        said = _no_command(error, context)
    else:
        text = str(error.format_message()).rstrip(".")
        said = f"{text[:1].lower()}{text[1:]}"
    return f"{said} (see `{context.command_path} --help`)" if context is not None else said


def _wrong(error: Any) -> str:
    """The problem with the value of a parameter."""
    causes = getattr(error.__cause__, "errors", None)
    first: Mapping[str, Any] = (list(causes()) or [{}])[0] if callable(causes) else {}
    kind, bounds = str(first.get("type")), first.get("ctx") or {}
    if kind in _NUMBERS:
        return f" {_NUMBERS[kind]}, not {first.get('input')!r}"
    if kind == "greater_than_equal":
        return f" must be at least {bounds.get('ge'):g}, not {first.get('input')}"
    if kind == "less_than_equal":
        return f" must be at most {bounds.get('le'):g}, not {first.get('input')}"
    return f": {str(error.message).removeprefix('Value error, ').rstrip('.')}"


def _no_command(error: Any, context: Any) -> str:
    typed = str(error.message).partition("'")[2].partition("'")[0]
    known = list(context.command.list_commands(context)) if context is not None else []
    if context is not None and context.parent is None and typed in _HABITS:
        return f"there is no command {typed!r}: the same is `headgate {_HABITS[typed]}`"
    hint = meant(typed, known)
    if not hint and context is not None and context.parent is not None:
        hint = f": there are {', '.join(known)}"
    return f"there is no command {typed!r}{hint}"


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name).upper().strip("[]")
    return str(max(param.opts, key=len))


def _usage(context: Any, missing: Any) -> str:
    """The command with its required arguments."""
    words = [context.command_path]
    if missing is not None and missing.param_type_name != "argument":
        words.append(f"{min(missing.opts, key=len)} {(missing.metavar or missing.name).upper()}")
    for param in context.command.params:
        if param.param_type_name == "argument":
            words.append(_name(param) if param.required else f"[{_name(param)}]")
    return " ".join(words)
