"""The OpenAPI description as a page: plain HTML, without scripts and without anything from elsewhere. PURE."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} members",
    "maxItems": "at most {} members",
    "maxProperties": "at most {} members",
    "pattern": "matches {}",
}


def page(document: Json, style: str) -> str:
    """The whole page. `style` is CSS."""
    operations = list(_operations(document))
    info, schemas = document["info"], document["components"]["schemas"]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}</title><style>{style}</style></head><body>",
            f"<nav>{''.join(_contents(operations))}</nav><main>",
            f"<h1>{escape(info['title'])}</h1>",
            f'<p>{escape(info["description"])} <span class="soft">Version {escape(info["version"])}.</span></p>',
            '<p>The same for programs: <a href="/api/v1/openapi.json">OpenAPI</a>.</p>',
            *(_operation(method, path, one) for method, path, one in operations),
            "<h2>Schemas</h2>",
            *(_schema(name, schemas[name]) for name in sorted(schemas)),
            "</main></body></html>",
        ]
    )


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _contents(operations: Iterable[tuple[str, str, Json]]) -> Iterator[str]:
    by_tag: dict[str, list[str]] = defaultdict(list)
    for method, path, one in operations:
        link = f'<a href="#{escape(one["operationId"])}">{method} {escape(path)}</a>'
        by_tag[one["tags"][0]].append(f"<li>{link}</li>")
    for tag, links in by_tag.items():
        yield f"<strong>{escape(tag)}</strong><ul>{''.join(links)}</ul>"


def _operation(method: str, path: str, one: Json) -> str:
    needs = ", ".join(scope for way in one["security"] for scopes in way.values() for scope in scopes)
    who = f"Scope: <code>{escape(needs)}</code>" if needs else "Public"
    parts = [
        f'<section id="{escape(one["operationId"])}">',
        f'<h3><span class="method">{method}</span> <code>{escape(path)}</code></h3>',
        f'<p>{escape(one["summary"])}. <span class="soft">{who}.</span></p>',
        _table("Parameter", (_parameter(entry) for entry in one["parameters"])),
    ]
    if body := one.get("requestBody"):
        content = body["content"]
        first = next(iter(content.values()))
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in content)
        parts.append(f"<p>Body: {_type(first['schema'])} as {kinds}</p>")
        parts.append(_table("Field", _fields(first["schema"])))
        parts += [_example(first["example"])] if "example" in first else []
    answers = one["responses"].items()
    parts += [_table("Answer", (_answer(status, answer) for status, answer in answers)), "</section>"]
    return "\n".join(filter(None, parts))


def _parameter(entry: Json) -> tuple[str, ...]:
    name = f"<code>{escape(entry['name'])}</code>"
    return name, f"{entry['in']}, {_type(entry['schema'])}", escape(entry.get("description", ""))


def _answer(status: str, answer: Json) -> tuple[str, ...]:
    content = answer.get("content", {})
    shapes = ", ".join(_type(shown["schema"]) for shown in content.values())
    return status, shapes, escape(answer["description"])


def _schema(name: str, schema: Json) -> str:
    says, fields = escape(schema.get("description", "")), _table("Field", _fields(schema))
    return f'<section id="{_anchor(name)}"><h3>{escape(name)}</h3><p>{says}</p>{fields}</section>'


def _fields(schema: Json) -> Iterator[tuple[str, ...]]:
    """A row for each field that a schema has itself: what it refers to has a section of its own."""
    needed = schema.get("required", ())
    for field, one in schema.get("properties", {}).items():
        yield (
            f"<code>{escape(field)}</code>",
            _type(one) + (", required" if field in needed else ""),
            " ".join([escape(one.get("description", "")), *_limits(one)]).strip(),
        )


def _limits(schema: Json) -> Iterator[str]:
    """Default and bounds of a field; of one that may be null, those of its other kind."""
    if schema.get("default") is not None:
        yield f"Default: <code>{escape(json.dumps(schema['default']))}</code>."
    for one in (schema, *schema.get("anyOf", ())):
        said = [
            words.format(f"<code>{escape(str(one[name]))}</code>")
            for name, words in _BOUNDS.items()
            if name in one
        ]
        if said:
            yield f"{', '.join(said)}."


def _type(schema: Json) -> str:
    """A schema in a few words, as HTML."""
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if several := schema.get("anyOf"):
        return " or ".join(map(_type, several))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "any")))


def _example(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"


def _anchor(name: str) -> str:
    return f"schema-{escape(name)}"


def _table(first: str, rows: Iterable[tuple[str, ...]]) -> str:
    made = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = f"<tr><th>{first}</th><th>Type</th><th></th></tr>"
    return f"<table><thead>{head}</thead><tbody>{made}</tbody></table>" if made else ""
