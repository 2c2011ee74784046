"""A store that an earlier version wrote: what it accepted, and new resources may not hold, stops nothing."""

from __future__ import annotations

import json

import httpx

from controlplane.model.stored import key_of
from controlplane.store import EtcdStore, Put
from demo.processes import ControlPlane
from tests.integration.controlplane.conftest import Start, log_in
from tests.support.etcd import Etcd
from tests.support.waiting import eventually

OLD = {"name": "old", "prefix": "/old", "service_name": "orders", "methods": ["GET", "TRACE"], "public": True}


async def test_a_route_with_a_method_that_is_not_served(
    own_etcd: Etcd, plane: ControlPlane, start: Start, client: httpx.Client
) -> None:
    store = EtcdStore(own_etcd.settings())
    await store.commit(
        {},
        [
            Put(key_of("service", "orders"), json.dumps({"service_name": "orders"}).encode()),
            Put(key_of("route", "old"), json.dumps(OLD).encode()),
        ],
    )
    await store.close()
    process = start(plane)
    await eventually(lambda: client.get("/ready").status_code == 200)
    log_in(client, plane)
    shown = client.get("/api/v1/config/routes/old").raise_for_status().json()
    assert shown["methods"] == ["GET", "TRACE"]
    new = {"name": "new", "prefix": "/new", "service_name": "orders", "public": True}
    client.put("/api/v1/config/routes/new", json=new).raise_for_status()
    await eventually(lambda: '"published"' in process.log.read_text())
    log = process.log.read_text()
    assert "has a value that would be refused now" in log and "/headgate/v1/route/old" in log
    assert "cannot be published" not in log
    # Whoever writes it anew is told.
    assert client.put("/api/v1/config/routes/old", json=OLD).status_code == 400
