"""A change on its way through the node: check → tell the prober → move the workers → answer → keep on disk.

One change at a time. Whatever stops it, the revision served before is served on. Each step costs what the change
costs, not what the configuration does; only the disk gets all of it, and so not as often as it changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
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
SAVES_APART = 0.05, 1.0
"""Least and most seconds from one writing of the cache to the next while changes keep coming."""
SAVING_SHARE = 20
"""Between these it takes so many times as long as the writing did: a small table is on disk almost at once."""

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
        self.served_table = assembly.table
        """Its table; `table` may be ahead of it while workers take a change in."""
        self.rejections = 0
        self._told: tuple[object, object] = (None, None)
        """Services and instances that the prober knows."""
        self._unsaved: Bundle | None = None
        self._served_anew = asyncio.Event()

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
        if restored is not None and self.served is NOTHING and await self._move(restored):
            self.served, self.served_table = restored, self.table
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_on_disk(), name="cache")
            while True:
                bundle = await self._stream.next_bundle(self.served)
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
        news = self._tell_prober()
        if await self._move(bundle):
            self._serve(bundle, moved=self.table.instances is not before)
            if news:
                self._stream.health(self._prober.view())

    def _serve(self, bundle: Bundle, *, moved: bool) -> None:
        """Every worker serves it: say so, and have it kept. `moved` says whether there are other instances now."""
        before, self.served = self.served, bundle
        self.served_table = self.table
        self._on_served(moved)
        self._stream.ack(bundle.revision)
        extra = {"revision": bundle.revision, "digest": bundle.digest}
        if bundle.digest == before.digest:
            _log.debug("revision moved on", extra=extra)
            return
        _log.info("configuration applied", extra=extra)
        self._unsaved = bundle
        self._served_anew.set()

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

    def _tell_prober(self) -> bool:
        """Let new instances be probed, and let the workers know of them before they come into the table.

        False when there is nothing that it does not know.
        """
        told = self.table.services, self.table.instances
        if all(new is old for new, old in zip(told, self._told, strict=True)):
            return False
        self._told = told
        groups = self.table.instances.items()
        instances = (instance for name, group in groups if name != STATUS_SERVICE for instance in group)
        self._prober.adopt(self.table.services, instances)
        self._pool.set_unavailable(self._prober.unavailable())
        return True

    def _reject(self, bundle: Bundle, problems: tuple[Problem, ...]) -> None:
        self.rejections += 1
        extra = {
            "revision": bundle.revision,
            "served": self.served.revision,
            "problems": list(map(str, problems[:20])),
        }
        _log.error("configuration rejected", extra=extra)
        self._stream.nack(bundle.revision, problems)

    async def _keep_on_disk(self) -> None:
        """Save what is served, the latest and at the end too."""
        try:
            while True:
                await self._served_anew.wait()
                began = time.perf_counter()
                await asyncio.to_thread(self._save, self._take_unsaved())
                took = time.perf_counter() - began
                least, most = SAVES_APART
                await asyncio.sleep(min(max(SAVING_SHARE * took, least), most))
        finally:
            self._save(self._take_unsaved())

    def _take_unsaved(self) -> Bundle | None:
        self._served_anew.clear()
        bundle, self._unsaved = self._unsaved, None
        return bundle

    def _save(self, bundle: Bundle | None) -> None:
        if bundle is not None:
            self._cache.save(to_bytes(bundle))
