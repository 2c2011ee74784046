"""What the store holds of the control planes themselves, as `fleet.peers` writes it."""

from __future__ import annotations

from controlplane.commands.executor import Executor
from controlplane.commands.plans.membership import Join, Tell, join, tell
from controlplane.fleet import members
from controlplane.fleet.members import Member


class StoredMembership:
    """Implements `fleet.peers.Membership`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def join(self, name: str, member: Member | None, summary: bytes, ttl: float) -> int:
        """Be there, under a new lease of so many seconds; the lease. Raises store errors."""
        value = members.encode(member) if member is not None else None
        request = Join(author=name, name=name, member=value, summary=summary, seconds=ttl)
        return (await self._executor.run(join, request)).receipt

    async def tell(self, name: str, summary: bytes, lease: int) -> None:
        """Put another summary in place of the last one. Raises LeaseGone, store errors."""
        await self._executor.run(tell, Tell(author=name, name=name, summary=summary, held=lease))
