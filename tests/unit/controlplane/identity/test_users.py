"""Logging in: by password, as a client, with a refresh token; and what slows guessing down."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from controlplane.identity import (
    Attempts,
    BadCredentials,
    Grants,
    Hasher,
    InvalidScope,
    KeyRing,
    TokenIssuer,
    TooManyAttempts,
    Users,
)
from controlplane.model.resources import User
from controlplane.model.stored import with_hash
from controlplane.store import StoreUnavailable


class World:
    """Users that may change, and a clock for both kinds of time."""

    def __init__(self, ring: KeyRing) -> None:
        self.now = 1_700_000_000.0
        self.people: dict[str, User] = {}
        self.store_answers = True
        self.hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
        self.users = Users(self.find, self.hasher, lambda: self.now, attempts=Attempts(free=3), most=4)
        self.grants = Grants(self.users, TokenIssuer(ring, lambda: self.now))

    async def find(self, username: str) -> User | None:
        if not self.store_answers:
            raise StoreUnavailable("the store does not answer")
        await asyncio.sleep(0)
        return self.people.get(username)

    async def add(self, username: str, password: str | None, *scopes: str, disabled: bool = False) -> None:
        made = await self.hasher.hash(password) if password else None
        self.people[username] = with_hash(User(username=username, scopes=scopes, disabled=disabled), made)


@pytest.fixture
async def world(ring: KeyRing) -> World:
    world = World(ring)
    await world.add("testuser", "testpass", "orders:read", "orders:write")
    return world


async def test_the_right_password_finds_the_user(world: World) -> None:
    assert await world.users.authenticate("testuser", "testpass") is world.people["testuser"]


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("testuser", "wrong"),
        ("testuser", ""),
        ("testuser", "x" * 1_000_000),
        ("TESTUSER", "testpass"),
        ("nobody", "testpass"),
        ("", ""),
        ("x" * 1_000_000, "testpass"),
        ("disabled", "testpass"),
        ("passwordless", ""),
        ("passwordless", "testpass"),
    ],
)
async def test_everything_else_gets_the_same_answer(world: World, username: str, password: str) -> None:
    await world.add("disabled", "testpass", disabled=True)
    await world.add("passwordless", None)
    with pytest.raises(BadCredentials, match="wrong username or password"):
        await world.users.authenticate(username, password)


async def test_guessing_is_slowed_down_and_success_ends_that(world: World) -> None:
    for _ in range(3):
        with pytest.raises(BadCredentials):
            await world.users.authenticate("testuser", "guess")
    with pytest.raises(TooManyAttempts) as caught:
        await world.users.authenticate("testuser", "testpass")
    assert caught.value.retry_after == 1
    world.now += caught.value.retry_after
    await world.users.authenticate("testuser", "testpass")
    for _ in range(3):
        with pytest.raises(BadCredentials):
            await world.users.authenticate("testuser", "guess")


async def test_names_that_do_not_exist_are_slowed_down_as_well(world: World) -> None:
    for _ in range(3):
        with pytest.raises(BadCredentials):
            await world.users.authenticate("nobody", "guess")
    with pytest.raises(TooManyAttempts):
        await world.users.authenticate("nobody", "guess")


async def test_only_so_many_wait_for_their_turn(world: World) -> None:
    await asyncio.gather(*(world.add(f"u{number}", "testpass") for number in range(6)))
    logins = (world.users.authenticate(f"u{number}", "testpass") for number in range(6))
    found = await asyncio.gather(*logins, return_exceptions=True)
    assert [isinstance(one, TooManyAttempts) for one in found] == [False] * 4 + [True] * 2
    await world.users.authenticate("u5", "testpass")


async def test_a_store_that_does_not_answer_is_no_wrong_password(world: World) -> None:
    world.store_answers = False
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await world.users.authenticate("testuser", "testpass")
    world.store_answers = True
    await world.users.authenticate("testuser", "testpass")


async def test_by_password(world: World) -> None:
    tokens = await world.grants.password("testuser", "testpass")
    assert tokens.scope == "orders:read orders:write"
    assert tokens.refresh_token
    assert (await world.grants.password("testuser", "testpass", "orders:read")).scope == "orders:read"
    with pytest.raises(InvalidScope):
        await world.grants.password("testuser", "testpass", "payments:write")
    with pytest.raises(BadCredentials):
        await world.grants.password("testuser", "wrong")


async def test_as_a_client(world: World) -> None:
    tokens = await world.grants.client_credentials("testuser", "testpass", "orders:read")
    assert tokens.scope == "orders:read"
    assert tokens.refresh_token is None
    with pytest.raises(BadCredentials):
        await world.grants.client_credentials("testuser", "wrong")


async def refresh_token(world: World, scope: str | None = None) -> str:
    token = (await world.grants.password("testuser", "testpass", scope)).refresh_token
    assert token is not None
    return token


async def test_with_a_refresh_token(world: World) -> None:
    token = await refresh_token(world)
    world.now += 86_000
    assert (await world.grants.refresh(token)).scope == "orders:read orders:write"
    assert (await world.grants.refresh(token, "orders:write")).scope == "orders:write"
    world.now += 400
    with pytest.raises(BadCredentials):
        await world.grants.refresh(token)


async def test_refreshing_never_widens(world: World) -> None:
    token = await refresh_token(world, "orders:read")
    assert (await world.grants.refresh(token)).scope == "orders:read"
    with pytest.raises(InvalidScope):
        await world.grants.refresh(token, "orders:write")


async def test_refreshing_follows_what_the_user_still_holds(world: World) -> None:
    token = await refresh_token(world)
    await world.add("testuser", "testpass", "orders:write", "payments:write")
    assert (await world.grants.refresh(token)).scope == "orders:write"
    await world.add("testuser", "testpass", "payments:write")
    with pytest.raises(InvalidScope):
        await world.grants.refresh(token)


async def test_refreshing_ends_with_the_user(world: World) -> None:
    token = await refresh_token(world)
    await world.add("testuser", "testpass", "orders:read", disabled=True)
    with pytest.raises(BadCredentials):
        await world.grants.refresh(token)
    del world.people["testuser"]
    with pytest.raises(BadCredentials):
        await world.grants.refresh(token)


async def test_an_access_token_refreshes_nothing(world: World) -> None:
    tokens = await world.grants.password("testuser", "testpass")
    for token in (tokens.access_token, "", "nonsense"):
        with pytest.raises(BadCredentials):
            await world.grants.refresh(token)


async def test_errors_hold_no_secrets(world: World) -> None:
    world.people["u"] = User(username="u", password=SecretStr("testpass"))
    with pytest.raises(BadCredentials) as caught:
        await world.users.authenticate("u", "testpass")
    assert "testpass" not in f"{caught.value} {caught.value!r}"
