"""Resources: every kind, every field, from the same models and descriptions as the admin API."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from pydantic.json_schema import models_json_schema

from controlplane.model.resources import documents
from tests.support.reference.schema import Schema, Schemas, cell, fields, meaning, value_of

HEADER = """\
# Resources

Resources are the content of documents, of the admin API and of the configuration of data planes. A document lists
resources by kind; the [command line](command-line.md#files) applies it. Unknown fields and values of the wrong type are
refused. `headgate reference route` shows the same for your control plane. This page is made from the
code (`make docs`).

The fields of an object are listed below it: `circuit.failure_threshold`, and `instances[].port`
in a list. Durations are seconds, sizes are bytes.
"""


def render() -> str:
    """The whole page. ValueError names the fields without a description."""
    kinds = documents()
    references, definitions = models_json_schema(
        [(model, "validation") for model in kinds.values()], ref_template="#/$defs/{model}"
    )
    schemas = Schemas(definitions["$defs"])
    lines, silent = [HEADER], list[str]()
    for plural, model in kinds.items():
        if model.KIND == "issuer":
            # Refused until it is implemented.
            continue
        schema = schemas.resolve(references[model, "validation"])
        lines += [f"\n## {plural}\n", meaning(schemas, schema), ""]
        lines += list(_example(plural, getattr(model, "EXAMPLE", None)))
        lines += ["| field | value | default | meaning |", "|---|---|---|---|"]
        for path, field, required in fields(schemas, schema):
            if not (said := _described(path, model.KIND, meaning(schemas, field))):
                silent.append(f"{model.KIND}.{path}")
            lines.append(_row(schemas, path, field, required, said))
    if silent:
        raise ValueError("fields without a description: " + ", ".join(silent))
    return "\n".join(lines) + "\n"


def _example(plural: str, example: object) -> Iterator[str]:
    if example:
        text = yaml.safe_dump({plural: [example]}, sort_keys=False, default_flow_style=None, width=100)
        yield from ("```yaml", text.rstrip(), "```", "")


def _row(schemas: Schemas, path: str, field: Schema, required: bool, said: str) -> str:
    words = (
        "object" if schemas.object_in(field) and "object" in schemas.words(field) else schemas.words(field)
    )
    if words == "object" and any("items" in form for form in schemas.forms(field)):
        words = "list of objects"
    default = "**required**" if required else value_of(field.get("default"))
    return f"| `{path}` | {cell(words)} | {cell(default)} | {cell(said)} |"


def _described(path: str, kind: str, said: str) -> str:
    """The description of the field; a name needs nothing else."""
    if not said and path.rpartition(".")[2] in ("name", "service_name", "username", "id"):
        return f"Name of the {kind.replace('_', ' ')}, unique among them."
    if not said and path == "description":
        return "For people."
    return said
