"""The Python SDK, from the docstrings and signatures of the names that `headgate` exports."""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import headgate

HEADER = """\
# Python SDK

The public names of `import headgate`, with their docstrings. The [tutorial](../tutorial/index.md) shows their use. This
page is made from the code (`make docs`).
"""


def render() -> str:
    """The whole page. ValueError lists names without a docstring."""
    lines, silent = [HEADER], list[str]()
    for name in headgate.__all__:
        value = getattr(headgate, name)
        lines += [f"\n## {name}\n"]
        if not inspect.getdoc(value):
            silent.append(name)
        lines += list(
            _module(name, value) if isinstance(value, ModuleType) else _thing(f"headgate.{name}", value)
        )
    if silent:
        raise ValueError("without a docstring: " + ", ".join(silent))
    return "\n".join(lines) + "\n"


def _module(name: str, module: ModuleType) -> Iterator[str]:
    yield from _prose(module)
    for key in getattr(module, "__all__", None) or [key for key in vars(module) if not key.startswith("_")]:
        value = getattr(module, key)
        if getattr(value, "__module__", None) == module.__name__ and callable(value):
            yield f"\n### {name}.{key}\n"
            yield from _thing(f"headgate.{name}.{key}", value)


def _thing(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        yield from _prose(value)
        yield "Values: " + ", ".join(f"`{member.name}`" for member in value) + "."
        return
    if inspect.isclass(value):
        if not issubclass(value, BaseException) and (shown := _signature(path, value)):
            yield from ("```py", shown, "```", "")
        yield from _prose(value)
        if issubclass(value, BaseException):
            bases = [base.__name__ for base in value.__bases__ if base is not Exception]
            yield f"An exception{f', a `{bases[0]}`' if bases else ''}.\n"
        yield from _members(value)
    else:
        prefix = "await " if inspect.iscoroutinefunction(value) else ""
        yield from ("```py", prefix + (_signature(path, value) or path), "```", "")
        yield from _prose(value)


def _members(value: type) -> Iterator[str]:
    rows = []
    for key, member in vars(value).items():
        if key.startswith("_"):
            continue
        plain = inspect.unwrap(member.__func__ if isinstance(member, classmethod | staticmethod) else member)
        if isinstance(member, property):
            rows.append((f"`{key}`", inspect.getdoc(member)))
        elif inspect.isfunction(plain):
            prefix = "await " if inspect.iscoroutinefunction(plain) else ""
            rows.append((f"`{prefix}{_signature(key, plain, bare=True)}`", inspect.getdoc(plain)))
    documented = [(shown, said) for shown, said in rows if said]
    if documented:
        yield "| member | meaning |"
        yield "|---|---|"
        for shown, said in documented:
            yield f"| {shown.replace('|', chr(92) + '|')} | {' '.join(said.split()).replace('|', chr(92) + '|')} |"
        yield ""


def _signature(path: str, value: Any, *, bare: bool = False) -> str:
    """The signature; `bare`: without annotations."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    parts, starred = list[str](), False
    for name, parameter in signature.parameters.items():
        if name == "self":
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.VAR_POSITIONAL, parameter.KEYWORD_ONLY)
        parts.append(_parameter(name, parameter, bare))
    returns = signature.return_annotation
    arrow = "" if bare or inspect.isclass(value) or returns is signature.empty else f" -> {_name(returns)}"
    one_line = f"{path}({', '.join(parts)}){arrow}"
    if bare or len(one_line) <= 100:
        return one_line
    return "\n".join([f"{path}(", *(f"    {part}," for part in parts), f"){arrow}"])


def _parameter(name: str, parameter: inspect.Parameter, bare: bool) -> str:
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    annotated = not bare and parameter.annotation is not parameter.empty
    shown = stars.get(parameter.kind, "") + name + (f": {_name(parameter.annotation)}" if annotated else "")
    if parameter.default is parameter.empty:
        return shown
    default = parameter.default
    if isinstance(default, enum.Enum):
        text = f"{type(default).__name__}.{default.name}"
    elif re.search(r"0x[0-9a-f]{6}|<factory>", repr(default)):
        text = "…"
    else:
        text = repr(default)
    return f"{shown} = {text}" if annotated else f"{shown}={text}"


def _name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _prose(value: Any) -> Iterator[str]:
    """The docstring. Indented text is an example, or continues the argument above; arguments become a list."""
    indented = list[str]()
    for line in [*(inspect.getdoc(value) or "").splitlines(), ""]:
        if line.startswith("    ") or (indented and not line):
            indented.append(line[4:])
            continue
        yield from _indented(indented)
        indented = []
        argument = _ARGUMENT.match(line)
        yield f"- `{argument[1]}`: {argument[2]}" if argument else line
    yield from _indented(indented)


_ARGUMENT = re.compile(r"([a-z_]+(?:, [a-z_]+)*): (.+)")


def _indented(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip("\n")
    if not text:
        return
    try:
        compile(text, "docstring", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        yield from (f"  {line.strip()}" for line in text.splitlines())
    else:
        yield from ("```python", text, "```")
    yield ""
