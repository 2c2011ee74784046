"""Headgate as a contender: a real etcd, control plane and data plane; only the data plane has the proxies' CPU."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.ports import free_port
from demo.processes import ROOT, ControlPlane, DataPlane, Etcd, Process, Secrets
from tests.benchmarks.contenders import Contender
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin
from tests.support.waiting import eventually_now

UNLIMITED = 1_000_000
TOKENS = 64
FEW, MANY = 10, 10_000
CONDITIONAL = 1_000
"""Of the routes of a large table, those with a condition on a header field."""
EXTRAS: Mapping[str, object] = {
    "service_name": None,
    "services": [{"service_name": "orders", "weight": 9}, {"service_name": "orders-next", "weight": 1}],
    "request_headers": {"set": {"x-gateway": "headgate", "x-route": "%{route}"}},
    "response_headers": {"set": {"x-served-by": "headgate"}, "remove": ["server"]},
    "cors": {"allow_origins": ["https://www.example.org"]},
}
"""Weights, edits of header fields in both directions, and CORS."""
TOKEN_TTL = 6 * 3600
CHUNK = 100
"""Routes in one request, where the control plane takes no document that is greater than a transaction."""
LARGE_BODY = 64 * 1024 * 1024
COMPILED = ROOT / "build" / "compiled"
NO_LIMIT = {"RATE_LIMIT_PER_SECOND": str(UNLIMITED), "RATE_LIMIT_BURST": str(UNLIMITED)}


@dataclass
class Stack:
    """The running gateway, its parts, and the ways to measure it."""

    folder: Path
    admin: httpx.Client
    etcd: Process
    controlplane: ControlPlane
    control: Process
    dataplane: DataPlane
    node: Process

    @property
    def tokens(self) -> Path:
        """One token a line, each different, all of one user."""
        return self.folder / "tokens"

    @property
    def tls_port(self) -> int:
        """Where the gateway speaks TLS; 0: it does not."""
        return int(self.dataplane.settings.get("TLS_LISTEN", "0").rpartition(":")[2])

    def at(self, name: str, path: str, paths: int = 0) -> Contender:
        """The gateway under a name, to be asked for a path."""
        return Contender(name, self.dataplane.url, self.node, path, paths, tls_port=self.tls_port)

    @property
    def policy_on(self) -> Contender:
        """The whole policy."""
        return self.at("headgate policy", "/orders")

    @property
    def policy_off(self) -> Contender:
        """A public route without limits of its own."""
        return self.at("headgate plain", "/open")

    @property
    def fresh(self) -> Contender:
        """The whole policy, where neither requests nor responses say again what was said before."""
        return Contender("headgate new heads", self.dataplane.url, self.node, "/fresh", fresh=True)

    def share(self, folder: Path) -> None:
        """Leave the keys where the peers' configurations look for them."""
        shutil.copy(self.folder / "jwks.json", folder)


def route(name: str, prefix: str, **fields: object) -> dict[str, object]:
    """A route with the whole policy."""
    policy = {"service_name": "orders", "scopes": ["orders:read"], "rate_limits": ["callers"]}
    return {"name": name, "prefix": prefix, **policy, **fields}


def configuration(upstream: int, sink: int, routes: int) -> dict[str, object]:
    """The whole policy for /orders, /fresh, /r/<number>, none for /open; /download and /upload take large bodies.

    /full has the whole policy and EXTRAS. In a large table each of /h/<number> has a second route, with a condition on
    a header field that no request has.
    """
    conditional = CONDITIONAL if routes > CONDITIONAL else 0
    header = [{"name": "x-version", "exact": "2"}]
    return {
        "scopes": [{"name": "orders:read"}],
        "services": [
            _service("orders", upstream),
            _service("orders-next", upstream),
            _service("sink", sink),
        ],
        "rate_limits": [
            {"name": "callers", "per_second": UNLIMITED, "burst": UNLIMITED, "key": "subject"},
        ],
        "routes": [
            route("orders", "/orders"),
            route("fresh", "/fresh"),
            {"name": "open", "prefix": "/open", "service_name": "orders", "public": True},
            route("download", "/download"),
            route("upload", "/upload", service_name="sink", max_body_bytes=LARGE_BODY),
            route("full", "/full", **EXTRAS),
            *(route(f"r-{number}", f"/r/{number}") for number in range(routes - 2 * conditional)),
            *(route(f"h-{number}", f"/h/{number}") for number in range(conditional)),
            *(route(f"h-{number}-2", f"/h/{number}", headers=header) for number in range(conditional)),
        ],
    }


def _service(name: str, port: int) -> dict[str, object]:
    instance = {"instance_id": f"{name}-0", "host": "127.0.0.1", "port": port}
    return {"service_name": name, "check_path": "/", "instances": [instance]}


@contextlib.contextmanager
def running(
    folder: Path,
    configuration: dict[str, object],
    certificate: tuple[Path, Path] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Start everything, apply the configuration, write tokens and JWKS into the folder for the peers.

    With a certificate and its key, traffic comes over TLS too. `settings` are more of the data plane's.
    """
    with contextlib.ExitStack() as cleanup:
        etcd = Etcd()
        store = etcd.start(folder)
        cleanup.callback(store.stop)
        pin(store.pid, OTHER_CPUS)
        controlplane = ControlPlane(etcd.url, Secrets(), settings={"ACCESS_TOKEN_TTL": str(TOKEN_TTL)})
        control = controlplane.start(folder)
        cleanup.callback(control.stop)
        pin(control.pid, OTHER_CPUS)
        dataplane = DataPlane(
            controlplane.grpc,
            controlplane.secrets,
            settings={**NO_LIMIT, **as_shipped(), **secured(certificate), **(settings or {})},
        )
        node = dataplane.start(folder, wait=True)
        cleanup.callback(node.stop)
        admin = cleanup.enter_context(controlplane.admin())
        stack = Stack(folder, admin, store, controlplane, control, dataplane, node)
        apply(admin, configuration)
        write_tokens(admin, folder)
        eventually_now(
            lambda: httpx.get(f"{dataplane.url}/open", trust_env=False).status_code == 200, within=30.0
        )
        pin(node.pid, PROXY_CPUS)
        yield stack


def plain_python(stack: Stack) -> tuple[Process, Contender]:
    """A second data plane of the same control plane, not compiled."""
    return beside(stack, "headgate uncompiled", {})


def beside(stack: Stack, name: str, settings: Mapping[str, str]) -> tuple[Process, Contender]:
    """A further data plane of the same control plane, to be asked for the whole policy."""
    dataplane = DataPlane(
        stack.controlplane.grpc,
        stack.controlplane.secrets,
        name=re.sub("[^a-z0-9]+", "-", name).strip("-"),
        settings={**NO_LIMIT, **settings},
    )
    node = dataplane.start(stack.folder, wait=True)
    pin(node.pid, PROXY_CPUS)
    return node, Contender(name, dataplane.url, node)


def secured(certificate: tuple[Path, Path] | None) -> dict[str, str]:
    """The settings of a port for TLS."""
    if certificate is None:
        return {}
    return {"TLS_LISTEN": f"127.0.0.1:{free_port()}", "TLS_CERTS": "{}:{}".format(*certificate)}


def is_compiled() -> bool:
    """Whether there is a compiled data plane to measure: images have one (`make compiled`)."""
    return (COMPILED / "dataplane" / "gateway" / "decide.py").is_file()


def as_shipped() -> dict[str, str]:
    """The settings with which the compiled data plane is what runs, if there is one."""
    return {"PYTHONPATH": f"{COMPILED}{os.pathsep}{ROOT}"} if is_compiled() else {}


def apply(admin: httpx.Client, configuration: dict[str, object]) -> None:
    """Apply a configuration of any size; returns when the data plane serves it."""
    whole = admin.post("/api/v1/apply?wait=60", json=configuration, timeout=120)
    if whole.status_code != 400:
        whole.raise_for_status()
        return
    rest = dict(configuration)
    routes = rest.pop("routes")
    assert isinstance(routes, list)
    documents = [rest, *({"routes": routes[at : at + CHUNK]} for at in range(0, len(routes), CHUNK))]
    for document in documents[:-1]:
        admin.post("/api/v1/apply", json=document).raise_for_status()
    admin.post("/api/v1/apply?wait=30", json=documents[-1]).raise_for_status()


def write_tokens(admin: httpx.Client, folder: Path) -> None:
    """A user with the scope, that many different tokens of it, and the keys to verify them with."""
    password = secrets.token_urlsafe(16)
    user = {"username": "bench", "password": password, "scopes": ["orders:read"]}
    admin.post("/api/v1/apply?wait=30", json={"users": [user]}).raise_for_status()
    form = {"username": "bench", "password": password}
    answers = [admin.post("/api/v1/auth/token", data=form).raise_for_status() for _ in range(TOKENS)]
    (folder / "tokens").write_text("".join(answer.json()["access_token"] + "\n" for answer in answers))
    jwks = admin.get("/api/v1/.well-known/jwks.json").raise_for_status().json()
    (folder / "jwks.json").write_text(json.dumps(jwks))
