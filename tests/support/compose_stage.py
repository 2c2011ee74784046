"""What tests of a running docker-compose.yml share: logins, and the configuration that they use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.compose import Project
from tests.support.waiting import eventually_now

DOCUMENT = {
    "services": [{"service_name": "orders", "check_interval": 1, "check_timeout": 1, "healthy_threshold": 1}],
    "scopes": [{"name": "orders:read"}],
    "users": [{"username": "testuser", "password": "testpass", "scopes": ["orders:read", "gateway:read"]}],
    "rate_limits": [{"name": "guide", "requests": 5, "per": "hour", "key": "subject", "mode": "redis"}],
    "routes": [
        {"name": "orders", "prefix": "/orders", "service_name": "orders", "scopes": ["orders:read"]},
        {"name": "open", "prefix": "/open", "service_name": "orders", "public": True},
        {
            "name": "guide",
            "prefix": "/guide",
            "service_name": "orders",
            "scopes": ["orders:read"],
            "rate_limits": ["guide"],
        },
    ],
}
GRACE = {"loadbalancer": 35, "gateway": 40, "controlplane": 20}
"""Seconds that the containers of a service have to stop; 10 for others."""


def prepare(project: Project) -> None:
    """Apply DOCUMENT, and wait until both gateways serve it."""
    with administrator(project) as admin:
        answer = admin.post("/api/v1/apply?wait=60", json=DOCUMENT)
        assert answer.status_code == 200, answer.text
    eventually_now(lambda: httpx.get(f"{project.gateway}/open", trust_env=False).status_code == 200)


@contextmanager
def administrator(project: Project) -> Iterator[httpx.Client]:
    """The admin API, with the first user's rights."""
    fields = login(project.admin, "admin", project.variables["ADMIN_PASSWORD"])
    with httpx.Client(base_url=project.admin, timeout=70, trust_env=False, **fields) as client:
        yield client


def login(base: str, username: str, password: str) -> dict[str, Any]:
    """Fields of requests with an access token."""
    form = {"username": username, "password": password}
    answer = httpx.post(f"{base}/api/v1/auth/token", data=form, timeout=30, trust_env=False)
    return {"headers": {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}}


def watched(project: Project) -> Counter[str]:
    """How many targets of each job answer Prometheus. Not by the metric `up`: it may show targets of the last five
    minutes that are gone."""
    answer = httpx.get(f"{project.prometheus}/api/v1/targets", timeout=30, trust_env=False)
    targets = answer.raise_for_status().json()["data"]["activeTargets"]
    return Counter(each["labels"]["job"] for each in targets if each["health"] == "up")


def gateway_health(project: Project) -> list[dict[str, Any]]:
    """/health of each gateway, asked within its container."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8001/health').read().decode())"
    containers = project.containers("gateway")
    return [json.loads(project.docker("exec", each, "python3", "-c", script)) for each in containers]
