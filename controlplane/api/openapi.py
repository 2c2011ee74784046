"""The OpenAPI 3.1 description, made from the table of operations and the pydantic models they name. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from controlplane.api.operation import Answer, Body, Operation, Parameter, Schema

Json = dict[str, Any]

_PATH_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_REF = "#/components/schemas/{model}"

PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "examples": [
        {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The configuration has 1 problem; nothing was changed",
            "errors": [{"field": "scopes[0]", "detail": "scope 'orders:red' does not exist"}],
        }
    ],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "All problems of the configuration that was sent.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string", "description": "Path such as routes[2].scopes[0]."},
                    "detail": {"type": "string"},
                },
            },
        },
        "needed_by": {
            "type": "array",
            "description": "Of a deletion: the resources that name the one to be deleted.",
            "items": {
                "type": "object",
                "required": ["kind", "name"],
                "properties": {"kind": {"type": "string"}, "name": {"type": "string"}},
            },
        },
    },
}


def describe(operations: Iterable[Operation], version: str) -> Json:
    """The whole document."""
    operations = tuple(operations)
    names, schemas = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        path = _PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headgate admin API",
            "version": version,
            "description": "Configuration of the gateway, and what its data planes report.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **schemas},
            "securitySchemes": {
                "token": {
                    "type": "oauth2",
                    "flows": {
                        "password": {
                            "tokenUrl": "/api/v1/auth/token",
                            "scopes": {
                                "gateway:read": "Read everything.",
                                "gateway:admin": "Read and change everything.",
                                "gateway:tap": "Look at requests of callers as they happen.",
                            },
                        }
                    },
                }
            },
        },
    }


ModelKey = tuple[type[BaseModel], JsonSchemaMode]


def _schemas(operations: Iterable[Operation]) -> tuple[Mapping[ModelKey, Json], Json]:
    """A reference for every model of a request or response, and the definitions that it needs."""
    wanted: dict[ModelKey, None] = {}
    for operation in operations:
        if operation.body:
            wanted.update(dict.fromkeys((m, "validation") for m in _models(operation.body.schema)))
        for answer in operation.answers:
            wanted.update(dict.fromkeys((m, "serialization") for m in _models(answer.schema)))
        wanted.update(dict.fromkeys((m, "serialization") for m in _models(operation.refusal)))
    references, definitions = models_json_schema(list(wanted), ref_template=_REF)
    return {key: references[key] for key in wanted}, definitions.get("$defs", {})


def _models(schema: object) -> Iterator[type[BaseModel]]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        yield schema
    elif isinstance(schema, Mapping):
        for inner in schema.values():
            yield from _models(inner)


def _resolve(schema: object, mode: JsonSchemaMode, references: Mapping[ModelKey, Json]) -> Any:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return references[schema, mode]
    if isinstance(schema, Mapping):
        return {key: _resolve(value, mode, references) for key, value in schema.items()}
    return schema


def _operation(operation: Operation, references: Mapping[ModelKey, Json]) -> Json:
    described: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation.path), *map(_parameter, operation.parameters)],
        "responses": {
            **{str(answer.status): _answer(answer, references) for answer in operation.answers},
            **{str(status): _refusal(status, operation, references) for status in _refusals(operation)},
        },
        "security": [] if operation.access == "public" else [{"token": [operation.access]}],
    }
    if operation.body:
        schema = _resolve(operation.body.schema, "validation", references)
        described["requestBody"] = {
            "required": operation.body.required,
            "content": {kind: _content(schema, operation.body) for kind in operation.body.media_types},
        }
    return described


def _content(schema: Any, body: Body) -> Json:
    return {"schema": schema, **({"example": dict(body.example)} if body.example else {})}


def _path_parameters(path: str) -> Iterator[Json]:
    for name in _PATH_PARAMETER.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": False,
        "schema": dict(parameter.schema),
    }


def _answer(answer: Answer, references: Mapping[ModelKey, Json]) -> Json:
    headers: Json = {
        "X-Request-Id": {"schema": {"type": "string"}},
        "X-Headgate-Revision": {
            "description": "Revision of the change; for reads, the published revision.",
            "schema": {"type": "integer"},
        },
    }
    if answer.etag:
        headers["ETag"] = {
            "description": "Revision of the last change.",
            "schema": {"type": "string"},
        }
    if answer.location:
        headers["Location"] = {
            "description": "Path of the resource that was created.",
            "schema": {"type": "string"},
        }
    if answer.link:
        headers["Link"] = {
            "description": "Link to the next page, if there is one.",
            "schema": {"type": "string"},
        }
    described: Json = {"description": answer.description, "headers": headers}
    if answer.schema is not None:
        schema = _resolve(answer.schema, "serialization", references)
        described["content"] = {answer.media_type: {"schema": schema}}
    return described


def _refusals(operation: Operation) -> list[int]:
    statuses = set(operation.refusals)
    if operation.access != "public":
        statuses |= {401, 403, 500, 503}
    if operation.body:
        statuses |= {400, 408, 413, 415}
    return sorted(statuses)


def _refusal(status: int, operation: Operation, references: Mapping[ModelKey, Json]) -> Json:
    media_type, schema = "application/problem+json", {"$ref": _REF.format(model="Problem")}
    if operation.refusal is not None:
        media_type, schema = "application/json", _resolve(operation.refusal, "serialization", references)
    described: Json = {"description": HTTPStatus(status).phrase, "content": {media_type: {"schema": schema}}}
    if operation.method == "PATCH" and status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        described["headers"] = {
            "Accept-Patch": {
                "description": "The media types of a patch (RFC 5789).",
                "schema": {"type": "string"},
            }
        }
    return described


__all__ = ["Schema", "describe"]
