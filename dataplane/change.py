"""A change on its way through the node: check → tell the prober → move the workers → answer → keep on disk.

One change at a time. Whatever stops it, the revision served before is served on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dataplane.config.apply import Assembly
from dataplane.config.builtin import STATUS_SERVICE
from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, Bundle, difference, from_bytes, read_part, to_bytes
from dataplane.config.stream import ConfigStream
from dataplane.config.table import Problem, Table, TableError
from dataplane.health import Prober
from dataplane.workers import Pool

_CONFIRM = "if that is meant, `headgate store confirm` makes data planes take it"

_log = logging.getLogger(__name__)


class Changes:
    """Takes configurations in and brings the workers to them."""

    def __init__(
        self,
        assembly: Assembly,
        prober: Prober,
        pool: Pool,
        stream: ConfigStream,
        cache: Cache,
        on_served: Callable[[bool], None] = lambda instances: None,
    ) -> None:
        """`on_served` is called before a change is acknowledged; its argument tells whether instances changed."""
        self._assembly = assembly
        self._prober = prober
        self._pool = pool
        self._stream = stream
        self._cache = cache
        self._on_served = on_served
        self._checked: Bundle = NOTHING
        self.served: Bundle = NOTHING
        """What every worker of this node has applied."""
        self.rejections = 0

    @property
    def table(self) -> Table:
        """The table in use, for those who look at it."""
        return self._assembly.table

    async def restore(self) -> Bundle | None:
        """Make the configuration on disk the one that workers start with; None when there is none to be used."""
        if (payload := await asyncio.to_thread(self._cache.load)) is None:
            return None
        try:
            bundle = from_bytes(payload)
            await self._check(bundle)
        except TableError as error:
            self._cache.distrust(str(error))
            return None
        self._tell_prober()
        self._pool.move_to(bundle)
        _log.info("configuration read from the cache", extra={"revision": bundle.revision})
        return bundle

    async def follow(self, restored: Bundle | None) -> None:
        """Wait for the workers to serve what was restored, then for every configuration that arrives."""
        if restored is not None and await self._move(restored):
            self.served = restored
        while True:
            bundle = await self._stream.next_bundle()
            await self._take(bundle)

    async def _take(self, bundle: Bundle) -> None:
        """Serve `bundle` and ack it, or go on as before and nack it."""
        if (bundle.revision, bundle.digest) == (self.served.revision, self.served.digest):
            self._stream.ack(bundle.revision)
            return
        if reason := bundle.behind(self.served):
            self._reject(bundle, (Problem("", "revision", f"{reason}; {_CONFIRM}"),))
            return
        before = self.table.instances
        try:
            await self._check(bundle)
        except TableError as error:
            self._reject(bundle, error.problems)
            return
        self._tell_prober()
        if await self._move(bundle):
            self.served = bundle
            self._on_served(self.table.instances is not before)
            self._stream.ack(bundle.revision)
            self._stream.health(self._prober.view())
            _log.info("configuration applied", extra={"revision": bundle.revision, "digest": bundle.digest})
            await asyncio.to_thread(self._save, bundle)

    async def _check(self, bundle: Bundle) -> None:
        """Make the table of `bundle`, as the workers will; raises TableError with all problems."""
        for data in difference(self._checked, bundle):
            self._assembly.take(read_part(data))
            await asyncio.sleep(0)
        self._assembly.complete(bundle.revision, bundle.digest)
        self._checked = bundle

    async def _move(self, bundle: Bundle) -> bool:
        """Bring the workers to `bundle`; if that fails, go back to what is served."""
        problems = await self._pool.apply(bundle)
        if problems:
            self._assembly.revert()
            self._checked = self.served
            self._tell_prober()
            self._reject(bundle, problems)
        return not problems and not self._pool.draining

    def _tell_prober(self) -> None:
        """Let new instances be probed, and let the workers know of them before they come into the table."""
        groups = self.table.instances.items()
        instances = (instance for name, group in groups if name != STATUS_SERVICE for instance in group)
        self._prober.adopt(self.table.services, instances)
        self._pool.set_unavailable(self._prober.unavailable())

    def _reject(self, bundle: Bundle, problems: tuple[Problem, ...]) -> None:
        self.rejections += 1
        extra = {
            "revision": bundle.revision,
            "served": self.served.revision,
            "problems": list(map(str, problems[:20])),
        }
        _log.error("configuration rejected", extra=extra)
        self._stream.nack(bundle.revision, problems)

    def _save(self, bundle: Bundle) -> None:
        self._cache.save(to_bytes(bundle))
