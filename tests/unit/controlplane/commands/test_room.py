"""More routes than data planes take: no change leads there, and a store that is there already can be emptied."""

from __future__ import annotations

import pytest

from controlplane.commands.commands import Commands
from controlplane.model.problems import InvalidConfig
from tests.unit.controlplane.commands.raced_store import NOW, CountingHasher, RacedStore

MOST = 3


def route(name: str, service: str = "s") -> dict[str, object]:
    return {"name": name, "prefix": f"/{name}", "service_name": service}


def document(*names: str) -> dict[str, object]:
    return {"services": [{"service_name": "s"}], "routes": [route(name) for name in names]}


def bounded(store: RacedStore, most: int = MOST) -> Commands:
    return Commands(store, CountingHasher(), lambda: NOW, most_routes=most)


@pytest.fixture
async def full(store: RacedStore) -> Commands:
    """As many routes as data planes take."""
    commands = bounded(store)
    await commands.apply(document("a", "b", "c"), author="me")
    return commands


async def test_no_change_adds_routes_beyond_the_bound(full: Commands, store: RacedStore) -> None:
    before = store.revision
    for attempt in (
        full.apply(document("d"), author="me"),
        full.apply(document("d", "e"), author="me", dry_run=True),
        full.create("route", route("d"), author="me"),
        full.put("route", route("d"), name="d", author="me"),
    ):
        with pytest.raises(InvalidConfig, match=r"^routes: [45] are more than MAX_ROUTES 3: data planes"):
            await attempt
    assert store.revision == before


async def test_a_rollback_does_not_either(full: Commands) -> None:
    three = (await full.apply(document("a"), author="me")).revision
    await full.delete("route", "a", author="me")
    await full.create("route", route("d"), author="me")
    await full.apply({"routes": [route("d") | {"description": "changed"}]}, author="me")
    narrower = bounded(full.executor.store, 2)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="are more than MAX_ROUTES"):
        await bounded(full.executor.store, 1).create("route", route("e"), author="me")  # type: ignore[arg-type]
    # As many as before.
    await narrower.rollback(three, author="me")
    assert [one.resource.name for one in await full.list("route")] == ["a", "b", "c"]


async def test_a_store_above_the_bound_can_be_changed_and_emptied(full: Commands, store: RacedStore) -> None:
    narrower = bounded(store, 1)
    await narrower.apply(document("a", "b", "c"), author="me")
    await narrower.put("route", route("a") | {"description": "changed"}, author="me")
    await narrower.patch("route", "b", {"description": "changed"}, author="me")
    await narrower.apply({"scopes": [{"name": "x"}]}, author="me")
    for name in "abc":
        await narrower.delete("route", name, author="me")
    await narrower.create("route", route("d"), author="me")
    with pytest.raises(InvalidConfig):
        await narrower.create("route", route("e"), author="me")
