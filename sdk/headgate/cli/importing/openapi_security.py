"""Security requirements of OpenAPI as scopes of routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headgate.cli.importing.draft import Draft
from headgate.cli.importing.values import entries, mapping, resolve, shortened, text, texts

_MOST_SCOPES = 64


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a route."""

    public: bool = False
    scopes: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """As fields of a route."""
        return {"public": True} if self.public else {"scopes": list(self.scopes)}


class Security:
    """The schemes of a description."""

    def __init__(self, root: Mapping[str, Any], draft: Draft) -> None:
        self._draft = draft
        self._notes = draft.notes
        self._default = root.get("security")
        schemes = mapping(mapping(root.get("components")).get("securitySchemes"))
        self._schemes = {name: mapping(_resolved(root, scheme)) for name, scheme in schemes.items()}
        self._scopes: dict[str, str] = {}
        """By the name in the description, the name of the resource."""

    def of(self, operation: Mapping[str, Any], place: str) -> Access:
        """Access to an operation. Where it is unclear, a token is needed."""
        own = "security" in operation
        wanted = operation["security"] if own else self._default
        where = f"{place}.security" if own else "security"
        if wanted is None or wanted == [] or {} in entries(wanted):
            if wanted:
                self._notes.changed(
                    where, "a token is optional: the routes are public, and the service decides"
                )
            return Access(public=True)
        alternatives = [one for one in entries(wanted) if isinstance(one, dict)]
        if len(alternatives) > 1:
            self._notes.left_out(
                f"{where}[1]", "alternatives: a route has one list of required scopes, the first"
            )
        return self._required(alternatives[0] if alternatives else {}, f"{where}[0]")

    def _required(self, requirement: Mapping[str, Any], where: str) -> Access:
        scopes: dict[str, None] = {}
        for name, wanted in requirement.items():
            scheme = self._schemes.get(name, {})
            kind = text(scheme.get("type"), "unknown")
            if kind in ("oauth2", "openIdConnect"):
                scopes |= dict.fromkeys(self._scope(one, scheme, f"{where}.{name}") for one in texts(wanted))
                continue
            self._notes.left_out(
                f"components.securitySchemes.{name}", f"type {kind}: callers need a token of Headgate instead"
            )
        if len(scopes) > _MOST_SCOPES:
            self._notes.left_out(where, f"scopes beyond the first {_MOST_SCOPES}")
        return Access(scopes=tuple(scopes)[:_MOST_SCOPES])

    def _scope(self, wanted: str, scheme: Mapping[str, Any], where: str) -> str:
        if wanted not in self._scopes:
            name = self._free(wanted)
            if name != wanted:
                self._notes.changed(where, f"scope {wanted!r} is called {name!r}")
            self._scopes[wanted] = name
            self._draft.add("scopes", {"name": name, "description": _described(wanted, scheme)})
        return self._scopes[wanted]

    def _free(self, wanted: str) -> str:
        base = name = (
            re.sub(r"[^a-z0-9._:-]+", "-", wanted.lower()).strip("._:-")[-60:].strip("._:-") or "scope"
        )
        number = 2
        while name in self._scopes.values():
            name, number = f"{base[:56]}-{number}", number + 1
        return name


def _resolved(root: Mapping[str, Any], scheme: object) -> object:
    reference = mapping(scheme).get("$ref")
    return scheme if reference is None else resolve(root, text(reference))


def _described(scope: str, scheme: Mapping[str, Any]) -> str:
    for flow in mapping(scheme.get("flows")).values():
        if found := shortened(mapping(mapping(flow).get("scopes")).get(scope)):
            return found
    return ""
