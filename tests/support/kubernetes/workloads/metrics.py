"""A metrics API (custom.metrics.k8s.io) with one metric: what the data planes say of their requests in flight.

It asks the pods whenever it is asked. METRIC names the metric, PORT the pods' port of metrics; certificate and key are
in /certificate.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "custom.metrics.k8s.io/v1beta2"
METRIC = os.environ.get("METRIC", "headgate_requests_in_flight")
PORT = os.environ.get("PORT", "8001")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "https://kubernetes.default.svc"

Object = dict[str, Any]


def resources() -> Object:
    """What the API has."""
    resource = {"name": f"pods/{METRIC}", "singularName": "", "namespaced": True, "verbs": ["get"]}
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": VERSION,
        "resources": [{**resource, "kind": "MetricValueList"}],
    }


def values(namespace: str, selector: str) -> Object:
    """The metric of each running pod."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    items = [
        {
            "describedObject": {"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": name},
            "metric": {"name": METRIC, "selector": None},
            "timestamp": now,
            "value": f"{round(value * 1000)}m",
        }
        for name, value in measure(namespace, selector)
    ]
    return {"kind": "MetricValueList", "apiVersion": VERSION, "metadata": {}, "items": items}


def measure(namespace: str, selector: str) -> Iterator[tuple[str, float]]:
    """Pods that answer, with their values."""
    query = urllib.parse.urlencode({"labelSelector": selector, "fieldSelector": "status.phase=Running"})
    for pod in asked(f"{API}/api/v1/namespaces/{namespace}/pods?{query}")["items"]:
        try:
            with urllib.request.urlopen(
                f"http://{pod['status']['podIP']}:{PORT}/metrics", timeout=2
            ) as answer:
                yield pod["metadata"]["name"], total(answer.read().decode())
        except OSError:  # It starts or ends.
            continue


def total(metrics: str) -> float:
    """The sum over the lines of the metric."""
    lines = (line for line in metrics.splitlines() if line.startswith((f"{METRIC} ", f"{METRIC}{{")))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def asked(url: str) -> Object:
    """An answer of the API server."""
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    )
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=5, context=trusted) as answer:
        found: Object = json.load(answer)
        return found


class Handler(BaseHTTPRequestHandler):
    """The API server forwards requests to this."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        parts = urllib.parse.unquote(url.path).strip("/").split("/")
        if parts == ["apis", *VERSION.split("/")]:
            self._answer(200, resources())
        elif parts[:3] == ["apis", *VERSION.split("/")] and parts[5:] == ["pods", "*", METRIC]:
            selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
            self._answer(200, values(parts[4], selector))
        else:
            self._answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

    def _answer(self, status: int, document: Object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    server = ThreadingHTTPServer(("", 6443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/certificate/tls.crt", "/certificate/tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
