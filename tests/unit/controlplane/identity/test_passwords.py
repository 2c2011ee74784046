"""Hashing and comparing passwords."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.identity import Hasher, Turns
from controlplane.model.resources import parse


@pytest.fixture
def hasher() -> Hasher:
    return Hasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_password_fits_its_hash_and_no_other_does(hasher: Hasher) -> None:
    made = await hasher.hash("testpass")
    assert await hasher.verify("testpass", made)
    for wrong in ("Testpass", "testpass ", "", "x" * 1_000_000, "\ud800"):
        assert not await hasher.verify(wrong, made)


async def test_hashes_are_salted_argon2id_that_a_user_may_carry(hasher: Hasher) -> None:
    one, other = await hasher.hash("testpass"), await hasher.hash("testpass")
    assert one != other
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    parse("user", {"username": "u", "password_hash": one})
    parse("user", {"username": "u", "password_hash": await Hasher(time_cost=1).hash("testpass")})


async def test_only_the_beginning_of_an_endless_password_is_looked_at(hasher: Hasher) -> None:
    made = await hasher.hash("x" * 128)
    assert await hasher.verify("x" * 128, made)
    assert not await hasher.verify("x" * 129, made)


@pytest.mark.parametrize("damaged", ["", "nonsense", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
async def test_a_damaged_hash_fits_nothing(hasher: Hasher, damaged: str) -> None:
    assert not await hasher.verify("testpass", damaged)


class WatchedHasher(Hasher):
    """Tells against what was compared."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.compared: list[str] = []

    def _same(self, password: str, password_hash: str) -> bool:
        self.compared.append(password_hash)
        return super()._same(password, password_hash)


async def test_an_unknown_user_costs_the_same() -> None:
    hasher = WatchedHasher()
    made = await hasher.hash("testpass")
    assert not await hasher.verify("testpass", None)
    assert not await hasher.verify("wrong", made)
    # Both were compared in earnest, under the same parameters.
    nobody, somebody = hasher.compared
    assert nobody.split("$")[:4] == somebody.split("$")[:4]
    assert len(nobody) == len(somebody)


async def test_few_are_compared_at_once() -> None:
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1, turns=Turns(1))
    made = await hasher.hash("testpass")
    assert await asyncio.gather(*(hasher.verify("testpass", made) for _ in range(5))) == [True] * 5
