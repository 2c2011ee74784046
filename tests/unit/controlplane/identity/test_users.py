"""Logging in: by password, as a client, with a refresh token; and what slows guessing down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from pydantic import SecretStr

from controlplane.commands.adapters import StoredFamilies, StoredRevocations
from controlplane.commands.executor import Executor
from controlplane.identity import (
    Attempts,
    BadCredentials,
    EndedToken,
    Grants,
    Hasher,
    InvalidScope,
    KeyRing,
    Revocations,
    TokenIssuer,
    TooManyAttempts,
    Users,
)
from controlplane.identity.families import MOST, PREFIX
from controlplane.model.resources import User
from controlplane.model.stored import with_hash
from controlplane.store import Conflict, MemoryStore, Put, StoreUnavailable, Write

DAY = 86_400
LIFETIME = 30 * DAY


class World:
    """Users that may change, and a clock for both kinds of time."""

    def __init__(self, ring: KeyRing) -> None:
        self.now = 1_700_000_000.0
        self.people: dict[str, User] = {}
        self.store_answers = True
        self.hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
        self.users = Users(self.find, self.hasher, lambda: self.now, attempts=Attempts(free=3))
        self.store = MemoryStore(clock=lambda: self.now)
        self.revocations = Revocations(self.store, lambda: self.now)
        self.issuer = TokenIssuer(
            ring, lambda: self.now, refresh_lifetime=LIFETIME, ended=self.revocations.ended
        )
        executor = Executor(self.store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
        rotation = StoredFamilies(executor, LIFETIME)
        revoking = StoredRevocations(executor, self.revocations)
        self.grants = Grants(self.users, self.issuer, rotation, revoking, lambda: self.now)

    async def find(self, username: str) -> User | None:
        if not self.store_answers:
            raise StoreUnavailable("the store does not answer")
        await asyncio.sleep(0)
        return self.people.get(username)

    async def add(self, username: str, password: str | None, *scopes: str, disabled: bool = False) -> None:
        before = self.people.get(username)
        known = before.password_hash.get_secret_value() if before and before.password_hash else None
        same = password and known and await self.hasher.verify(password, known)
        made = known if same else await self.hasher.hash(password) if password else None
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


async def test_who_guesses_makes_nobody_wait_but_themselves(world: World) -> None:
    """Five guesses a second from one address, and the owner is let in every time from another."""
    for _ in range(100):
        with pytest.raises((BadCredentials, TooManyAttempts)):
            await world.users.authenticate("testuser", "guess", "192.0.2.66")
        await world.users.authenticate("testuser", "testpass", "198.51.100.1")
        world.now += 0.2
    with pytest.raises(TooManyAttempts):
        await world.users.authenticate("testuser", "testpass", "192.0.2.66")


async def test_clients_are_counted_in_the_same_way(world: World) -> None:
    for _ in range(10):
        with pytest.raises((BadCredentials, TooManyAttempts)):
            await world.grants.client_credentials("testuser", "guess", address="192.0.2.66")
    await world.grants.client_credentials("testuser", "testpass", address="198.51.100.1")


async def test_a_flood_from_one_address_takes_no_turn_from_another(world: World) -> None:
    flood = [
        asyncio.create_task(world.users.authenticate(f"u{number}", "guess", "192.0.2.66"))
        for number in range(1000)
    ]
    await asyncio.sleep(0)
    await world.users.authenticate("testuser", "testpass", "198.51.100.1")
    refused = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(one) for one in refused} == {BadCredentials, TooManyAttempts}
    assert sum(isinstance(one, BadCredentials) for one in refused) <= 10


async def test_what_was_not_looked_at_is_no_failure(world: World) -> None:
    """The queue refuses most of these at once; none of those counts as a guess."""
    crowd = (world.users.authenticate("testuser", "testpass", "192.0.2.1") for _ in range(100))
    await asyncio.gather(*crowd, return_exceptions=True)
    await world.users.authenticate("testuser", "testpass", "192.0.2.1")


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
    world.now += DAY - 1
    second = await world.grants.refresh(token)
    assert second.scope == "orders:read orders:write"
    third = await world.grants.refresh(str(second.refresh_token), "orders:write")
    assert third.scope == "orders:write"
    world.now += DAY
    with pytest.raises(BadCredentials):
        await world.grants.refresh(str(third.refresh_token))


async def renew(world: World, token: str) -> str:
    return str((await world.grants.refresh(token)).refresh_token)


async def test_a_refresh_token_that_comes_again_ends_its_family(world: World) -> None:
    first, other = await refresh_token(world), await refresh_token(world)
    second = await renew(world, first)
    third = await renew(world, second)
    for token in (first, third, second):
        with pytest.raises(BadCredentials):
            await world.grants.refresh(token)
    assert await renew(world, other), "another login goes on"


async def test_of_many_uses_at_once_at_most_one_succeeds_and_the_family_ends(world: World) -> None:
    token = await refresh_token(world)
    found = await asyncio.gather(*(world.grants.refresh(token) for _ in range(4)), return_exceptions=True)
    (good,) = [one for one in found if not isinstance(one, BaseException)]
    with pytest.raises(BadCredentials):
        await world.grants.refresh(str(good.refresh_token))


async def test_many_logins_of_one_user_are_renewed_at_once(world: World) -> None:
    tokens = [await refresh_token(world) for _ in range(MOST)]
    assert len(set(await asyncio.gather(*(renew(world, token) for token in tokens)))) == MOST


async def test_a_rival_that_is_always_first_costs_no_login(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await refresh_token(world)

    async def conflict(expected: Mapping[str, int], writes: object) -> int:
        raise Conflict(list(expected))

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "commit", conflict)
        with pytest.raises(TooManyAttempts):
            await world.grants.refresh(token)
    assert await renew(world, token)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"families": {"a": [1]}, "floor": 0, "until": 0}',
        b'{"families": {}, "floor": Infinity, "until": 0}',
    ],
)
async def test_damaged_families_end_and_later_logins_go_on(world: World, value: bytes) -> None:
    before = await refresh_token(world)
    world.now += 1
    await world.store.commit({}, [Put(PREFIX + "testuser", value)])
    with pytest.raises(BadCredentials):
        await world.grants.refresh(before)
    world.now += 1
    after = await refresh_token(world)
    assert await renew(world, after)
    with pytest.raises(BadCredentials):
        await world.grants.refresh(before)


async def test_what_was_used_up_stays_so_when_the_answer_of_the_store_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, commit = await refresh_token(world), world.store.commit

    async def lost(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        await commit(expected, writes)
        raise StoreUnavailable("no answer in time", unknown_outcome=True)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "commit", lost)
        with pytest.raises(StoreUnavailable):
            await world.grants.refresh(token)
    with pytest.raises(BadCredentials):
        await world.grants.refresh(token)


async def test_a_login_ends_after_its_lifetime_however_often_it_is_renewed(world: World) -> None:
    token, began = await refresh_token(world), world.now
    with pytest.raises(BadCredentials):
        while True:
            world.now += DAY - 100
            token = await renew(world, token)
    assert LIFETIME - DAY <= world.now - began <= LIFETIME + DAY


async def test_refresh_tokens_end_with_the_password(world: World) -> None:
    used, unused = await renew(world, await refresh_token(world)), await refresh_token(world)
    access = (await world.grants.password("testuser", "testpass")).access_token
    await world.add("testuser", "another password", "orders:read", "orders:write")
    for token in (used, unused):
        with pytest.raises(BadCredentials):
            await world.grants.refresh(token)
    assert not world.issuer.verify(access).of(world.people["testuser"])


async def test_a_wrong_scope_does_not_cost_the_login(world: World) -> None:
    token = await refresh_token(world)
    with pytest.raises(InvalidScope):
        await world.grants.refresh(token, "payments:write")
    assert await renew(world, token)


async def test_a_narrower_access_token_leaves_the_next_refresh_token_as_it_was(world: World) -> None:
    """RFC 6749, section 6."""
    narrow = await world.grants.refresh(await refresh_token(world), "orders:read")
    assert narrow.scope == "orders:read"
    assert (await world.grants.refresh(str(narrow.refresh_token))).scope == "orders:read orders:write"


async def test_revoking_ends_the_login_and_says_nothing_of_strange_tokens(world: World) -> None:
    token, other = await refresh_token(world), await refresh_token(world)
    token = await renew(world, token)
    await world.grants.revoke(token)
    await world.grants.revoke(token)
    await world.grants.revoke("nonsense")
    with pytest.raises(BadCredentials):
        await world.grants.refresh(token)
    assert await renew(world, other)


async def test_a_token_of_a_time_with_a_longer_lifetime_stays_ended(ring: KeyRing, world: World) -> None:
    former = TokenIssuer(ring, lambda: world.now, access_ttl=86_400)
    for tokens in (former.begin_family(world.people["testuser"]), former.issue(world.people["testuser"])):
        await world.grants.leave(tokens.access_token)
        world.now += 2 * 900
        await world.revocations.read()
        with pytest.raises(EndedToken):
            world.issuer.verify(tokens.access_token)


async def test_one_user_takes_only_so_much_room_in_the_store(world: World) -> None:
    """The oldest of too many logins end; none of them comes back to life."""
    logins = []
    for _ in range(100):
        logins.append(await renew(world, await refresh_token(world)))
        world.now += 1
    (entry,) = (await world.store.list("/headgate/refresh/")).entries
    assert len(entry.value) < 5000
    with pytest.raises(BadCredentials):
        await world.grants.refresh(logins[0])
    assert await renew(world, logins[-1])


async def test_what_has_ended_leaves_the_store_by_itself(world: World) -> None:
    await renew(world, await refresh_token(world))
    world.now += 2 * LIFETIME + 1
    assert not (await world.store.list("/headgate/refresh/")).entries


async def test_refreshing_never_widens(world: World) -> None:
    token = await refresh_token(world, "orders:read")
    again = await world.grants.refresh(token)
    assert again.scope == "orders:read"
    token = str(again.refresh_token)
    with pytest.raises(InvalidScope):
        await world.grants.refresh(token, "orders:write")


async def test_refreshing_follows_what_the_user_still_holds(world: World) -> None:
    token = await refresh_token(world)
    await world.add("testuser", "testpass", "orders:write", "payments:write")
    narrower = await world.grants.refresh(token)
    assert narrower.scope == "orders:write"
    token = str(narrower.refresh_token)
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
