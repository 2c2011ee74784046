"""Health, readiness and metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from controlplane.distribute.subscriber import Whole
from controlplane.fleet.reports import CertificateReport, NodeProblem, StatsReport
from controlplane.identity import ClusterKeys, KeysUnavailable, ServiceAccounts
from controlplane.model.resources import Certificate
from controlplane.model.stored import encode, key_of
from controlplane.store import Put
from tests.support.api import Api
from tests.support.certificates import Authority
from tests.support.service_accounts import Cluster, following
from tests.support.waiting import eventually


async def metrics(api: Api) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = (await api.client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{s.name}{sorted(s.labels.items()) or ''}": s.value for s in samples}


async def test_all_is_well(api: Api) -> None:
    health = (await api.client.get("/health")).json()
    revision = api.store.revision
    store = {"store": "ok", "revision": revision}
    assert health == {"status": "ok", "version": "1.2.3", **store, "problems": [], "warnings": []}
    ready = await api.client.get("/ready")
    assert ready.json() == {"ready": True, "reasons": [], "revision": revision, "problems": []}


async def test_a_certificate_that_ends_soon_is_a_warning(api: Api, tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path).issue("one")  # ends in a day
    made = Certificate(name="shop", certificate=certificate.read_text())
    await api.store.commit({}, [Put(key_of("certificate", "shop"), encode(made))])
    await api.seen()
    health = (await api.client.get("/health")).json()
    assert health["status"] == "ok"
    assert health["warnings"] == [f"certificate 'shop' expires on {made.ends:%Y-%m-%d}, in 0 days"]


async def test_certificates_in_files_of_data_planes_are_shown(api: Api, admin: httpx.AsyncClient) -> None:
    files = {"certificate": "shop/tls.crt", "private_key": "shop/tls.key"}
    answer = await admin.put("/api/v1/certificates/shop", json={"files": files})
    assert answer.status_code == 201 and answer.json()["not_after"] is None
    end = datetime(2030, 1, 2, tzinfo=UTC)
    for node, problem in (("a", ""), ("b", "cannot read shop/tls.key")):
        api.parts.fleet.hello(node, "1")
        report = CertificateReport("shop", end.timestamp() + (node == "a"), problem)
        api.parts.fleet.stats(node, StatsReport(certificates=(report,)))
    shown = (await admin.get("/api/v1/certificates/shop")).json()
    assert (shown["not_after"], shown["files"]) == (end.isoformat(), files)
    listed = (await admin.get("/api/v1/dataplanes")).json()
    problems = {one["node"]: one["certificate_problems"] for one in listed}
    assert problems == {"a": [], "b": [{"certificate": "shop", "detail": "cannot read shop/tls.key"}]}
    (warning,) = (await api.client.get("/health")).json()["warnings"]
    assert warning == "certificate 'shop' on data plane b: cannot read shop/tls.key"


async def test_nonsense_in_the_store_is_shown(api: Api) -> None:
    await api.store.commit({}, [Put("/headgate/v1/route/odd", b"{")])
    await eventually(lambda: api.parts.watcher.problems)
    health = await api.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["problems"] == ["route/odd: is not JSON"]
    ready = await api.client.get("/ready")
    assert (ready.status_code, ready.json()["problems"]) == (200, ["route/odd: is not JSON"])
    found = await metrics(api)
    assert found["headgate_controlplane_snapshot_problems"] == 1
    assert found["headgate_controlplane_snapshots_refused_total"] == 1


async def test_a_full_store_is_shown_and_leaves_it_ready(api: Api) -> None:
    api.parts.watcher.full = True
    health = (await api.client.get("/health")).json()
    said = "the store (etcd) is full and takes no changes"
    assert (health["status"], health["store"], health["problems"]) == ("degraded", "ok", [said])
    ready = await api.client.get("/ready")
    assert (ready.status_code, ready.json()["ready"], ready.json()["problems"]) == (200, True, [said])
    assert (await metrics(api))["headgate_controlplane_store_full"] == 1


async def test_keys_of_a_cluster_that_cannot_be_read_are_shown(api: Api) -> None:
    assert (await metrics(api))["headgate_controlplane_service_account_keys_problem"] == 0
    keys = ClusterKeys(Cluster(failure=KeysUnavailable("the API server forbids it (403)"), keys=[]).fetch)
    api.parts.accounts = ServiceAccounts(keys, "headgate")
    async with following(keys):
        await eventually(lambda: "403" in keys.problem)
        health = (await api.client.get("/health")).json()
        said = "the keys for service-account tokens cannot be read: the API server forbids it (403)"
        assert (health["status"], health["problems"]) == ("degraded", [said])
        assert (await api.client.get("/ready")).status_code == 200
        assert (await metrics(api))["headgate_controlplane_service_account_keys_problem"] == 1


async def test_more_routes_than_data_planes_take_are_shown(api: Api) -> None:
    document = {"services": [{"service_name": "s"}]}
    routes = [{"name": name, "prefix": f"/{name}", "service_name": "s"} for name in "ab"]
    await api.parts.commands.apply(document | {"routes": routes}, author="me")
    await api.seen()
    api.parts.most_routes = 1
    health = (await api.client.get("/health")).json()
    assert health["status"] == "degraded"
    assert [said.partition(":")[0] for said in health["problems"]] == ["routes"]
    assert "2 are more than MAX_ROUTES 1" in health["problems"][0]
    ready = await api.client.get("/ready")
    assert (ready.status_code, ready.json()["problems"]) == (200, health["problems"])
    api.client.headers.update(await api.token())
    planned = (await api.client.post("/api/v1/apply?dry_run=true", json=document)).json()
    assert [one["field"] for one in planned["warnings"]] == ["routes"]


async def test_metrics(api: Api) -> None:
    fleet = api.parts.fleet
    fleet.hello("a", "0.1.0", 3, "digest")
    fleet.hello("b", "0.1.0")
    fleet.nack("a", 9, [NodeProblem("", "", "no")])
    fleet.disconnect("b")
    api.parts.messages.snapshots[Whole.UNKNOWN_BASE] += 2
    api.parts.messages.marks += 3
    api.parts.messages.resources["delta"] += 4
    counts = api.parts.commands.counts
    counts.registered, counts.left, counts.renewed, counts.ended, counts.failed = 5, 4, 3, 2, 1
    counts.streams = lambda: (6, 7)
    api.parts.refused.record("config", "unauthenticated", "no", "ipv4:10.0.0.1:1")
    await api.client.get("/nothing")
    found = await metrics(api)
    prefix = "headgate_controlplane_"
    assert found[f"{prefix}build_info[('version', '1.2.3')]"] == 1
    assert found[f"{prefix}ready"] == 1
    assert found[f"{prefix}store_up"] == 1
    assert found[f"{prefix}revision"] == api.store.revision
    assert found[f"{prefix}published_revision"] == api.store.revision
    assert found[f"{prefix}dataplanes_connected"] == 1
    assert found[f"{prefix}dataplane_acked_revision[('node', 'a')]"] == 3
    assert found[f"{prefix}dataplane_rejected_revision[('node', 'a')]"] == 9
    assert found[f"{prefix}dataplane_rejected_revision[('node', 'b')]"] == 0
    assert found[f"{prefix}admin_requests_total[('method', 'GET'), ('status', '404')]"] == 1
    assert found[f"{prefix}snapshots_sent_total[('reason', 'unknown_base')]"] == 2
    assert found[f"{prefix}snapshots_sent_total[('reason', 'first')]"] == 0
    assert found[f"{prefix}deltas_sent_total"] == 0
    assert found[f"{prefix}marks_sent_total"] == 3
    assert found[f"{prefix}resources_sent_total[('form', 'delta')]"] == 4
    assert found[f"{prefix}registrations_total"] == 5
    assert found[f"{prefix}deregistrations_total"] == 4
    assert found[f"{prefix}keep_alives_total[('outcome', 'renewed')]"] == 3
    assert found[f"{prefix}keep_alives_total[('outcome', 'ended')]"] == 2
    assert found[f"{prefix}keep_alives_total[('outcome', 'failed')]"] == 1
    assert found[f"{prefix}keep_alive_streams"] == 6
    assert found[f"{prefix}keep_alive_leases"] == 7
    assert found[f"{prefix}calls_refused_total[('code', 'unauthenticated'), ('service', 'config')]"] == 1
    assert found["process_open_fds"] > 0


async def test_the_form_of_the_exposition_is_negotiated(api: Api) -> None:
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await api.client.get("/metrics", headers=openmetrics)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert (await api.client.get("/metrics")).headers["Content-Type"].startswith("text/plain")
