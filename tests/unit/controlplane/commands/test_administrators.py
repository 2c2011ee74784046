"""The last user who can change the configuration stays."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.commands.commands import Commands
from controlplane.model.problems import InvalidConfig
from tests.unit.controlplane.commands.raced_store import RacedStore, refused

ADMIN = "gateway:admin"
LAST = [
    "would leave no user who can change the configuration: no enabled user with a password would hold "
    "gateway:admin. Give gateway:admin to another user first"
]


@pytest.fixture
async def admins(commands: Commands) -> Commands:
    """Commands on a store with one administrator, and with users who would be if they were not kept from it."""
    users = [
        {"username": "root", "password": "testpass", "scopes": [ADMIN]},
        {"username": "disabled", "password": "testpass", "scopes": [ADMIN], "disabled": True},
        {"username": "no-password", "scopes": [ADMIN]},
        {"username": "reader", "password": "testpass"},
    ]
    await commands.apply({"scopes": [{"name": ADMIN}], "users": users}, author="root")
    return commands


async def test_the_last_administrator_stays(store: RacedStore, admins: Commands) -> None:
    before = store.revision
    assert await refused(admins.delete("user", "root", author="root")) == LAST
    losses: tuple[dict[str, object], ...] = ({"disabled": True, "scopes": [ADMIN]}, {"scopes": []})
    for user in losses:
        assert await refused(admins.put("user", user, name="root", author="root")) == LAST
        assert await refused(admins.apply({"users": [{**user, "username": "root"}]}, author="root")) == LAST
    dry = admins.apply({"users": [{"username": "root"}]}, author="root", dry_run=True)
    assert await refused(dry) == LAST
    assert store.revision == before


async def test_an_administrator_may_go_where_another_one_is(admins: Commands) -> None:
    users = [
        {"username": "root", "scopes": []},
        {"username": "next", "password": "testpass", "scopes": [ADMIN]},
    ]
    await admins.apply({"users": users}, author="root")
    await admins.delete("user", "root", author="next")
    await admins.put("user", {"scopes": [ADMIN]}, name="next", author="next")


async def test_of_two_administrators_who_delete_each_other_one_stays(admins: Commands) -> None:
    await admins.create("user", {"username": "two", "password": "testpass", "scopes": [ADMIN]}, author="root")
    said = await asyncio.gather(
        admins.delete("user", "two", author="root"),
        admins.delete("user", "root", author="two"),
        return_exceptions=True,
    )
    assert sorted(isinstance(one, InvalidConfig) for one in said) == [False, True]


async def test_a_rollback_keeps_an_administrator(admins: Commands) -> None:
    first = await admins.put("user", {"scopes": []}, name="reader", author="root")
    users = [{"username": "next", "password": "testpass", "scopes": [ADMIN]}, {"username": "root"}]
    await admins.apply({"users": users}, author="root")
    await admins.delete("user", "root", author="next")
    # Then there was no `next`, and `root` would come back without a password.
    assert await refused(admins.rollback(first.revision, author="next", users=True)) == LAST


async def test_where_there_is_no_administrator_anything_goes(commands: Commands) -> None:
    await commands.create("user", {"username": "u", "password": "testpass"}, author="me")
    await commands.delete("user", "u", author="me")
