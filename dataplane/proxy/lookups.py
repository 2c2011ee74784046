"""Look-ups of names by the system's resolver, in threads of their own, so that no name delays another.

`getaddrinfo` blocks, cannot be cancelled, and takes half a minute where a name server does not answer. So:

- concurrent look-ups of one name share one call;
- a cached answer is used when a new one does not come within `GRACE` (as name servers serve stale data: RFC 8767);
- a look-up that takes longer than `SLOW` releases its place, and the next one of its name waits for a place of slow
  names. Half of these are for look-ups that become slow, half for names that were slow before.

The threads are daemons: a thread that waits for a name server does not delay the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from time import monotonic
from typing import Final

from dataplane.proxy.address import UNIX
from dataplane.proxy.targets import Targets

PLACES: Final = 16
"""Concurrent look-ups of names that are not known to be slow."""
SLOW_PLACES: Final = 64
"""Further concurrent look-ups that have become slow; at most half of them of names known to be slow."""
SLOW: Final = 1.0
"""Seconds after which a look-up is slow."""
GRACE: Final = 0.5
"""Seconds to wait for a new answer when there is a cached one."""
STALE: Final = 3_600.0
"""Seconds that a cached answer is used while look-ups fail."""
_IDLE: Final = 10.0
"""Seconds after which a thread without work ends."""
_MOST: Final = 20_000
"""Most names in the cache."""

Ask = Callable[[str], tuple[str, ...]]
"""The addresses of a name, in the order in which they are tried. May block. Raises OSError."""


def ask_system(host: str) -> tuple[str, ...]:
    """Look up by the system's resolver.

    Raises OSError, with an errno of `descriptors.EXHAUSTED` when this process has no file descriptor left.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # The resolver reports "try again", or a system error with any errno, when it could not open a socket or a
        # file (which of them depends on the modules in nsswitch.conf): find the errno.
        os.close(os.dup(2))
        raise
    return in_order(str(entry[4][0]) for entry in found)


def is_address(host: str) -> bool:
    """Whether `host` is an IP address or a Unix socket, which need no look-up."""
    if host.startswith(UNIX):
        return True
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """Families keep their order; addresses within a family are sorted, because name servers rotate their answers."""
    unique = list(dict.fromkeys(addresses))
    families = list(dict.fromkeys(":" in address for address in unique))
    return tuple(sorted(unique, key=lambda each: (families.index(":" in each), _number(each))))


def _number(address: str) -> int:
    return int(ip_address(address.partition("%")[0]))


class _Job:
    """One look-up."""

    __slots__ = ("answer", "host", "slow", "started", "timer")

    def __init__(self, host: str, answer: asyncio.Future[tuple[str, ...]], slow: bool) -> None:
        self.host = host
        self.answer = answer
        self.slow = slow
        """It has one of the places of slow names."""
        self.started = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Lookups:
    """The look-ups of one event loop."""

    def __init__(
        self, ask: Ask = ask_system, targets: Targets | None = None, slow: float = SLOW, grace: float = GRACE
    ) -> None:
        """`targets` filters the addresses that names may resolve to; `slow` and `grace` are in seconds."""
        self._ask = ask
        self._targets = targets or Targets()
        self._after, self._grace = slow, grace
        self._jobs: dict[str, _Job] = {}
        """Look-ups that wait or run, by name."""
        self._known: dict[str, tuple[tuple[str, ...], float]] = {}
        """The cached answer for each name, and the time of its arrival."""
        self._slow_names: set[str] = set()
        self._quick: deque[_Job] = deque()
        self._slow: deque[_Job] = deque()
        self._running = self._running_slow = 0
        self._threads = _Threads()

    async def __call__(self, host: str) -> tuple[str, ...]:
        """The addresses of a host. An IP address or a Unix socket is returned without a look-up. Raises OSError."""
        if is_address(host):
            return (host,)
        job = self._jobs.get(host) or self._begin(host)
        known = self._known.get(host)
        if known is None:
            # A cancelled caller must not cancel the look-up for the others.
            return self._permitted(host, await asyncio.shield(job.answer))
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._grace):
                return self._permitted(host, await asyncio.shield(job.answer))
        known = self._known.get(host)
        if known is None or (job.answer.done() and monotonic() - known[1] > STALE):
            return self._permitted(host, await asyncio.shield(job.answer))
        return self._permitted(host, known[0])

    # --- inside

    def _permitted(self, host: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return self._targets.permitted(host, addresses)

    def _begin(self, host: str) -> _Job:
        answer: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        # Otherwise asyncio logs a failure for which no caller has waited.
        answer.add_done_callback(_heard)
        job = self._jobs[host] = _Job(host, answer, host in self._slow_names)
        (self._slow if job.slow else self._quick).append(job)
        self._start()
        return job

    def _start(self) -> None:
        """Start waiting look-ups while there are free places."""
        while self._quick and self._running < PLACES:
            self._run(self._quick.popleft())
        while self._slow and self._running_slow < SLOW_PLACES // 2:
            self._run(self._slow.popleft())

    def _run(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        job.started = monotonic()
        if job.slow:
            self._running_slow += 1
        else:
            self._running += 1
            job.timer = loop.call_later(self._after, self._became_slow, job)
        try:
            self._threads.submit(_Work(self._ask, job.host, loop, self._done, job))
        except RuntimeError:
            # No thread can be started.
            loop.call_soon(self._done, job, (), OSError(errno.ENOMEM, "no thread for a look-up"))

    def _became_slow(self, job: _Job) -> None:
        if len(self._slow_names) >= _MOST:
            self._slow_names.clear()
        self._slow_names.add(job.host)
        if self._running_slow < SLOW_PLACES:
            job.slow = True
            self._running_slow += 1
            self._running -= 1
            self._start()
        else:
            job.timer = asyncio.get_running_loop().call_later(self._after, self._became_slow, job)

    def _done(self, job: _Job, found: tuple[str, ...], error: OSError | None) -> None:
        del self._jobs[job.host]
        if job.slow:
            self._running_slow -= 1
        else:
            self._running -= 1
        if monotonic() - job.started < self._after:
            self._slow_names.discard(job.host)
        if job.timer is not None:
            job.timer.cancel()
        if error is None and found:
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known.pop(job.host, None)
            self._known[job.host] = found, monotonic()
        elif isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            # The name does not exist: drop the cached answer.
            self._known.pop(job.host, None)
        if not job.answer.done():
            if error is None:
                job.answer.set_result(found)
            else:
                job.answer.set_exception(error)
        self._start()


class _Work:
    """The work of a thread: one look-up, whose result goes to the event loop."""

    def __init__(
        self,
        ask: Ask,
        host: str,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[_Job, tuple[str, ...], OSError | None], None],
        job: _Job,
    ) -> None:
        self._ask = ask
        self._host = host
        self._loop = loop
        self._done = done
        self._job = job

    def run(self) -> None:
        found: tuple[str, ...] = ()
        failure: OSError | None = None
        try:
            found = self._ask(self._host)
        except OSError as error:
            error.__traceback__ = None
            failure = error
        except Exception as error:
            # A name that DNS cannot encode, or a bug: the place must be released all the same.
            failure = OSError(f"{type(error).__name__}: {error}")
        # The event loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, self._job, found, failure)


class _Threads:
    """Starts a thread when all are busy. A thread ends after `_IDLE` seconds without work."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, work: _Work) -> None:
        """Run this at once. Raises RuntimeError when no thread can be started."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._work.put(work)
                return
        threading.Thread(target=self._go_on, args=(work,), name="look-up", daemon=True).start()

    def _go_on(self, work: _Work | None) -> None:
        while work is not None:
            work.run()
            with self._lock:
                self._idle += 1
            work = self._next()

    def _next(self) -> _Work | None:
        try:
            return self._work.get(timeout=_IDLE)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
        # `submit` has taken this thread: its work is about to arrive.
        return self._work.get()


def _heard(answer: asyncio.Future[tuple[str, ...]]) -> None:
    if not answer.cancelled():
        answer.exception()
