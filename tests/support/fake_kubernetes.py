"""As much of the Kubernetes API as `lookup` of a chart reads: objects by name, and lists, on a port of loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

GROUPS = {
    "v1": {
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"statefulsets": "StatefulSet"},
}
KINDS = {resource: kind for kinds in GROUPS.values() for resource, kind in kinds.items()}

Document = dict[str, Any]


class FakeKubernetes:
    """The objects of a cluster, by resource and name; those of all namespaces are the same."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Document] = {}
        self.patches: list[tuple[str, str, Document]] = []
        """Query, media type and body of each PATCH."""

    def put(self, *documents: Document) -> None:
        """Store objects, as `helm install` does; of other kinds, nothing."""
        resources = {kind: resource for resource, kind in KINDS.items()}
        for document in documents:
            if resource := resources.get(document["kind"]):
                self.objects[resource, document["metadata"]["name"]] = document

    def answer(self, path: str) -> tuple[int, Document]:
        """Status and body of a GET."""
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version in GROUPS:
            return 200, _discovery(version)
        match path.removeprefix("/apis/apps").removeprefix("/api").strip("/").split("/"):
            case ["v1", "namespaces", _, resource]:
                found = [each for (kind, _), each in self.objects.items() if kind == resource]
                return 200, {"apiVersion": "v1", "kind": f"{KINDS[resource]}List", "items": found}
            case ["v1", "namespaces", _, resource, name] if (resource, name) in self.objects:
                return 200, self.objects[resource, name]
        return 404, {
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "reason": "NotFound",
            "code": 404,
        }

    def patch(self, path: str, change: Document) -> tuple[int, Document]:
        """Status and body of a PATCH (RFC 7396) of an object."""
        status, found = self.answer(path)
        if status == 200:
            _merge(found, change)
        return status, found


def _merge(into: Document, change: Document) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _discovery(version: str) -> Document:
    verbs = ["get", "list"]
    resources = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
        for name, kind in GROUPS[version].items()
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


@contextmanager
def serving(cluster: FakeKubernetes) -> Iterator[str]:
    """The API of this cluster; gives the text of a kubeconfig for it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*cluster.answer(self.path.partition("?")[0]))

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path, _, query = self.path.partition("?")
            cluster.patches.append((query, self.headers["Content-Type"], body))
            self._send(*cluster.patch(path, body))

        def _send(self, status: int, body: Document) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield _kubeconfig(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(url: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
    )
