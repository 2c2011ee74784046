"""Reads and deletes resources by kind and name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headgate.cli.api import AdminApi, ApiError, as_option
from headgate.cli.failure import Absent, Failure
from headgate.cli.kinds import KINDS, RESOURCE_KINDS, Kind
from headgate.cli.spelling import meant


def fetch(api: AdminApi, kind: Kind, name: str | None, labels: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All resources of a kind, those with all `labels` (NAME=VALUE or NAME), or the one with this name. Raises Failure
    if there is none with this name.
    """
    if kind.writable and name is not None:
        try:
            return [api.get(*kind.path, name)]
        except ApiError as refused:
            raise absent(api, kind, name) if refused.status == 404 else refused from refused
    return _chosen(kind, name, api.get(*kind.path, query=_query(labels)))


def fetcher(
    api: AdminApi, kind: Kind, name: str | None, labels: Sequence[str] = ()
) -> Callable[[], list[dict[str, Any]] | None]:
    """A function that does the same as `fetch`, again and again; it returns None while nothing has changed."""
    etag = ""

    def again() -> list[dict[str, Any]] | None:
        nonlocal etag
        if kind.writable and name is not None:
            return fetch(api, kind, name)
        if (found := api.get_again(etag, *kind.path, query=_query(labels))) is None:
            return None
        rows, etag = found
        return _chosen(kind, name, rows)

    return again


def _query(labels: Sequence[str]) -> dict[str, Sequence[str]] | None:
    return {"label": labels} if labels else None


def _chosen(kind: Kind, name: str | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if kind.plural == "instances":
        rows = _instances(rows)
    if name is not None:
        found = [row for row in rows if row[kind.key] == name]
        if not found:
            raise _absent(kind, name, (row[kind.key] for row in rows))
        return found
    return list(rows)


def fetch_all(api: AdminApi, labels: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Every resource that can be written, by section of a document; with `labels` only those with all of them."""
    return {kind.section: fetch(api, kind, None, labels) for kind in RESOURCE_KINDS}


def _instances(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"service_name": service["service_name"], "instance_id": instance_id, **instance}
        for service in services
        for instance_id, instance in service["instances"].items()
    ]


def delete(api: AdminApi, kind: Kind, name: str, *, force: bool = False, dry_run: bool = False) -> None:
    """Delete one; in a dry run, see whether that is possible. Raises Failure when there is none."""
    asked = {"force": force, "dry_run": dry_run}
    try:
        api.delete(*kind.path, name, query={flag: "true" for flag, on in asked.items() if on})
    except ApiError as refused:
        if refused.status == 404:
            raise absent(api, kind, name) from refused
        raise as_option(refused) from refused


def check_dry_run(api: AdminApi, method: str, what: str) -> None:
    """Raises Failure when the control plane knows no dry run of `what`, a change by `method`: it would make it."""
    operations = api.get("openapi.json").get("paths", {}).get("/api/v1/config/routes/{name}", {})
    known = (one.get("name") for one in operations.get(method, {}).get("parameters", ()))
    if "dry_run" not in known:
        raise Failure(f"this control plane is older and knows no dry run of a {what}; nothing was changed")


def reset_circuit(api: AdminApi, service_name: str) -> None:
    """Close a service's breaker on every data plane. Raises Failure if there is no such service."""
    try:
        api.post("circuits", service_name, "reset")
    except ApiError as refused:
        if refused.status == 404:
            raise absent(api, KINDS["circuits"], service_name, called="service") from refused
        raise


def absent(api: AdminApi, kind: Kind, name: str, called: str = "") -> Absent:
    """The message for an unknown resource, with the closest known name."""
    try:
        known = [row[kind.key] for row in fetch(api, kind, None)]
    except Failure:
        known = []  # without the right to read, no names are shown
    return _absent(kind, name, known, called)


def _absent(kind: Kind, name: str, known: Iterable[str], called: str = "") -> Absent:
    return Absent(f"there is no {called or kind.singular} {name!r}{meant(name, known)}")
