"""Applies changes to the node: check → tell the prober → write to disk → move the workers → ack or nack.

One change at a time. If a step fails, the node keeps serving the previous revision. The cost of each step grows with
the change, not with the configuration. A change is on disk before a worker has it, so that a node that is killed never
comes back with an older configuration than a client has seen.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from time import monotonic

from dataplane.config.apply import Assembly
from dataplane.config.decode import LARGE_CHANGE, NOTHING, Bundle, difference, read_part
from dataplane.config.decode.certificate_files import FileReader
from dataplane.config.journal import Journal
from dataplane.config.pace import Pace
from dataplane.config.stream import ConfigStream
from dataplane.config.table import Problem, Table, TableError
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.health import Prober
from dataplane.supervisor.ports import Ports
from dataplane.supervisor.workers import Workers

_CONFIRM = "if this is intended, `headgate store confirm` makes data planes accept it"
SYNC_EVERY = 1.0
"""Seconds between two fsyncs of the journal while changes keep coming."""

_log = logging.getLogger(__name__)


class Changes:
    """Receives configurations and applies them."""

    def __init__(
        self,
        assembly: Assembly,
        prober: Prober,
        workers: Workers,
        stream: ConfigStream,
        journal: Journal,
        ports: Ports,
        files: FileReader | None = None,
        on_served: Callable[[bool], None] = lambda instances: None,
    ) -> None:
        """`on_served` is called before a change is acknowledged, with whether instances changed."""
        self._ports = ports
        self.files = files or FileReader(None)
        """Certificates that the configuration names by files."""
        self._unread: Bundle | None = None
        """The configuration that was rejected because of such files."""
        self._assembly = assembly
        self._prober = prober
        self._workers = workers
        self._stream = stream
        self._journal = journal
        self._on_served = on_served
        self._checked: Bundle = NOTHING
        self.served: Bundle = NOTHING
        """The configuration that every worker of this node has applied."""
        self.served_table = assembly.table
        """The table of `served`; `table` is ahead of it while workers apply a change."""
        self.rejections = 0
        self._watched: tuple[object, object] = (None, None)
        """The services and instances that the prober watches."""
        self._written = asyncio.Event()
        self._turn = asyncio.Lock()
        """Held while a change is applied or the journal is compacted."""

    @property
    def table(self) -> Table:
        """The latest table, for readers."""
        return self._assembly.table

    async def restore(self, *, before_last: bool = False) -> Bundle | None:
        """Start the workers with the configuration on disk, and return it; None without a valid one.

        `before_last`: without the last change.
        """
        bundle = await asyncio.to_thread(self._journal.load, before_last=before_last)
        if bundle is None:
            return None
        try:
            await self._check(bundle)
        except TableError as error:
            self._journal.warn(str(error))
            return None
        self._update_prober()
        self._ports.bind_some(self.table)
        self._workers.move_to(bundle)
        _log.info("configuration read from the cache", extra={"revision": bundle.revision})
        return bundle

    async def follow(self, restored: Bundle | None) -> None:
        """Wait until the workers serve the restored configuration, then apply each one received."""
        if restored is not None and self.served is NOTHING and not await self._serve_restored(restored):
            # The last change was on disk before a worker had it, so it may never have been served. The previous one
            # was.
            older = await self.restore(before_last=True)
            if older is not None:
                await self._serve_restored(older)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._compact(), name="cache")
            pace = Pace()
            while True:
                bundle = await self._stream.next_bundle(self.served)
                wait = pace.wait(monotonic())
                if not bundle.moves_instances:
                    # The control plane sends the next one after the answer to this one, with all changes until then.
                    await asyncio.sleep(wait)
                async with self._turn:
                    await self._answered(bundle)

    async def _serve_restored(self, restored: Bundle) -> bool:
        """Serve the restored configuration; False when the workers reject it."""
        if problems := await self._apply_to_workers(restored):
            self._reject(restored, problems, permanent=False)
            return False
        if not self._workers.draining:
            self.served, self.served_table = restored, self.table
            self._written.set()
        return True

    async def refresh_files(self) -> None:
        """Serve what the files of certificates hold now. Ask for the rejected configuration, if its files are there
        now."""
        async with self._turn:
            if (unread := self._unread) is not None:
                with suppress(TableError):
                    await self._filled(unread)
                    self._unread = None
                    self._stream.reconnect()
            bundle = await asyncio.to_thread(self.files.refreshed, self.served)
            if bundle is not self.served:
                await self._refresh(replace(bundle, base="", touched=frozenset()))

    async def _refresh(self, bundle: Bundle) -> None:
        """Serve the same configuration with other certificates."""
        try:
            parts = await self._check(bundle)
        except TableError as error:
            _log.error("certificate files cannot be used: %s", error)
            return
        await asyncio.to_thread(self._journal.write, self.served, bundle, parts)
        self._written.set()
        if problems := await self._apply_to_workers(bundle):
            await self._compact_once()
            _log.error("certificate files cannot be used: %s", "; ".join(map(str, problems)))
        elif not self._workers.draining:
            self.served, self.served_table = bundle, self.table
            _log.info("changed certificate files are in use", extra={"revision": bundle.revision})

    async def _filled(self, bundle: Bundle) -> Bundle:
        """The configuration with the certificates that it names by files. Raises TableError."""
        if not (names := self.files.wanted(bundle)):
            return bundle
        return await asyncio.to_thread(self.files.filled, bundle, names, self.served)

    async def _answered(self, bundle: Bundle) -> None:
        """Apply a configuration. A failure of this program answers nothing, and the control plane waits for an answer:
        the next stream delivers the same or a better one."""
        try:
            await self._apply(bundle)
        except Exception:
            self._stream.reconnect()
            raise

    async def _apply(self, bundle: Bundle) -> None:
        """Serve `bundle` and ack it; or nack it and keep the previous one."""
        self._unread = None
        if (bundle.revision, bundle.digest) == (self.served.revision, self.served.digest):
            self._stream.ack(bundle.revision)
            return
        if reason := bundle.behind(self.served):
            self._reject(bundle, (Problem("", "revision", f"{reason}; {_CONFIRM}"),))
            return
        before = self.table.instances
        try:
            bundle = await self._filled(bundle)
        except TableError as error:
            # The files may be there later.
            self._reject(bundle, error.problems, permanent=False)
            self._unread = bundle
            return
        try:
            parts = await self._check(bundle)
        except TableError as error:
            self._reject(bundle, error.problems)
            return
        if unbound := self._ports.bind(self.table):
            self._revert()
            # The port may be free the next time.
            self._reject(bundle, unbound, permanent=False)
            return
        news = self._update_prober()
        # In a thread, because the write may block.
        await asyncio.to_thread(self._journal.write, self.served, bundle, parts)
        self._written.set()
        if problems := await self._apply_to_workers(bundle):
            await self._compact_once()
            # Workers ended or hung: the next attempt may succeed.
            self._reject(bundle, problems, permanent=False)
        elif not self._workers.draining:
            self._serve(bundle, moved=self.table.instances is not before)
            if news:
                self._stream.report_health(self._prober.view())

    def _serve(self, bundle: Bundle, *, moved: bool) -> None:
        """Every worker serves `bundle`: ack it. `moved`: whether instances changed."""
        before, self.served = self.served, bundle
        self.served_table = self.table
        self._on_served(moved)
        self._stream.ack(bundle.revision)
        extra = {"revision": bundle.revision, "digest": bundle.digest}
        if bundle.digest == before.digest:
            _log.debug("revision moved on", extra=extra)
            return
        _log.info("configuration applied", extra=extra)

    async def _check(self, bundle: Bundle) -> list[bytes]:
        """Build the table of `bundle` as the workers will; return the parts. Raises TableError with all problems."""
        parts = list(difference(self._checked, bundle))
        with _uncollected() if len(parts) > LARGE_CHANGE else nullcontext():
            for data in parts:
                self._assembly.take(read_part(data))
                await asyncio.sleep(0)
            self._assembly.complete(bundle.revision, bundle.digest)
        self._checked = bundle
        return parts

    async def _apply_to_workers(self, bundle: Bundle) -> tuple[Problem, ...]:
        """Move the workers to `bundle`; on problems, back to the served one."""
        problems = await self._workers.apply(bundle)
        if problems:
            self._revert()
            self._update_prober()
        if not self._workers.draining:
            self._ports.keep(self.table)
        return problems

    def _revert(self) -> None:
        self._assembly.revert()
        self._checked = self.served

    def _update_prober(self) -> bool:
        """Have the prober watch the table's instances, and tell the workers which instances take no traffic.

        Called before the workers get the table, so that a new instance gets no traffic before its first probe. False
        when neither services nor instances changed.
        """
        current = self.table.services, self.table.instances
        if all(new is old for new, old in zip(current, self._watched, strict=True)):
            return False
        self._watched = current
        configured = {
            name: group for name, group in self.table.instances.items() if not name.startswith(BUILTIN)
        }
        self._prober.adopt(self.table.services, configured)
        self._workers.set_unavailable(self._prober.unavailable())
        return True

    def _reject(self, bundle: Bundle, problems: tuple[Problem, ...], *, permanent: bool = True) -> None:
        self.rejections += 1
        extra = {
            "revision": bundle.revision,
            "served": self.served.revision,
            "problems": list(map(str, problems[:20])),
        }
        _log.error("configuration rejected", extra=extra)
        self._stream.nack(bundle.revision, problems, permanent=permanent)

    async def _compact(self) -> None:
        """After changes, compact the journal and fsync it, so that a power loss loses nothing."""
        try:
            while True:
                await self._written.wait()
                self._written.clear()
                async with self._turn:
                    await self._compact_once()
                await asyncio.to_thread(self._journal.sync)
                await asyncio.sleep(SYNC_EVERY)
        finally:
            self._journal.sync()

    async def _compact_once(self) -> None:
        # While draining, workers may serve a change that they have not acknowledged: it stays on disk.
        if not self._workers.draining:
            await asyncio.to_thread(self._journal.compact, self.served)
            if self._journal.refused:
                self._written.set()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disable garbage collection for a large change and freeze the result: collections would scan it repeatedly.

    Frozen garbage is never freed, so this is not done for small changes, which may be many.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
