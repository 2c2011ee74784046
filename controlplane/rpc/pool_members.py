"""Pools of data planes, by their credentials: a pool that does not exist has no members.

A data plane whose pool is deleted is refused, and keeps the configuration that it has.
"""

from __future__ import annotations

from controlplane.distribute.watcher import Watcher
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.registration import ServiceAccount
from controlplane.model.snapshot import Snapshot
from controlplane.rpc.errors import Code, Refused, not_ready

LONGEST = 64
"""Characters of a pool's name that a refusal repeats."""


class PoolMembers:
    """As the published configuration has them."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def check(self, pool: str) -> None:
        """Raises Refused unless the pool exists. The default pool needs no published configuration."""
        if pool != DEFAULT_POOL and pool not in self._snapshot().pools:
            name = pool[:LONGEST]
            detail = f"the credential is for pool '{name}', which does not exist: `headgate apply` makes it"
            raise Refused(Code.PERMISSION_DENIED, detail)

    def check_free(self, node: str) -> None:
        """Raises Refused for a name that a data plane of a pool may have: a slash follows the pool's name there."""
        pool, slash, _ = node.partition("/")
        current = self._watcher.current
        if slash and current is not None and pool in current.pools:
            raise Refused(
                Code.PERMISSION_DENIED,
                f"'{node}' is the name of a data plane of pool '{pool}': choose another NODE",
            )

    def of(self, account: ServiceAccount) -> str:
        """The pool that names the account. Raises Refused unless it is exactly one."""
        named = [name for name, pool in self._snapshot().pools.items() if account in pool.kubernetes]
        if len(named) == 1:
            return named[0]
        why = (
            f"several pools name it: {', '.join(sorted(named))}"
            if named
            else "no pool names it (pool.kubernetes)"
        )
        raise Refused(Code.PERMISSION_DENIED, f"service account {account} may not be a data plane: {why}")

    def _snapshot(self) -> Snapshot:
        if self._watcher.current is None:
            raise not_ready()
        return self._watcher.current
