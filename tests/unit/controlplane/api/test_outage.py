"""What is answered while the store does not, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx
import pytest

from controlplane.api.explain import explain
from controlplane.store import (
    AccessDenied,
    Conflict,
    LeaseGone,
    MemoryStore,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    Write,
)
from tests.support.api import Api, running_api

SCOPE = {"name": "new"}


async def test_changes_are_refused_and_views_go_on(admin: httpx.AsyncClient, api: Api) -> None:
    api.store.available = False
    for request in (
        admin.post("/api/v1/apply", json={"scopes": [SCOPE]}),
        admin.put("/api/v1/config/scopes/new", json={}),
        admin.delete("/api/v1/config/scopes/orders:read"),
        admin.post("/api/v1/circuits/orders/reset"),
        admin.delete("/api/v1/rate-limits/address:192.0.2.1"),
    ):
        answer = await request
        assert answer.status_code == 503
        assert answer.json()["detail"] == "The store (etcd) does not answer; nothing was changed"
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await admin.get("/api/v1/config/scopes")).json()["detail"] == "The store (etcd) does not answer"
    for path in ("services", "circuits", "rate-limits", "dataplanes", "openapi.json"):
        assert (await admin.get(f"/api/v1/{path}")).status_code == 200
    api.store.available = True
    assert (await admin.post("/api/v1/apply", json={"scopes": [SCOPE]})).status_code == 200


async def test_an_unknown_outcome_is_not_called_nothing(
    admin: httpx.AsyncClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(self: MemoryStore, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        raise StoreUnavailable("no answer", unknown_outcome=True)

    monkeypatch.setattr(MemoryStore, "commit", lose)
    answer = await admin.post("/api/v1/apply", json={"scopes": [SCOPE]})
    assert answer.status_code == 503
    assert "it is not known whether the change was made" in answer.json()["detail"]
    assert "nothing was changed" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Conflict(["/k"]), 409, "Other changes to the configuration kept coming first; nothing was changed"),
        (TooLarge("2 MiB"), 413, "The change does not fit into one transaction: 2 MiB"),
        (
            AccessDenied("etcd: no"),
            503,
            "The store (etcd) refuses the control plane's credentials; nothing was changed",
        ),
        (
            StoreFull("etcd: no space"),
            503,
            "The store (etcd) is full and takes no changes; nothing was changed",
        ),
        (LeaseGone(7), 503, "The store (etcd) ended the lease of this change; nothing was changed"),
    ],
)
def test_other_errors_of_the_store(error: Exception, status: int, detail: str) -> None:
    refused = explain(error, writing=True)
    assert refused is not None
    assert (refused.status, refused.detail) == (status, detail)


async def test_ready_says_what_is_missing() -> None:
    async with running_api(started=False) as api:
        answer = await api.client.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the store (etcd) has not answered yet"]
        assert (await api.client.get("/health")).status_code == 200
        assert (await api.client.get("/api/v1/services")).status_code == 401
        with_token = await api.client.get("/api/v1/services", headers={"Authorization": "Bearer x"})
        assert with_token.status_code == 503
        assert "The control plane is starting" in with_token.json()["detail"]


async def test_ready_stays_when_the_store_goes(api: Api) -> None:
    api.store.available = False
    assert (await api.client.get("/ready")).status_code == 200
