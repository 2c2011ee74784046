"""Passwords on their way into the store: compared first, hashed only when everything else is known to be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.commands.state import Step
from controlplane.identity import Hasher
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Resource, ResourceId, User
from controlplane.model.stored import Stamped, with_hash

MOST_PASSWORDS = 127
"""Passwords in one change: comparing or hashing each one costs tens of milliseconds."""

_PENDING = "to be hashed"


class Passwords:
    """The passwords of one change. Each is hashed once, however often the change is tried."""

    def __init__(self, hasher: Hasher, resources: Iterable[Resource | None]) -> None:
        self._hasher = hasher
        self._hashes: dict[str, str] = {}
        self._plain = {
            user.username: user.password.get_secret_value()
            for user in resources
            if isinstance(user, User) and user.password is not None
        }

    def check(self) -> None:
        """Refuse more passwords than anybody could wait for."""
        if (count := len(self._plain)) > MOST_PASSWORDS:
            detail = f"{count} passwords; one change carries at most {MOST_PASSWORDS}"
            raise InvalidConfig([Problem("users", detail)])

    async def settle(self, resource: Resource, stored: Mapping[ResourceId, Stamped]) -> Resource:
        """The resource as it will be stored: a user keeps the stored hash, unless another password is given."""
        if not isinstance(resource, User):
            return resource
        stamped = stored.get(("user", resource.username))
        before = stamped.resource if stamped and isinstance(stamped.resource, User) else None
        resource = resource.model_copy(update={"generation": next_generation(resource, before)})
        if resource.password_hash is not None:
            return resource
        secret = before.password_hash if before else None
        known = secret.get_secret_value() if secret else None
        plain = self._plain.get(resource.username)
        if plain is None or (known is not None and await self._hasher.verify(plain, known)):
            return with_hash(resource, known)
        return with_hash(resource, self._hashes.get(resource.username, _PENDING))

    async def hashed(self, steps: Iterable[Step]) -> list[Step]:
        """The steps with every password hashed."""
        return [await self._hashed(step) for step in steps]

    async def _hashed(self, step: Step) -> Step:
        user = step.resource
        if not isinstance(user, User) or user.password_hash is None:
            return step
        if user.password_hash.get_secret_value() != _PENDING:
            return step
        found = await self._hasher.hash(self._plain[user.username])
        self._hashes[user.username] = found
        return replace(step, resource=with_hash(user, found))


def next_generation(user: User, before: User | None) -> int:
    """The generation of a user that replaces `before`: one that is enabled again does not get old tokens back."""
    known = before.generation if before else 0
    return known + 1 if before and user.disabled and not before.disabled else known
