"""Text for a JSON schema: type, range, default."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.model.words import PATTERNS

Schema = Mapping[str, Any]


class Schemas:
    """Schemas that refer to each other by `$ref`; only the last step of a reference counts."""

    def __init__(self, named: Schema) -> None:
        self._named = named

    def resolve(self, schema: Schema) -> Schema:
        """The schema of a reference; members beside the reference override it."""
        if "$ref" not in schema:
            return schema
        target = self._named[str(schema["$ref"]).rpartition("/")[2]]
        return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}

    def forms(self, schema: Schema) -> list[Schema]:
        """Every form of a value except null."""
        resolved = self.resolve(schema)
        return [
            form
            for each in resolved.get("anyOf") or resolved.get("oneOf") or [resolved]
            for form in ([self.resolve(each)] if "anyOf" not in self.resolve(each) else self.forms(each))
            if form.get("type") != "null"
        ]

    def object_in(self, schema: Schema) -> Schema | None:
        """The object schema of a value, or of the items of its list."""
        for form in self.forms(schema):
            if "properties" in form:
                return form
            if "items" in form and (inner := self.object_in(form["items"])):
                return inner
        return None

    def words(self, schema: Schema) -> str:
        """The type and its range as text."""
        return " or ".join(dict.fromkeys(self._word(form) for form in self.forms(schema)))

    def _word(self, form: Schema) -> str:
        if choices := form.get("enum") or ([form["const"]] if "const" in form else None):
            return "one of " + ", ".join(f"`{choice}`" for choice in choices)
        kind = form.get("type")
        if kind == "array":
            most = form.get("maxItems")
            bound = f" of at most {most}" if most else ""
            return f"list{bound}; each: {self.words(form.get('items') or {})}"
        if kind == "object":
            values = form.get("additionalProperties")
            return f"object of {self.words(values)}" if isinstance(values, Mapping) and values else "object"
        if kind == "string":
            return _text(form)
        words = {"integer": "whole number", "boolean": "true or false", "number": "number"}
        return f"{words.get(str(kind), 'any value')}{_range(form)}"


def _text(form: Schema) -> str:
    special = {
        "path": "path of a file",
        "password": "secret",
        "ipv4network": "network",
        "ipv6network": "network",
        "date-time": "time (RFC 3339)",
    }
    if form.get("pattern") in PATTERNS:
        return PATTERNS[form["pattern"]]
    words = special.get(form.get("format", ""), "text")
    least, most = form.get("minLength"), form.get("maxLength")
    if least is not None and most is not None:
        return f"{words}, {least} to {number(most)} characters"
    return f"{words}, {number(most)} characters at most" if most is not None else words


def _range(form: Schema) -> str:
    least, above = form.get("minimum"), form.get("exclusiveMinimum")
    most = form.get("maximum", form.get("exclusiveMaximum"))
    if above is not None:
        return f" above {number(above)}" + (f", {number(most)} at most" if most is not None else "")
    if least is not None and most is not None:
        return f", {number(least)} to {number(most)}"
    if least is not None:
        return f", {number(least)} or more"
    return f", {number(most)} at most" if most is not None else ""


def number(value: float) -> str:
    """With thousands separators, without superfluous decimals."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def value_of(value: object) -> str:
    """A default in YAML."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in (None, "", [], ()) or isinstance(value, dict):
        return ""
    if isinstance(value, list | tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{number(value) if isinstance(value, float) and value == int(value) else value}`"


def meaning(schemas: Schemas, schema: Schema) -> str:
    """The description of a field, or that of its type."""
    said = schema.get("description") or next(
        (form["description"] for form in schemas.forms(schema) if form.get("description")), ""
    )
    return " ".join(str(said).split())


def fields(schemas: Schemas, schema: Schema, within: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Path, schema and whether it is required, of each field and of those within it, in their order."""
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        path = f"{within}{name}"
        yield path, field, name in required
        if (inner := schemas.object_in(field)) is not None:
            many = any("items" in form for form in schemas.forms(field))
            yield from fields(schemas, inner, f"{path}{'[]' if many else ''}.")


def cell(text: str) -> str:
    """Text within a cell of a table."""
    return text.replace("|", r"\|").replace("\n", " ")


def code(text: str) -> str:
    """Code within a cell. A pipe must be an entity to be shown correctly both on the site and on forges."""
    if "|" not in text:
        return f"`{text}`"
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"
