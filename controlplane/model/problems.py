"""Problems of a configuration: all of them together, each with the path of its field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `field` is a path into what the user sent, like `routes[2].scopes[0]` in a document or `scopes[0]` in a single
    resource; empty when the whole is meant. `detail` is a sentence for people, and never contains a secret.
    """

    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail

    def under(self, parent: str) -> Problem:
        """The same problem, seen from the value that contains this one at `parent`."""
        return Problem(join(parent, self.field), self.detail)


class ConfigProblems(Exception):
    """Base of the errors that carry problems; `str()` joins them into one line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidConfig(ConfigProblems):
    """A requested change is invalid. Nothing was written."""


class InconsistentConfig(ConfigProblems):
    """The store's content cannot be published: an entry does not parse, or a reference is dangling."""


def join(parent: str, field: str) -> str:
    """Put two field paths together: `a` and `b` give `a.b`, `a` and `[0]` give `a[0]`."""
    if not parent or not field:
        return parent or field
    return parent + field if field.startswith("[") else f"{parent}.{field}"


def path_of(location: Iterable[str | int]) -> str:
    """The field path of a sequence of names and list positions."""
    path = ""
    for step in location:
        path = join(path, f"[{step}]" if isinstance(step, int) else step)
    return path
