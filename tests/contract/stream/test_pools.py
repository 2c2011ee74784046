"""Data planes of two pools, with their own client and decoder, and one that moves from pool to pool."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.identity import KeyRing
from controlplane.model.pool import Pool
from controlplane.model.resources import Listener, Route, Service
from dataplane.config.apply import Assembly
from dataplane.config.decode import Bundle, decode
from dataplane.config.decode.bundle import Part
from tests.contract.stream.test_both_planes import DataPlane, running
from tests.support.control_plane import DATAPLANE_TOKEN, ControlPlane, make_ring
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return make_ring()


@pytest.fixture
async def plane(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(ring) as plane:
        await plane.watcher.caught_up.wait()
        await plane.put(
            Pool(name="east"),
            Pool(name="west"),
            Service(service_name="one"),
            Service(service_name="two"),
            Listener(name="east", port=8081, pools=("east",)),
            Listener(name="west", port=8081, pools=("west",)),
            Route(name="one", prefix="/1", service_name="one", public=True, pools=("east",)),
            Route(name="two", prefix="/2", service_name="two", public=True, listeners=("east", "west")),
        )
        yield plane


def token(plane: ControlPlane, pool: str) -> str:
    assert plane.tokens is not None
    return plane.tokens.issue_dataplane(pool, None, 60)


def names(served: Bundle) -> set[str]:
    return {"/".join(key) for key in served.resources}


EAST = {"listener/east", "route/one", "route/two", "service/one", "service/two"}
WEST = {"listener/west", "route/two", "service/two"}


async def test_each_applies_its_own_and_follows_it_by_deltas(plane: ControlPlane) -> None:
    east = DataPlane(plane.address, token=token(plane, "east"))
    west = DataPlane(plane.address, token=token(plane, "west"))
    async with running(east), running(west):
        await eventually(lambda: east.bundles and west.bundles)
        assert (names(east.served), names(west.served)) == (EAST, WEST)
        revision = await plane.put(
            Route(name="new", prefix="/n", service_name="one", public=True, pools=("west",))
        )
        await eventually(lambda: west.state.revision == revision)
        assert names(west.served) == WEST | {"route/new", "service/one"}
        await eventually(lambda: plane.fleet.nodes["west/gw-1"].digest == west.state.digest)
        assert west.stream.mismatches == 0 and west.state.digest != east.state.digest
        assert plane.hub.messages.deltas == 1


async def test_a_route_is_applied_with_the_listeners_that_are_there(plane: ControlPlane) -> None:
    async with running(DataPlane(plane.address, token=token(plane, "west"))) as west:
        await eventually(lambda: west.bundles)
        items = tuple((key, decode(resource)) for key, resource in west.served.resources.items())
        assembly = Assembly()
        assembly.take(Part(0, "", 1, "", items, ()))
        table = assembly.complete(1, "")
        assert set(table.routers) == {"west"}


async def test_a_data_plane_that_changes_its_pool_gets_the_other_part(plane: ControlPlane) -> None:
    moving = DataPlane(plane.address, token=token(plane, "east"))
    async with running(moving):
        await eventually(lambda: moving.bundles)
    moving._token = token(plane, "west")
    moving.start_over(plane.address)
    async with running(moving):
        await eventually(lambda: names(moving.served) == WEST)
        await eventually(lambda: plane.fleet.nodes["west/gw-1"].digest == moving.state.digest)
    assert not plane.fleet.nodes["east/gw-1"].connected
    moving._token = DATAPLANE_TOKEN
    moving.start_over(plane.address)
    async with running(moving):
        # Its route is on listeners of other pools only.
        await eventually(lambda: names(moving.served) == set())


async def test_the_first_pool_is_a_delta_for_all_others(ring: KeyRing) -> None:
    async with ControlPlane(ring) as plane, running(DataPlane(plane.address)) as data_plane:
        await plane.put(Service(service_name="one"), Service(service_name="two"))
        await eventually(lambda: names(data_plane.served) == {"service/one", "service/two"})
        await plane.put(
            Pool(name="east"),
            Route(name="one", prefix="/1", service_name="one", public=True, pools=("east",)),
        )
        await eventually(lambda: names(data_plane.served) == {"service/two"})
        assert data_plane.stream.mismatches == 0 and plane.hub.messages.snapshots.total() == 1
