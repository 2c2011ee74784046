"""docker-compose.yml names the services the guide names, holds no secret, and gives containers no rights they do not
need."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from dataplane.settings import Settings as DataPlane

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD")
PROVISIONING = "/etc/grafana/provisioning/"
BALANCER = (ROOT / "deploy" / "haproxy.cfg").read_text()
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
PAGE = (ROOT / "docs" / "how-to" / "compose.md").read_text()


def test_services_have_the_names_of_the_guide() -> None:
    assert set(SERVICES) - {"loadbalancer", "headgate", "grafana"} == {
        *("gateway", "controlplane", "etcd", "redis", "prometheus")
    }


def test_every_secret_must_be_given() -> None:
    for name in SECRETS:
        uses = re.findall(rf"{name}: (.*)", TEXT)
        assert uses
        assert all(use.startswith(f"${{{name}:?") for use in uses)


def test_make_writes_every_secret_that_must_be_given() -> None:
    assert set(re.findall(r"\${(\w+):\?", TEXT)) == set(SECRETS)
    assert f"make_secrets.py .env {' '.join(SECRETS)}\n" in (ROOT / "Makefile").read_text()


def test_what_it_builds_and_mounts_exists() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE)
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert {build["target"] for build in builds} <= set(stages)
    default = re.search(r"^ARG BASE=(\S+)", dockerfile, re.MULTILINE)
    assert default and all(build["args"]["BASE"] == f"${{BASE:-{default[1]}}}" for build in builds)
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    for source, *_ in (mount.split(":") for mount in mounts):
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]


def test_nothing_is_published_to_other_machines_by_default() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 5
    assert all(port.startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:")) for port in published)
    # A service with replicas cannot have a host port.
    assert all("ports" not in service for service in SERVICES.values() if "scale" in service)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["mem_limit"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    if name != "headgate":
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_an_ordinary_start_starts_neither_grafana_nor_the_command_line() -> None:
    apart = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert apart == {"grafana": ["grafana"], "headgate": ["tools"]}


def test_grafana_reads_composes_prometheus_and_shows_our_dashboard() -> None:
    grafana = SERVICES["grafana"]
    mounts = dict(reversed(mount.split(":")[:2]) for mount in grafana["volumes"])
    (source,) = yaml.safe_load((ROOT / mounts[PROVISIONING + "datasources/prometheus.yml"]).read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus" and source["isDefault"]
    assert urlsplit(source["url"]).hostname in SERVICES
    (provider,) = yaml.safe_load((ROOT / mounts[PROVISIONING + "dashboards/headgate.yml"]).read_text())[
        "providers"
    ]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounts[home] == "./deploy/grafana/headgate.json"
    assert home.startswith(provider["options"]["path"] + "/")
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_nobody_logs_in_to_grafana() -> None:
    """It would start with the user admin and a password that everybody knows."""
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert "GF_AUTH_ANONYMOUS_ORG_ROLE" not in environment, "the default is Viewer"


def members(network: str) -> set[str]:
    return {name for name, service in SERVICES.items() if network in service.get("networks", ["default"])}


def test_stores_are_apart() -> None:
    apart = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert apart == {"store", "limits"}
    assert members("store") == {"etcd", "controlplane", "prometheus"}
    assert members("limits") == {"redis", "gateway"}


def test_planes_believe_the_balancer_and_each_other() -> None:
    """What these say of a client's address, and nobody else: not even this machine."""
    assert members("control") == {"loadbalancer", "gateway", "controlplane"}
    (addresses,) = COMPOSE["networks"]["control"]["ipam"]["config"]
    subnet, dynamic = (ip_network(by_default(addresses[name])) for name in ("subnet", "ip_range"))
    balancer = by_default(SERVICES["loadbalancer"]["networks"]["control"]["ipv4_address"])
    assert ip_address(balancer) in subnet and ip_address(balancer) not in dynamic
    machine = by_default(addresses["gateway"])
    assert ip_address(machine) in subnet and ip_address(machine) not in dynamic and machine != balancer
    assert by_default(SERVICES["gateway"]["environment"]["PROXY_PROTOCOL_FROM"]) == balancer
    trusted = by_default(SERVICES["controlplane"]["environment"]["TRUSTED_PROXIES"])
    assert trusted == f"{balancer},{dynamic}"
    for plane in ("controlplane", "gateway"):
        assert by_default(SERVICES[plane]["environment"]["REGISTER_DENY"]) == str(subnet)


def test_control_planes_advertise_their_address_in_the_network_of_the_planes() -> None:
    """Docker routes by the first one that leads anywhere else."""
    outward = [name for name, network in COMPOSE["networks"].items() if not network.get("internal")]
    assert min(outward) == "control"


def by_default(text: str) -> str:
    """The text without any variable set."""
    return re.sub(r"\${\w+:-([^}]*)}", r"\1", text)


def test_a_gateway_may_drain_before_it_is_killed() -> None:
    drain = DataPlane.model_fields["drain_timeout"].default
    assert float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > drain
    ends = re.search(r"hard-stop-after (\d+)s", BALANCER)
    assert ends and drain <= int(ends[1]) < int(
        SERVICES["loadbalancer"]["stop_grace_period"].removesuffix("s")
    )


def test_the_balancer_leads_to_the_ports_of_the_planes() -> None:
    assert set(re.findall(r"server-template \S+ 10 (\S+)", BALANCER)) == {
        *("gateway.control:8000", "controlplane.control:8080", "controlplane.control:50051")
    }
    bound = set(re.findall(r"bind :(\d+)", BALANCER))
    assert {port.rpartition(":")[2] for port in SERVICES["loadbalancer"]["ports"]} == bound - {"8404"}


def test_the_balancers_file_is_valid(tmp_path: Path) -> None:
    if (program := shutil.which("haproxy")) is None:
        pytest.skip("no haproxy: `make bench` installs it")
    checked = subprocess.run(
        [program, "-c", "-f", str(ROOT / "deploy" / "haproxy.cfg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def test_prometheus_asks_everything_that_has_metrics() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    # Redis has none of its own; gateways report it. Grafana runs only where it is wanted.
    assert set(jobs) == set(SERVICES) - {"redis", "headgate", "grafana"}
    for name in ("gateway", "controlplane"):
        assert jobs[name]["dns_sd_configs"][0]["names"] == [name]


def test_the_page_has_every_variable() -> None:
    for name in set(re.findall(r"\${(\w+):-", TEXT)):
        assert f"`{name}`" in PAGE, name
