"""Configurations on their way into real workers: applied, rejected, kept, restored."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


def snapshot(
    instance: Instance, *more: wire.Resource, revision: int, prefix: str = "/orders"
) -> config_pb2.Snapshot:
    """Service, instance and route "orders", and more."""
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", instance.port),
        wire.route("orders", "orders", revision=revision, prefix=prefix),
        *more,
        revision=revision,
    )


async def test_a_snapshot_is_served_by_every_worker_and_acked(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        await eventually(lambda: controlplane.latest.acked == [5])
        hello = controlplane.latest.hello
        version = metadata.version("headgate-dataplane")
        assert (hello.node, hello.version, hello.revision, hello.digest) == ("node-1", version, 0, "")
        assert {(await node.get("/orders/1")).text for _ in range(20)} == {"orders-1"}
        assert len(node.workers()) == 2


async def test_nobody_joins_or_reaches_the_nodes_own_status(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    namesake = (
        wire.service("headgate-status"),
        wire.instance("headgate-status", "stranger", orders.port),
        wire.route("theirs", "headgate-status"),
    )
    controlplane.publish(snapshot(orders, *namesake, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        for _ in range(4):
            assert (await node.get("/health")).json()["node"] == "node-1"
        assert (await node.get("/theirs/debug/config")).text == "orders-1"
        strangers = (
            wire.instance("headgate:status", "stranger", orders.port),
            wire.route("theirs", "headgate:status"),
        )
        for number, stranger in enumerate(strangers, start=1):
            controlplane.publish(snapshot(orders, stranger, revision=5 + number))
            await eventually(lambda wanted=number: len(controlplane.latest.nacked) == wanted)  # type: ignore[misc]
        details = {problem.detail for nack in controlplane.latest.nacked for problem in nack.problems}
        assert any("are reserved for the data plane" in detail for detail in details)


async def test_changes_are_served_as_they_come(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        for revision in range(6, 12):
            controlplane.publish(snapshot(orders, revision=revision, prefix=f"/v{revision}"))
            await eventually(lambda wanted=revision: controlplane.latest.acked[-1] == wanted)  # type: ignore[misc]
            assert (await node.get(f"/v{revision}/x")).status_code == 200
            assert (await node.get(f"/v{revision - 1}/x")).json()["detail"] == "Service not found"


async def test_a_revision_that_changes_nothing_is_acked(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    same = snapshot(orders, revision=5)
    controlplane.publish(same)
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        later = config_pb2.Snapshot()
        later.CopyFrom(same)
        later.revision = 9
        controlplane.publish(later)
        await eventually(lambda: controlplane.latest.acked == [5, 9])
        await node.serves(9)


async def test_a_bad_snapshot_is_rejected_with_every_reason_and_the_old_table_serves(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        wrong = wire.rate_limit("burst", per_second=-1), wire.route("stray", "nowhere", prefix="no-slash")
        controlplane.publish(snapshot(orders, *wrong, revision=6, prefix="/new"))
        await eventually(lambda: controlplane.latest.nacked)
        (nack,) = controlplane.latest.nacked
        assert nack.revision == 6
        assert {(one.resource, one.field) for one in nack.problems} == {
            ("rate_limit/burst", "per_second"),
            ("route/stray", "prefix"),
        }
        assert (await node.get("/orders/1")).text == "orders-1"
        assert await node.metric("headgate_config_rejections_total") == 1
        assert (await node.status("/debug/config")).json()["revision"] == 5
        assert (await node.status("/ready")).status_code == 200
        controlplane.publish(snapshot(orders, revision=7, prefix="/new"))
        await eventually(lambda: controlplane.latest.acked == [5, 7])
        assert (await node.get("/new/1")).text == "orders-1"


async def test_dangling_references_are_rejected(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        node.start()
        controlplane.publish(snapshot(orders, wire.route("stray", "nowhere"), revision=6))
        await eventually(lambda: controlplane.connections and controlplane.latest.nacked, within=30)
        (problem,) = controlplane.latest.nacked[0].problems
        assert (problem.resource, problem.field, problem.detail) == (
            "route/stray",
            "service_name",
            "service 'nowhere' does not exist",
        )
        assert (await node.status("/ready")).json() == {
            "status": "not ready",
            "detail": "no configuration yet",
        }


async def test_more_routes_than_max_routes_are_rejected(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, MAX_ROUTES="3", EXPOSE_METRICS="true") as node:
        controlplane.publish(snapshot(orders, revision=5))
        await node.started()
        more = [wire.route(f"r{number}", "orders") for number in range(3)]
        controlplane.publish(snapshot(orders, *more, revision=6))
        await eventually(lambda: controlplane.latest.nacked)
        (problem,) = controlplane.latest.nacked[0].problems
        assert problem.detail == "4 exceeds MAX_ROUTES 3"
        controlplane.publish(snapshot(orders, *more[:2], revision=7))
        await eventually(lambda: controlplane.latest.acked == [5, 7])


async def test_a_snapshot_whose_digest_does_not_fit_is_rejected(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    broken = snapshot(orders, revision=5)
    broken.digest = "0" * 64
    controlplane.publish(broken)
    async with DataPlane(tmp_path, controlplane.address) as node:
        node.start()
        await eventually(lambda: controlplane.connections and controlplane.latest.nacked, within=30)
        assert controlplane.latest.nacked[0].problems[0].field == "digest"


async def test_without_any_configuration_nothing_is_served_but_the_nodes_own_health(
    tmp_path: Path,
) -> None:
    async with DataPlane(tmp_path) as node:
        node.start()
        answer = await eventually(lambda: node.get("/health"), within=30)
        assert answer.json()["status"] == "starting"
        assert (await node.status("/ready")).status_code == 503
        refused = await node.get("/orders")
        assert (refused.status_code, refused.json()["detail"]) == (503, "Service unavailable")
        assert int(refused.headers["retry-after"]) >= 1


async def test_the_control_plane_may_go_and_come_back(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        await eventually(lambda: controlplane.latest.acked == [5])
        await controlplane.stop()
        await eventually(lambda: _degraded(node))
        assert (await node.get("/orders/1")).text == "orders-1"
        assert (await node.status("/ready")).status_code == 200
        await controlplane.start()
        controlplane.publish(snapshot(orders, revision=6, prefix="/new"))
        back = time.monotonic()
        await eventually(lambda: controlplane.latest.acked == [6])
        assert time.monotonic() - back < 5, "2 s, and what a busy machine adds"
        assert (controlplane.latest.hello.revision, controlplane.latest.hello.digest != "") == (5, True)
        assert (await node.get("/new/1")).text == "orders-1"


async def test_restarted_without_a_control_plane_it_serves_from_its_cache(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        await eventually(lambda: controlplane.latest.acked == [5])
        await eventually(node.cache_file.exists)
        assert await node.stop() == 0
        await controlplane.stop()
        await node.started()
        assert (await node.get("/orders/1")).text == "orders-1"
        assert (await node.status("/health")).json()["revision"] == 5
        await controlplane.start()
        controlplane.publish(snapshot(orders, revision=6, prefix="/new"))
        await eventually(lambda: controlplane.latest.acked == [6])
        assert controlplane.latest.hello.revision == 5
        assert (await node.get("/new/1")).text == "orders-1"


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-20]),
        lambda file: (file.unlink(), file.mkdir()),
    ],
)
async def test_a_damaged_cache_is_a_warning(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, damage: Callable[[Path], object]
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        await eventually(node.cache_file.exists)
        await node.stop()
        damage(node.cache_file)
        await node.started()
        assert (await node.get("/orders/1")).text == "orders-1"
        assert await node.metric("headgate_config_cache_warnings_total") >= 1
        await eventually(lambda: any("config cache" in text for text in _warnings(node)))


async def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        assert (await node.get("/orders/1")).text == "orders-1"
        await eventually(lambda: _health_says(node, "the configuration cache cannot be written"))


async def test_a_cached_configuration_that_is_too_big_now_is_a_warning(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, wire.route("more", "orders"), revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        await eventually(node.cache_file.exists)
        await node.stop()
        await controlplane.stop()
        node.settings["MAX_ROUTES"] = "1"
        node.start()
        await eventually(lambda: any("2 exceeds MAX_ROUTES 1" in line for line in node.output()), within=30)
        await eventually(lambda: _health_says(node, "no configuration yet"))


async def test_killed_right_after_an_ack_it_comes_back_with_what_it_acked(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        controlplane.publish(snapshot(orders, revision=6))
        await eventually(lambda: 6 in controlplane.latest.acked)
        await node.kill()
        await controlplane.stop()
        await node.started()
        assert (await node.status("/debug/config")).json()["revision"] == 6


def _warnings(node: DataPlane) -> list[str]:
    return [record["message"] for record in node.log() if record.get("level") == "warning"]


async def _degraded(node: DataPlane) -> bool:
    health = (await node.status("/health")).json()
    return bool(health["status"] == "degraded" and not health["controlplane"]["connected"])


async def _health_says(node: DataPlane, problem: str) -> bool:
    return any(problem in one for one in (await node.status("/health")).json()["problems"])
