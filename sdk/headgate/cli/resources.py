"""Reading and deleting by kind and name."""

from __future__ import annotations

from typing import Any

from headgate.cli.api import AdminApi, ApiError
from headgate.cli.failure import Failure
from headgate.cli.kinds import RESOURCE_KINDS, Kind


def fetch(api: AdminApi, kind: Kind, name: str | None) -> list[dict[str, Any]]:
    """Everything of a kind, or the one of this name. Raises Failure when there is none."""
    if kind.writable and name is not None:
        try:
            return [api.get(*kind.path, name)]
        except ApiError as refused:
            raise absent(kind, name) if refused.status == 404 else refused from refused
    rows = api.get(*kind.path)
    if kind.plural == "instances":
        rows = _instances(rows)
    if name is not None:
        rows = [row for row in rows if row[kind.key] == name]
        if not rows:
            raise absent(kind, name)
    return list(rows)


def fetch_all(api: AdminApi) -> dict[str, list[dict[str, Any]]]:
    """Every resource that can be written, by section of a document."""
    return {kind.section: list(api.get(*kind.path)) for kind in RESOURCE_KINDS}


def _instances(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"service_name": service["service_name"], "instance_id": instance_id, **instance}
        for service in services
        for instance_id, instance in service["instances"].items()
    ]


def delete(api: AdminApi, kind: Kind, name: str, *, force: bool = False) -> None:
    """Delete one. Raises Failure when there is none."""
    try:
        api.delete(*kind.path, name, query={"force": "true"} if force else None)
    except ApiError as refused:
        if refused.status == 404:
            raise absent(kind, name) from refused
        said = refused.detail.replace("force=true", "--force")
        raise ApiError(refused.status, said, refused.errors, refused.members) from refused


def reset_circuit(api: AdminApi, service_name: str) -> None:
    """Close a service's breaker on every data plane. Raises Failure when there is no such service."""
    try:
        api.post("circuits", service_name, "reset")
    except ApiError as refused:
        if refused.status == 404:
            raise Failure(f"there is no service {service_name!r}") from refused
        raise


def absent(kind: Kind, name: str) -> Failure:
    """The words for a thing that is not there."""
    return Failure(f"there is no {kind.singular} {name!r}")
