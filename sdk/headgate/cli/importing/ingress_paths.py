"""Paths of an Ingress as matches and rewrites.

With `use-regex` or `rewrite-target`, ingress-nginx reads paths as regular expressions that ignore case and match the
beginning of the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headgate.cli.importing.ingress_annotations import Annotations
from headgate.cli.importing.notes import Notes, Unusable
from headgate.cli.importing.values import expression, path_text, text

_STRIPPED: Final = re.compile(r"(/[A-Za-z0-9._~/-]*?)(?:\(/\|\$\))?\(\.\*\)\$?")
_GROUP: Final = re.compile(r"\$(\d)")


def matched(entry: Mapping[str, Any], place: str, annotations: Annotations, notes: Notes) -> dict[str, Any]:
    """Fields of a route for one path. Raises Unusable."""
    path = text(entry.get("path"), "/")
    target = annotations["rewrite-target"]
    kind = text(entry.get("pathType"), "Prefix")
    if not target and (kind == "Exact" or not annotations.on("use-regex")):
        return _literal(path, kind, place)
    if (found := _STRIPPED.fullmatch(path)) and target in ("/$2", "/$1") and _strips(path, target):
        notes.changed(f"{place}.path", "a prefix: it matches with its case, and whole segments")
        prefix = path_text(found[1].rstrip("/") or "/")
        if prefix:
            return {"prefix": prefix, "strip_prefix": prefix != "/"}
    return _expression(path, target, place)


def _strips(path: str, target: str) -> bool:
    groups = len(re.findall(r"(?<!\\)\((?!\?)", path))
    return target == f"/${groups}" and (groups == 2 or path.endswith(("/(.*)", "/(.*)$")))


def _literal(path: str, kind: str, place: str) -> dict[str, Any]:
    found = path_text(path if kind == "Exact" else path.rstrip("/") or "/")
    if found is None:
        raise Unusable(f"{place}.path", "no path that a route can have (RFC 3986, 3.3)")
    return {"path" if kind == "Exact" else "prefix": found}


def _expression(path: str, target: str, place: str) -> dict[str, Any]:
    pattern = expression(path.removeprefix("^"))
    if pattern is None:
        raise Unusable(f"{place}.path", "not a regular expression of RE2")
    made: dict[str, Any] = {"path_regex": f"(?i:{pattern}).*"}
    if not target:
        return made
    replaced = _GROUP.sub("x", target)
    if path_text(replaced) is None or "$" in replaced:
        raise Unusable(f"{place}.path", "a rewrite-target that is no path")
    if replaced == target:
        return made | {"rewrite_full": target}
    if any(int(group) > re.compile(pattern).groups for group in _GROUP.findall(target)):
        raise Unusable(f"{place}.path", "a rewrite-target with a group that the path does not have")
    substitution = _GROUP.sub(r"\\\1", target)
    return made | {"rewrite_regex": {"pattern": f"^(?i:{pattern}).*", "substitution": substitution}}
