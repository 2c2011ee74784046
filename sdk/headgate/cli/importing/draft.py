"""The resources of a translation while it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headgate.cli.importing.notes import Notes

Resources = dict[str, list[dict[str, Any]]]

_MATCH: Final[tuple[str, ...]] = ("hosts", "prefix", "path", "path_regex", "methods", "headers")
_LONGEST: Final = 200
"""Characters of a name, so that a suffix still fits."""


@dataclass(slots=True)
class Draft:
    """Resources, notes, and the names that are taken."""

    http_port: int | None = None
    """Port of a listener that redirects to https; None: no such redirects."""
    notes: Notes = field(default_factory=Notes)
    _sections: Resources = field(
        default_factory=lambda: {
            name: [] for name in ("scopes", "rate_limits", "listeners", "services", "routes")
        }
    )
    _names: set[tuple[str, str]] = field(default_factory=set)

    def name(self, section: str, wanted: str) -> str:
        """A name in Headgate's form that no other resource of the section has."""
        base = name = clean(wanted) or section.removesuffix("s")
        number = 2
        while (section, name) in self._names:
            name, number = f"{base}-{number}", number + 1
        self._names.add((section, name))
        return name

    def add(self, section: str, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Append a resource, without fields that are None or empty."""
        kept = {
            name: value
            for name, value in resource.items()
            if value is not False and value not in (None, [], {}, "")
        }
        self._sections[section].append(kept)
        return kept

    def resources(self) -> Resources:
        """The sections that hold something."""
        return {section: found for section, found in self._sections.items() if found}

    def redirect_to_https(self, route: dict[str, Any], place: str, status: int) -> None:
        """Let the route serve https alone, and redirect http."""
        if self.http_port is None:
            self.notes.left_out(
                place, "the redirect from http to https; --http-port PORT makes a listener for it"
            )
            return
        if not self._sections["listeners"]:
            self.add("listeners", {"name": "http", "port": self.http_port})
        route["listeners"] = ["default"]
        twin = {name: route[name] for name in _MATCH if name in route}
        name = self.name("routes", f"{route['name']}-to-https")
        redirect = {"scheme": "https", "status": status}
        self.add(
            "routes", {"name": name, **twin, "redirect": redirect, "public": True, "listeners": ["http"]}
        )


def clean(wanted: str) -> str:
    """The text in the form of names: lower-case letters, digits, '.', '_' and '-'."""
    return re.sub(r"[^a-z0-9._-]+", "-", wanted.lower())[:_LONGEST].strip("._-")
