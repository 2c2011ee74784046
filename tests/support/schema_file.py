"""Writes the JSON schema of documents, for editors, from the control plane's model; `--check` checks that it is up to
date.

Editors check a file as it is written: wherever a value is no free text, a text with a variable (`${NAME}`) is allowed
in its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from controlplane.model.resources import documents

TARGET = Path(__file__).parents[2] / "sdk" / "headgate" / "cli" / "schema.json"
_VARIABLE = {"$ref": "#/$defs/Variable"}
_BESIDE = ("title", "description", "default", "examples", "readOnly", "writeOnly", "deprecated")
"""Members that stay where they are: editors show them."""
_BINDING = ("pattern", "format", "enum", "const", "minLength")
"""Members that a text with a variable may break."""

Json = dict[str, Any]


def schema() -> Json:
    """The schema of a document."""
    models = [(model, "validation") for model in documents().values()]
    references, definitions = models_json_schema(models, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    lists = {
        model.PLURAL: {"type": ["array", "null"], "items": references[model, "validation"]}
        for model in documents().values()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headgate configuration",
        "description": "Resources by kind, as `headgate apply` and `headgate sync` read them.",
        "type": "object",
        "additionalProperties": False,
        "properties": lists,
        "$defs": {
            "Variable": {
                "description": "A text with environment variables.",
                "type": "string",
                "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
            },
            **{name: _variable(one) for name, one in sorted(definitions["$defs"].items())},
        },
    }


def _variable(value: Any) -> Any:
    """The schema with texts allowed where values are bound, in place of them."""
    if isinstance(value, list):
        return [_variable(one) for one in value]
    if not isinstance(value, dict):
        return value
    value = {name: part for name, part in value.items() if part is not None or name != "title"}
    if isinstance(value.get("type"), str | list) and _is_bound(value):
        own = {name: part for name, part in value.items() if name not in _BESIDE}
        return {
            **{name: part for name, part in value.items() if name in _BESIDE},
            "anyOf": [own, dict(_VARIABLE)],
        }
    return {name: _inner(name, part) for name, part in value.items()}


def _inner(name: str, part: Any) -> Any:
    if name in ("properties", "patternProperties"):
        # pydantic makes titles from the names of fields.
        return {field: _variable({**one, "title": None}) for field, one in part.items()}
    return part if name in ("propertyNames", "default", "examples", "required") else _variable(part)


def _is_bound(one: Json) -> bool:
    if one["type"] in ("integer", "number", "boolean"):
        return True
    return one["type"] == "string" and any(name in one for name in _BINDING)


def content() -> str:
    """The file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file; with `--check` exit 1 if it differs."""
    if "--check" not in sys.argv:
        TARGET.write_text(content())
        return 0
    if TARGET.read_text() == content():
        return 0
    sys.stderr.write(f"{TARGET.name} is not what the model says; run: python -m tests.support.schema_file\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
