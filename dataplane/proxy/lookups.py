"""Look-ups of names by the system's resolver, in threads of their own, so that no name delays another.

`getaddrinfo` blocks, cannot be cancelled, and takes half a minute where a name server does not answer. So:

- a name is looked up once at a time, whoever asks;
- an answer is given again while there is no newer one: whoever asks waits for that only for a moment (RFC 8767 has the
  same for name servers: serve stale);
- a look-up that takes longer than `SLOW` gives its thread's place to others, and the next one of its name waits for
  one of the places of slow names. There are some for those that become slow, and as many for those that were.

The threads are daemons: none that waits for a name server delays the end of the process.
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

from dataplane.proxy.targets import Targets

PLACES: Final = 16
"""Look-ups at once, of names that are not known to be slow."""
SLOW_PLACES: Final = 64
"""Further ones that have become slow; half of them at most are of names that were known to be."""
SLOW: Final = 1.0
"""Seconds after which a look-up is slow."""
GRACE: Final = 0.5
"""Seconds that a new answer is waited for where there is an old one."""
STALE: Final = 3_600.0
"""Seconds that an answer which could not be had anew is good for."""
_IDLE: Final = 10.0
"""Seconds after which a thread without work ends."""
_MOST: Final = 20_000
"""Names that are remembered."""

Ask = Callable[[str], tuple[str, ...]]
"""The addresses of a name, in the order in which they are tried. May block. Raises OSError."""


def ask_system(host: str) -> tuple[str, ...]:
    """By the system's resolver.

    Raises OSError, with an errno of `descriptors.EXHAUSTED` where it is we who lack something.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        # The resolver says "try again" where it could not open a socket or a file.
        os.close(os.dup(2))
        raise
    return in_order(str(entry[4][0]) for entry in found)


def is_address(host: str) -> bool:
    """Whether it is an IP address, and nothing has to be looked up."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """The family that comes first comes first; within one sorted, because name servers rotate what they answer."""
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
        """`targets` says which addresses names may have; `slow` and `grace` are in seconds."""
        self._ask = ask
        self._targets = targets or Targets()
        self._after, self._grace = slow, grace
        self._jobs: dict[str, _Job] = {}
        """Waiting or running, by name."""
        self._known: dict[str, tuple[tuple[str, ...], float]] = {}
        """The last answer for each name, and when it came."""
        self._slow_names: set[str] = set()
        self._quick: deque[_Job] = deque()
        self._slow: deque[_Job] = deque()
        self._running = self._running_slow = 0
        self._threads = _Threads()

    async def __call__(self, host: str) -> tuple[str, ...]:
        """The addresses of a host, of an address itself without a look-up. Raises OSError."""
        if is_address(host):
            return (host,)
        job = self._jobs.get(host) or self._begin(host)
        known = self._known.get(host)
        if known is None:
            # One that waits no longer must not take the answer from the others.
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
        # Nobody may be there to hear of a failure.
        answer.add_done_callback(_heard)
        job = self._jobs[host] = _Job(host, answer, host in self._slow_names)
        (self._slow if job.slow else self._quick).append(job)
        self._start()
        return job

    def _start(self) -> None:
        """Start what there are places for."""
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
            # That is an answer, too.
            self._known.pop(job.host, None)
        if not job.answer.done():
            if error is None:
                job.answer.set_result(found)
            else:
                job.answer.set_exception(error)
        self._start()


class _Work:
    """What a thread does: one look-up, whose end it tells to the event loop."""

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
            # A name that cannot be written in DNS, or a fault of ours: the place must not be lost.
            failure = OSError(f"{type(error).__name__}: {error}")
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, self._job, found, failure)


class _Threads:
    """As many threads as there is work at once; each ends when it has had none for a while."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, work: _Work) -> None:
        """Have this done at once. Raises RuntimeError if there can be no thread for it."""
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
        # It is counted on: something is on its way.
        return self._work.get()


def _heard(answer: asyncio.Future[tuple[str, ...]]) -> None:
    if not answer.cancelled():
        answer.exception()
