"""Documents that no transaction carries, through the admin API onto a real etcd."""

from __future__ import annotations

import dataclasses

import httpx

from demo.ports import free_port
from demo.processes import ControlPlane
from tests.integration.controlplane.conftest import Start, log_in
from tests.support.waiting import eventually_now

COUNT = 1000


def document(prefix: str) -> dict[str, object]:
    route = {"service_name": "orders", "public": True}
    return {
        "services": [{"service_name": "orders"}],
        "routes": [
            {"name": f"r{number}", "prefix": f"{prefix}/{number}", **route} for number in range(COUNT)
        ],
    }


def test_a_thousand_routes_are_one_change(plane: ControlPlane, start: Start, client: httpx.Client) -> None:
    start(plane)
    log_in(client, plane)
    made = client.post("/api/v1/apply", json=document("/a")).raise_for_status().json()
    assert len(made["changes"]) == COUNT + 1
    changed = client.post("/api/v1/apply", json=document("/b")).raise_for_status().json()
    assert changed["revision"] > made["revision"]
    # Another control plane sees it whole, and the next change comes after.
    other = dataclasses.replace(plane, name="other", admin_port=free_port(), grpc_port=free_port())
    start(other)
    with other.admin() as admin:
        prefixes = {
            route["prefix"] for route in admin.get("/api/v1/routes").json() if route["name"] != "headgate-api"
        }
        assert prefixes == {f"/b/{number}" for number in range(COUNT)}
        same = admin.post("/api/v1/apply", json=document("/b")).raise_for_status().json()
        assert {change["action"] for change in same["changes"]} == {"unchanged"}
        gone = admin.delete("/api/v1/config/routes/r5").raise_for_status()
        assert gone.status_code in (200, 204)
    eventually_now(lambda: client.get("/api/v1/config/routes/r5").status_code == 404)
