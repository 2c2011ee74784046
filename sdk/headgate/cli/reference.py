"""headgate reference: the fields of resources, as the control plane describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from headgate.cli.completion import complete_written_kind
from headgate.cli.failure import USAGE, Failure
from headgate.cli.kinds import RESOURCE_KINDS, Kind, find_kind
from headgate.cli.layout import wrap_words
from headgate.cli.render import print_line, print_table, screen_width
from headgate.cli.spelling import meant

Schema = Mapping[str, Any]


def reference(
    ctx: typer.Context,
    field: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND[.FIELD]", help="All kinds when left out.", autocompletion=complete_written_kind
        ),
    ] = None,
) -> None:
    """Explain the fields of resources: type, default and range.

    The fields are those of the control plane's version.

    \b
    headgate reference
    headgate reference route
    headgate reference route.rate_limits
    headgate reference service.circuit
    """
    name, *path = field.split(".") if field else [""]
    kind = find_kind(name, writable=True) if field else None
    with ctx.obj.api() as api:
        description = api.get("openapi.json")
    schemas = _Schemas(description)
    if kind is None:
        rows = [[one.singular, one.section, schemas.of(one).get("description", "")] for one in RESOURCE_KINDS]
        print_table(["KIND", "IN DOCUMENTS", "MEANING"], rows)
        return
    _print(schemas, kind, path)


class _Schemas:
    """The schemas of an OpenAPI description."""

    def __init__(self, description: Schema) -> None:
        try:
            request = description["paths"]["/api/v1/apply"]["post"]["requestBody"]
            self._sections: Schema = request["content"]["application/json"]["schema"]["properties"]
            self._named: Schema = description["components"]["schemas"]
        except (KeyError, TypeError) as error:
            raise Failure(
                "this control plane describes its resources in a way that is not known here"
            ) from error

    def of(self, kind: Kind) -> Schema:
        """Of the resources of a kind."""
        if kind.section not in self._sections:
            raise Failure(f"this control plane has no {kind.plural}")
        return self.object_in(self._sections[kind.section]) or {}

    def resolve(self, schema: Schema) -> Schema:
        """The schema of a reference; members beside the reference override it."""
        if "$ref" not in schema:
            return schema
        name = str(schema["$ref"]).rpartition("/")[2]
        return {**self._named.get(name, {}), **{key: value for key, value in schema.items() if key != "$ref"}}

    def choices(self, schema: Schema) -> list[Schema]:
        """Every form of a value except null."""
        resolved = self.resolve(schema)
        forms = resolved.get("anyOf") or resolved.get("oneOf") or [resolved]
        return [form for form in map(self.resolve, forms) if form.get("type") != "null"]

    def object_in(self, schema: Schema) -> Schema | None:
        """The object schema of a value, or of the items of its list."""
        for form in self.choices(schema):
            if "properties" in form:
                return form
            if "items" in form and (inner := self.object_in(form["items"])):
                return inner
        return None

    def type_of(self, schema: Schema) -> str:
        """The type in words."""
        return " or ".join(dict.fromkeys(self._word(form) for form in self.choices(schema)))

    def _word(self, form: Schema) -> str:
        if "enum" in form or "const" in form:
            return "one of " + ", ".join(map(str, form.get("enum") or [form["const"]]))
        if form.get("type") == "array":
            return f"list of {self.type_of(form.get('items', {}))}"
        if form.get("type") == "object" and isinstance(form.get("additionalProperties"), Mapping):
            return f"object of {self.type_of(form['additionalProperties'])}"
        words = {"integer": "whole number", "boolean": "true or false"}
        kind = str(form.get("type", "any"))
        return f"{words.get(kind, kind)}{_range(form)}"


def _range(form: Schema) -> str:
    least = form.get("minimum", form.get("exclusiveMinimum"))
    most = form.get("maximum", form.get("exclusiveMaximum"))
    if least is not None and most is not None:
        return f" {least} to {most}"
    if least is not None:
        return f" {'above' if 'exclusiveMinimum' in form else 'from'} {least}"
    return "" if most is None else f" up to {most}"


def _print(schemas: _Schemas, kind: Kind, path: Sequence[str]) -> None:
    schema: Schema = schemas.of(kind)
    at = kind.resource
    required = False
    for name in path:
        inside = schemas.object_in(schema)
        fields: Schema = inside["properties"] if inside else {}
        bare = name.partition("[")[0]
        if bare not in fields:
            raise _unknown(at, name, fields)
        required = bare in (inside or {}).get("required", ())
        schema, at = fields[bare], f"{at}.{bare}"
    print_line((at, "bold"), "" if not path else f"  {_facts(schemas, schema, required)}")
    _print_text(_meaning(schemas, schema), 2)
    inside = schemas.object_in(schema)
    for name, field in (inside or {"properties": {}})["properties"].items():
        print_line("")
        needed = name in (inside or {}).get("required", ())
        print_line("  ", (name, "bold"), f"  {_facts(schemas, field, needed)}")
        _print_text(_meaning(schemas, field), 4)


def _facts(schemas: _Schemas, schema: Schema, required: bool) -> str:
    facts = [schemas.type_of(schema)]
    if required:
        facts.append("required")
    elif schema.get("default") not in (None, [], "") and not isinstance(schema["default"], Mapping):
        facts.append(f"default {_value(schema['default'])}")
    return f"<{'; '.join(facts)}>"


def _value(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _meaning(schemas: _Schemas, schema: Schema) -> str:
    said = schema.get("description") or next(
        (form["description"] for form in schemas.choices(schema) if form.get("description")), ""
    )
    return " ".join(str(said).split())


def _print_text(text: str, indent: int) -> None:
    if text:
        for line in wrap_words(text, max(20, min(screen_width(), 100) - indent)):
            print_line(" " * indent + line)


def _unknown(at: str, name: str, fields: Schema) -> Failure:
    if not fields:
        return Failure(f"{at} has no fields, so there is no {name!r} in it", USAGE)
    hint = meant(name, fields) or ":"
    return Failure(f"{at} has no field {name!r}{hint} it has {', '.join(fields)}", USAGE)
