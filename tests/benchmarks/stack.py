"""Headgate as a contender: a real etcd, control plane and data plane; only the data plane has the proxies' CPU."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.processes import ControlPlane, DataPlane, Etcd, Secrets
from tests.benchmarks.contenders import Contender
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin
from tests.support.waiting import eventually_now

UNLIMITED = 1_000_000
TOKENS = 64


@dataclass
class Stack:
    """The running gateway: its admin API and the two ways to measure it."""

    admin: httpx.Client
    policy_on: Contender
    policy_off: Contender


def configuration(upstream: int) -> dict[str, object]:
    """One service on two routes: /orders with the whole policy, /open without any."""
    instance = {"instance_id": "upstream", "host": "127.0.0.1", "port": upstream}
    return {
        "scopes": [{"name": "orders:read"}],
        "services": [{"service_name": "orders", "check_path": "/", "instances": [instance]}],
        "rate_limits": [
            {"name": "callers", "per_second": UNLIMITED, "burst": UNLIMITED, "key": "subject"},
        ],
        "routes": [
            {
                "name": "orders",
                "prefix": "/orders",
                "service_name": "orders",
                "scopes": ["orders:read"],
                "rate_limits": ["callers"],
            },
            {"name": "open", "prefix": "/open", "service_name": "orders", "public": True},
        ],
    }


@contextlib.contextmanager
def running(folder: Path, upstream: int) -> Iterator[Stack]:
    """Start everything, apply the configuration, write tokens and JWKS into the folder for the peers."""
    with contextlib.ExitStack() as stack:
        etcd = Etcd()
        process = etcd.start(folder)
        stack.callback(process.stop)
        pin(process.pid, OTHER_CPUS)
        controlplane = ControlPlane(etcd.url, Secrets())
        process = controlplane.start(folder)
        stack.callback(process.stop)
        pin(process.pid, OTHER_CPUS)
        dataplane = DataPlane(
            controlplane.grpc,
            controlplane.secrets,
            settings={"RATE_LIMIT_PER_SECOND": str(UNLIMITED), "RATE_LIMIT_BURST": str(UNLIMITED)},
        )
        process = dataplane.start(folder, wait=True)
        stack.callback(process.stop)
        admin = stack.enter_context(controlplane.admin())
        admin.post("/api/v1/apply", json=configuration(upstream)).raise_for_status()
        write_tokens(admin, folder)
        eventually_now(lambda: httpx.get(f"{dataplane.url}/open", trust_env=False).status_code == 200)
        pin(process.pid, PROXY_CPUS)
        yield Stack(
            admin,
            Contender("headgate policy", dataplane.url, process),
            Contender("headgate plain", dataplane.url, process, "/open"),
        )


def write_tokens(admin: httpx.Client, folder: Path) -> None:
    """A user with the scope, that many different tokens of it, and the keys to verify them with."""
    password = secrets.token_urlsafe(16)
    user = {"username": "bench", "password": password, "scopes": ["orders:read"]}
    admin.post("/api/v1/apply", json={"users": [user]}).raise_for_status()
    form = {"username": "bench", "password": password}
    answers = [admin.post("/api/v1/auth/token", data=form).raise_for_status() for _ in range(TOKENS)]
    (folder / "tokens").write_text("".join(answer.json()["access_token"] + "\n" for answer in answers))
    jwks = admin.get("/api/v1/.well-known/jwks.json").raise_for_status().json()
    (folder / "jwks.json").write_text(json.dumps(jwks))
