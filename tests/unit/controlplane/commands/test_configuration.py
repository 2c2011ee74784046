"""Commands on single resources: created, read, replaced and deleted, and never on stale knowledge."""

from __future__ import annotations

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import AlreadyExists, NotFound, StaleWrite
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import Route, Scope, User
from controlplane.model.stored import key_of, shown
from controlplane.store import Put, StoreUnavailable
from tests.unit.controlplane.commands.raced_store import (
    DOCUMENT,
    LIMIT,
    ROUTE,
    SCOPE,
    SERVICE,
    RacedStore,
    actions,
    elsewhere,
    refused,
)


async def test_without_the_store_nothing_happens(store: RacedStore, commands: Commands) -> None:
    store.available = False
    for attempt in (
        commands.apply(DOCUMENT, author="me"),
        commands.create("scope", SCOPE, author="me"),
        commands.delete("scope", "a", author="me"),
        commands.get("scope", "a"),
        commands.list("scope"),
        commands.find_user("u"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt


async def test_create_read_update_delete(commands: Commands) -> None:
    created = await commands.create("scope", SCOPE, author="me")
    assert created.resource == Scope(name="orders:read")
    assert await commands.get("scope", "orders:read") == created
    updated = await commands.put("scope", {**SCOPE, "description": "Look"}, author="me")
    assert updated.revision > created.revision
    assert await commands.list("scope") == (updated,)
    assert await commands.delete("scope", "orders:read", author="me") > updated.revision
    with pytest.raises(NotFound):
        await commands.get("scope", "orders:read")


async def test_creating_what_exists(commands: Commands) -> None:
    await commands.create("scope", SCOPE, author="me")
    with pytest.raises(AlreadyExists, match="scope 'orders:read' exists already"):
        await commands.create("scope", SCOPE, author="me")


async def test_putting_the_same_again_keeps_the_revision(store: RacedStore, commands: Commands) -> None:
    first = await commands.put("scope", SCOPE, author="me")
    assert await commands.put("scope", SCOPE, author="me") == first
    assert store.revision == first.revision


async def test_the_name_may_come_from_the_address(commands: Commands) -> None:
    await commands.create("service", SERVICE, author="me")
    body = {"prefix": "/x", "service_name": "orders"}
    put = await commands.put("route", body, name="x", author="me")
    assert isinstance(put.resource, Route)
    assert put.resource.name == "x"
    await commands.put("user", {}, name="u", author="me")
    assert await refused(
        commands.put("route", {**body, "name": "y", "prefix": "/y"}, name="x", author="me")
    ) == ["name: must be 'x', as in the path"]
    assert await refused(commands.put("route", [], name="x", author="me")) == [
        "must be an object, not a list"
    ]
    assert await refused(commands.put("scope", {}, name="A b", author="me")) != []


async def test_a_single_resource_has_plain_field_paths(commands: Commands) -> None:
    said = await refused(commands.create("route", {**ROUTE, "methods": ["get"], "nonsense": 1}, author="me"))
    assert [text.split(": ")[0] for text in said] == ["methods[0]", "nonsense", "service_name", "scopes[0]"]


async def test_issuers_are_refused_and_there_are_none(commands: Commands) -> None:
    assert await refused(commands.create("issuer", {"issuer": "x"}, author="me")) == [
        "trusting outside issuers is not built yet"
    ]
    assert await commands.list("issuer") == ()
    with pytest.raises(NotFound):
        await commands.get("issuer", "x")


async def test_a_stale_write_is_refused(commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    second = await commands.put("scope", {**SCOPE, "description": "2"}, if_match=first.revision, author="me")
    for attempt in (
        commands.put("scope", {**SCOPE, "description": "3"}, if_match=first.revision, author="me"),
        commands.delete("scope", "orders:read", if_match=first.revision, author="me"),
    ):
        with pytest.raises(StaleWrite, match=f"is at revision {second.revision} now"):
            await attempt
    for attempt in (
        commands.put("scope", {"name": "gone"}, if_match=first.revision, author="me"),
        commands.delete("scope", "gone", if_match=first.revision, author="me"),
    ):
        with pytest.raises(StaleWrite, match="does not exist"):
            await attempt
    assert await commands.get("scope", "orders:read") == second
    await commands.delete("scope", "orders:read", if_match=second.revision, author="me")


async def test_a_write_that_became_stale_meanwhile_is_refused(store: RacedStore, commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    store.rivals = [lambda: elsewhere(store).put("scope", {**SCOPE, "description": "rival"}, author="rival")]
    with pytest.raises(StaleWrite):
        await commands.put("scope", {**SCOPE, "description": "mine"}, if_match=first.revision, author="me")
    assert shown((await commands.get("scope", "orders:read")).resource)["description"] == "rival"


async def test_a_write_elsewhere_does_not_make_a_write_stale(store: RacedStore, commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    store.rivals = [lambda: elsewhere(store).create("scope", {"name": "other"}, author="rival")]
    await commands.put("scope", {**SCOPE, "description": "mine"}, if_match=first.revision, author="me")
    assert shown((await commands.get("scope", "orders:read")).resource)["description"] == "mine"


async def test_what_is_wrong_is_told_before_what_is_stale(commands: Commands) -> None:
    await commands.create("scope", SCOPE, author="me")
    await refused(commands.create("scope", {**SCOPE, "description": 5}, author="me"))
    await refused(commands.put("scope", {**SCOPE, "description": 5}, if_match=1, author="me"))


async def test_what_is_needed_is_not_deleted(commands: Commands) -> None:
    limited = {**ROUTE, "rate_limits": ["few"]}
    user = {"username": "u", "scopes": ["orders:read"]}
    await commands.apply(
        {**DOCUMENT, "routes": [limited], "rate_limits": [LIMIT], "users": [user]}, author="me"
    )
    assert await refused(commands.delete("scope", "orders:read", author="me")) == [
        "scope 'orders:read' is needed by route 'orders'",
        "scope 'orders:read' is needed by user 'u'",
    ]
    assert await refused(commands.delete("service", "orders", author="me")) == [
        "service 'orders' is needed by route 'orders'"
    ]
    assert await refused(commands.delete("rate_limit", "few", author="me")) == [
        "rate limit 'few' is needed by route 'orders'"
    ]
    for kind, name in (("user", "u"), ("route", "orders"), ("scope", "orders:read"), ("service", "orders")):
        await commands.delete(kind, name, author="me")


async def test_deleting_what_is_not_there(store: RacedStore, commands: Commands) -> None:
    before = store.revision
    with pytest.raises(NotFound, match="route 'x' does not exist"):
        await commands.delete("route", "x", author="me")
    assert store.revision == before


# --- resources that were written with etcdctl, and users


async def test_nonsense_in_the_store_can_be_mended_through_commands(
    store: RacedStore, commands: Commands
) -> None:
    await store.commit(
        {}, [Put(key_of("scope", "orders:read"), b"nonsense"), Put(key_of("user", "u"), b"[]")]
    )
    assert await commands.list("scope") == ()
    with pytest.raises(InconsistentConfig):
        await commands.get("scope", "orders:read")
    assert await commands.find_user("u") is None
    # It counts as existing, so that it does not block others, and can be replaced and deleted.
    await commands.apply({"services": [SERVICE], "routes": [ROUTE]}, author="me")
    assert actions(await commands.apply({"scopes": [SCOPE]}, author="me")) == ["update scope/orders:read"]
    await commands.delete("user", "u", author="me")


@pytest.mark.parametrize("username", ["nobody", "", "a/b", "x" * 10_000, "../scope/a", "\ud800"])
async def test_finding_nobody(commands: Commands, username: str) -> None:
    assert await commands.find_user(username) is None


async def test_finding_a_user(commands: Commands) -> None:
    await commands.apply({"users": [{"username": "u"}]}, author="me")
    assert await commands.find_user("u") == User(username="u")
