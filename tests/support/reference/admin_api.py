"""Operations of the admin API, from its OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.api.openapi import describe
from controlplane.api.table import operations
from tests.support.reference.schema import cell

HEADER = """\
# Admin API operations

Every operation of the control plane's admin API (`ADMIN_LISTEN`, and the gateway's own routes if `EXPOSE_ADMIN` is
set). `GET /api/v1/openapi.json` has the schemas of bodies and answers. Errors are problem documents (RFC 9457); the
[errors](errors.md#admin-api) page lists them. This page is made from the code (`make docs`).

*Access* is the scope that the caller's token needs; `gateway:admin` implies `gateway:read`.
"""


def render() -> str:
    """The whole page."""
    document = describe(operations(), "")
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_row(path, method.upper(), operation))
    lines = [HEADER]
    for tag, rows in by_tag.items():
        lines += [
            f"\n## {tag}\n",
            "| operation | description | access | parameters | answers |",
            "|---|---|---|---|---|",
        ]
        lines += rows
    return "\n".join(lines) + "\n"


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    access = next((scope for need in operation["security"] for scope in need["token"]), "public")
    cells = (
        f"`{method} {path}`",
        operation["summary"],
        f"`{access}`" if access != "public" else access,
        _names(operation.get("parameters", ())),
        ", ".join(sorted(operation["responses"])),
    )
    return "| " + " | ".join(map(cell, cells)) + " |"


def _names(parameters: Iterable[dict[str, Any]]) -> str:
    return ", ".join(f"`{one['name']}`" for one in parameters if one["in"] != "path")
