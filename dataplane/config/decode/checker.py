"""Collects the problems of one resource, field by field, so that all are reported at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dataplane.config.table import Problem, TableError
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.proxy.normal_path import BadPath, match_form, normal_form

T = TypeVar("T")

_PATH = re.compile(r"/[\x21-\x7e]*")
_NAME = re.compile(r"[A-Za-z0-9._:/@~-]{1,256}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


@dataclass(slots=True)
class Checker:
    """Each check takes a field path and a value, records a problem if the value is invalid, and returns the value."""

    resource: str
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, detail: str) -> None:
        """Record one problem."""
        self.problems.append(Problem(self.resource, path, detail))

    def finish(self) -> None:
        """Raise TableError when there are problems."""
        if self.problems:
            raise TableError(self.problems)

    def above_zero(self, path: str, value: float) -> float:
        """A finite number above 0, for instance a duration."""
        if not (math.isfinite(value) and value > 0):
            self.wrong(path, f"must be above 0, not {value:g}")
        return value

    def between(self, path: str, value: float, low: float, high: float) -> None:
        """A number from `low` to `high`, both included."""
        if not low <= value <= high:
            self.wrong(path, f"must be from {low:g} to {high:g}, not {value:g}")

    def count(self, path: str, value: int) -> int:
        """A whole number from 1."""
        if value < 1:
            self.wrong(path, f"must be 1 or more, not {value}")
        return value

    def same(self, path: str, value: str, expected: str) -> str:
        """A name that must be the resource's own."""
        if value != expected:
            self.wrong(path, f"must be {expected!r}, not {value!r}")
        return value

    def given(self, path: str, value: str) -> str:
        """A string that is not empty."""
        if not value:
            self.wrong(path, "must not be empty")
        return value

    def name(self, path: str, value: str) -> str:
        """A resource's name: no characters that logs, labels or URLs must escape, and no built-in name."""
        if not _NAME.fullmatch(value):
            self.wrong(path, f"{value!r} is not a name")
        elif value.startswith(BUILTIN):
            self.wrong(path, f"{value!r} begins with {BUILTIN!r}: such names are reserved for the data plane")
        return value

    def path(self, path: str, value: str) -> str:
        """A URL path of visible ASCII characters, from the slash on."""
        if not _PATH.fullmatch(value):
            self.wrong(path, f"must be a path that begins with '/', not {value!r}")
        return value

    def route_path(self, path: str, value: str) -> str:
        """A path that a request can have, normalized as for matching."""
        try:
            return match_form(normal_form(self.path(path, value)))
        except BadPath as bad:
            self.wrong(path, f"no request can have this path: {bad}")
            return value

    def token(self, path: str, value: str) -> str:
        """A method or field name."""
        if not _TOKEN.fullmatch(value):
            self.wrong(path, f"{value!r} is not a token (RFC 9110)")
        return value

    def each(self, path: str, values: Sequence[str], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
        """Strings that each match `pattern`; `what` describes it."""
        if not values:
            return ()  # most lists of most routes
        found = tuple(values)
        for position, value in enumerate(found):
            if not pattern.fullmatch(value):
                self.wrong(f"{path}[{position}]", f"{value!r} is not {what}")
        return found

    def choice(self, path: str, value: int, known: Mapping[int, T], fallback: T) -> T:
        """An enum value that this version understands."""
        if value not in known:
            self.wrong(path, f"value {value} is not known to this version")
        return known.get(value, fallback)
