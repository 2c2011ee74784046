"""Environment variables in the values of files: `${NAME}`, `${NAME:-default}`, and `$$` for a `$`.

They are put in after a file was parsed, so that no value of a variable can change the structure of the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from headgate.cli.places import Path

Environment = Mapping[str, str]

_TOKEN = re.compile(r"\$\$|\$\{(?P<inner>[^}]*)(?P<end>\}?)")
_INNER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)
_ESCAPED = re.compile(r"\$(?=[${])")
_PLAIN = "$${ stands for a plain ${"


class BadVariable(Exception):
    """A variable that is not set, or is not written correctly."""


def substitute(text: str, environment: Environment) -> str:
    """The text with the values of its variables. Raises BadVariable."""
    return _TOKEN.sub(lambda found: _value(found, environment), text) if "$" in text else text


def escape(text: str) -> str:
    """The text as it must be written for `substitute` to return it."""
    return _ESCAPED.sub("$$", text)


def _value(found: re.Match[str], environment: Environment) -> str:
    if found[0] == "$$":
        return "$"
    # A variable in a default would stay as it is, and its last brace would follow.
    whole = found["end"] and "${" not in found["inner"]
    inner = _INNER.fullmatch(found["inner"]) if whole else None
    if inner is None:
        raise BadVariable(
            f"{found[0][:80]!r} is no variable: write ${{NAME}} or ${{NAME:-default}}; {_PLAIN}"
        )
    name, default = inner["name"], inner["default"]
    value = environment.get(name)
    if default is not None:
        value = value or default.removeprefix(":-")
    if value is None:
        raise BadVariable(
            f"environment variable {name} is not set; ${{{name}:-default}} has a default, {_PLAIN}"
        )
    if not _is_text(value):
        raise BadVariable(f"environment variable {name} is not UTF-8")
    return value


def _is_text(value: str) -> bool:
    """Whether it has no byte that could not be decoded (PEP 383)."""
    return not any("\udc80" <= character <= "\udcff" for character in value)


def map_texts(value: object, changed: Callable[[str, Path], object], path: Path = ()) -> object:
    """A parsed value with each text in it, keys excepted, changed by a function of the text and its path."""
    if isinstance(value, str):
        return changed(value, path)
    if isinstance(value, dict):
        return {key: map_texts(inner, changed, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [map_texts(inner, changed, (*path, position)) for position, inner in enumerate(value)]
    return value


def escape_all(value: object) -> object:
    """The value with `escape` applied to each text in it."""
    return map_texts(value, lambda text, _: escape(text))


def field_of(path: Sequence[str | int]) -> str:
    """The path as the API writes it: routes[0].prefix."""
    told = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return told.removeprefix(".")
