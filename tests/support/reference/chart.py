"""Values of the chart: the table of docs/reference/chart.md, and the descriptions in values.schema.json.

Both come from the comments in values.yaml. A group of values is a mapping in block style whose schema names its
members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.pages import ROOT
from tests.support.reference.schema import Schema, Schemas, cell, code

CHART = ROOT / "charts" / "headgate"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
HEADER = """\
# Values of the chart

Values of `charts/headgate`, with their defaults. A value that is not in these tables, or has another type, is an error
that names it. Objects of Kubernetes (`resources`, `affinity`, `tolerations` and others) are passed on as they are.
This page is made from the comments of `values.yaml` (`make docs`).
"""
OPEN: Schema = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value, or a group of them."""

    path: tuple[str, ...]
    comment: str
    node: yaml.Node
    schema: Schema
    group: bool

    @property
    def name(self) -> str:
        """The path as `helm --set` takes it."""
        return ".".join(self.path)


class Comments:
    """The comments of a YAML file, by the lines below them."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def above(self, line: int) -> str:
        """The comment that ends right above this line (from 0); empty if there is none."""
        first = line
        while first and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return " ".join(each.strip().lstrip("#").strip() for each in self._lines[first:line])


def values() -> Iterator[Value]:
    """Every value and group of values.yaml, in its order."""
    text, schema = VALUES.read_text(), json.loads(SCHEMA.read_text())
    schemas = Schemas(schema["definitions"])
    yield from _within(yaml.compose(text), schemas, schema, Comments(text), ())


def _within(
    node: yaml.Node | None, schemas: Schemas, schema: Schema, comments: Comments, path: tuple[str, ...]
) -> Iterator[Value]:
    assert isinstance(node, yaml.MappingNode)
    members = schemas.resolve(schema).get("properties", {})
    for key, value in node.value:
        own = members.get(key.value, OPEN)
        named = "properties" in schemas.resolve(own)
        group = named and isinstance(value, yaml.MappingNode) and not value.flow_style
        found = Value((*path, key.value), comments.above(key.start_mark.line), value, own, group)
        yield found
        if group:
            yield from _within(value, schemas, own, comments, found.path)


def render() -> str:
    """The page. ValueError names the values without a comment."""
    schemas = Schemas(json.loads(SCHEMA.read_text())["definitions"])
    found = list(values())
    if silent := [each.name for each in found if not each.comment]:
        raise ValueError("values without a comment in values.yaml: " + ", ".join(silent))
    lines = [HEADER, "## General\n", *_HEAD]
    lines += [_row(each, schemas) for each in found if len(each.path) == 1 and not each.group]
    for group in (each for each in found if len(each.path) == 1 and each.group):
        lines += ["", f"## `{group.name}`\n", f"{group.comment}\n", *_HEAD]
        lines += [_row(each, schemas) for each in found if each.path[0] == group.name and len(each.path) > 1]
    return "\n".join(lines) + "\n"


_HEAD = ("| value | type | default | meaning |", "|---|---|---|---|")


def _row(value: Value, schemas: Schemas) -> str:
    if value.group:
        return f"| **`{value.name}`** |  |  | {cell(value.comment)} |"
    default = _default(value.node)
    shown = code(default) if default else ""
    words = schemas.words(value.schema).replace("``, ", "")
    return f"| `{value.name}` | {cell(words)} | {shown} | {cell(value.comment)} |"


def _default(node: yaml.Node) -> str:
    """A default as YAML on one line; empty for an empty text, list or map."""
    plain = yaml.safe_load(yaml.serialize(node))
    if plain in ("", [], {}):
        return ""
    if isinstance(plain, bool | int | float):
        return json.dumps(plain)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()


def described_schema() -> str:
    """values.schema.json with the comments as descriptions. ValueError names differences between the two files."""
    schema = json.loads(SCHEMA.read_text())
    found = list(values())
    known = {each.path for each in found}
    problems = [f"{each.name} is not in the schema" for each in found if each.schema is OPEN]
    described: dict[int, str] = {}
    for each in found:
        place = _member(schema, each.path)
        place["description"] = each.comment
        if described.setdefault(id(place), each.comment) != each.comment:
            problems.append(f"{each.name} has another comment than its twin of the same definition")
        if each.group:
            members = Schemas(schema["definitions"]).resolve(each.schema)["properties"]
            missing = [name for name in members if (*each.path, name) not in known]
            problems += [f"{each.name}.{name} is not in values.yaml" for name in missing]
    problems += [f"{name} is not in values.yaml" for name in schema["properties"] if (name,) not in known]
    if problems:
        raise ValueError("; ".join(problems))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _member(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a value, in place; that of a shared definition for a member of it."""
    at: dict[str, Any] = schema
    for name in path:
        while "$ref" in at:
            at = schema["definitions"][at["$ref"].rpartition("/")[2]]
        at = at["properties"].setdefault(name, {})
    return at
