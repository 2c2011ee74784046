"""docker-compose.yml names the services the guide names, and holds no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SECRETS = ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD")


def test_services_have_the_names_of_the_guide() -> None:
    assert set(COMPOSE["services"]) == {"gateway", "controlplane", "etcd", "redis", "prometheus"}


def test_every_secret_must_be_given() -> None:
    for name in SECRETS:
        uses = re.findall(rf"{name}: (.*)", TEXT)
        assert uses
        assert all(use.startswith(f"${{{name}:?") for use in uses)


def test_what_it_builds_and_mounts_exists() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    targets = {service["build"]["target"] for service in COMPOSE["services"].values() if "build" in service}
    assert targets == {"controlplane", "dataplane"}
    assert targets <= set(stages)
    mounted = COMPOSE["services"]["prometheus"]["volumes"][0].split(":")[0]
    assert (ROOT / mounted).is_file()


def test_nothing_is_published_to_other_machines_by_default() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert len(published) == 4
    assert all(port.startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:")) for port in published)
    # Where replicas have a range, it must not hold the ports that the status and the admin API have elsewhere.
    assert COMPOSE["services"]["gateway"]["ports"] == ["${BIND:-127.0.0.1}:${GATEWAY_PORTS:-8000}:8000"]
