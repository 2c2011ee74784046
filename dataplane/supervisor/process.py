"""One worker process, from its start to its end, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dataplane.channel import MAX_REPORT, TELEMETRY, Channel, Kind, read_json
from dataplane.config.decode import NOTHING, Bundle, difference
from dataplane.config.table import Problem
from dataplane.options import WorkerOptions
from dataplane.supervisor.liveness import Liveness
from dataplane.telemetry.settings import secret_names

PASS_TIMEOUT = 5.0
"""Seconds in which a worker that reads no sockets blocks the supervisor at most."""
MOST_PASSED = 200
"""Sockets in one message; the system takes 253 (SCM_MAX_FD)."""
MAX_UNREAD = 4 * 1024 * 1024
"""Bytes of its backlog beyond which a worker is sent no more answers about limits."""
SECRETS = frozenset({"DATAPLANE_TOKEN", "REDIS_URL", "REDIS_SENTINEL_PASSWORD", *secret_names()})
"""Removed from a worker's environment, which a child or a crash report may show."""

UNHEARD = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
"""Signals that are for the supervisor, although a terminal, or who rotates logs, may send them to workers too. Workers
have them blocked from their first instruction on: until they could handle them, each would end the process."""

_log = logging.getLogger(__name__)

_RUNS = itertools.count(int(time.monotonic() * 1000))
"""Later numbers than those of an earlier process of the same boot."""

MakeOptions = Callable[..., WorkerOptions]
"""Makes the options from the inherited file descriptors: control, listen, and the TLS listener if there is one."""


class WorkerProcess:
    """A running worker: its configuration, and the change that it has not answered yet."""

    def __init__(
        self,
        index: int,
        process: asyncio.subprocess.Process,
        channel: Channel,
        liveness: Liveness,
        passing: socket.socket | None = None,
    ) -> None:
        """`passing`: the end of the socket pair over which sockets of listeners go."""
        self.index = index
        self.name = f"{index}.{next(_RUNS)}"
        """Unique among all workers that this process starts."""
        self.process = process
        self._channel = channel
        self._liveness = liveness
        self._passing = passing
        self.ports: set[int] = set()
        """The ports of listeners whose sockets it has."""
        self.holds: Bundle = NOTHING
        """The last configuration it acknowledged."""
        self.sent: Bundle = NOTHING
        """The configuration it holds once it has answered every change."""
        self._draining = False
        self.serving = False
        """Whether it accepts connections."""
        self.leaving: Mapping[str, int] = {}
        """Requests in flight at instances that take no new ones, by "<service>/<instance>"."""
        self.rejected: tuple[tuple[int, str], tuple[Problem, ...]] | None = None
        """Revision and digest of the last change it rejected, with the problems."""
        self.redis: Mapping[str, Any] | None = None
        """The time since which Redis does not answer it, and the reason; None while it does."""
        self.redis_known = False
        """The worker has reported it."""

    @property
    def settled(self) -> bool:
        """Whether it has answered every change."""
        return self.holds is self.sent

    def move_to(self, bundle: Bundle) -> None:
        """Send the difference between what it has and `bundle`."""
        parts = list(difference(self.sent, bundle))
        for part in parts[:-1]:
            self._channel.send(Kind.PART, part)
        self._channel.send(Kind.DELTA, parts[-1])
        self.sent, self.rejected = bundle, None

    def set_unavailable(self, unavailable: Iterable[str]) -> None:
        """Send the instances that take no traffic."""
        self._channel.send_json(Kind.HEALTH, list(unavailable))

    def pass_ports(self, ports: Mapping[int, socket.socket]) -> None:
        """Pass the bound sockets of listeners."""
        if self._passing is None:
            return
        numbers = list(ports)
        for start in range(0, len(numbers), MOST_PASSED):
            some = numbers[start : start + MOST_PASSED]
            try:
                socket.send_fds(self._passing, [b"\0"], [ports[port].fileno() for port in some])
            except OSError:
                # It has ended, or hangs: its successor gets them. It must not acknowledge a table without its ports.
                self.kill()
                return
            self._channel.send_json(Kind.PORTS, some)
            self.ports.update(some)

    def close_ports(self, ports: Iterable[int]) -> None:
        """Tell it to close the ports of listeners."""
        known = sorted(self.ports.intersection(ports))
        if known:
            self._channel.send_json(Kind.CLOSE, known)
            self.ports.difference_update(known)

    def set_certificates(self, certificates: bytes) -> None:
        """Send the node's certificates."""
        self._channel.send(Kind.CERTIFICATES, certificates)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame, unless the worker reads none: its backlog must not grow without bound."""
        if self._channel.backlog < MAX_UNREAD:
            self._channel.send(kind, payload)

    def set_redis(self, options: str) -> None:
        """Send the address of Redis."""
        self._channel.send(Kind.REDIS, options.encode())

    def reopen_log(self) -> None:
        """Tell it to open the file of the access log again."""
        self._channel.send(Kind.REOPEN)

    def serve(self) -> None:
        """Tell it to accept connections."""
        self._channel.send(Kind.SERVE)

    def drain(self) -> None:
        """Tell it to finish its requests and exit. It answers no changes from now on."""
        self._draining = True
        self._channel.send(Kind.DRAIN)

    async def follow(
        self,
        answered: Callable[[], None],
        counted: Callable[[Any], None],
        left: Callable[[], None] = lambda: None,
        asked: Callable[[Kind, bytes], None] = lambda kind, payload: None,
        redis_changed: Callable[[], None] = lambda: None,
        reset: Callable[[Any], None] = lambda report: None,
        telemetry: Callable[[Kind, bytes], None] = lambda kind, payload: None,
        answered_question: Callable[[bytes], None] = lambda answer: None,
    ) -> None:
        """Read its frames until it ends.

        `answered` is called after every answer, `counted` with statistics, `left` when `leaving` has changed, `asked`
        with asks to the owners of limits, `redis_changed` when `redis` has changed, `reset` with its report on an
        order to fill up buckets, `telemetry` with what is to be exported, and `answered_question` with answers to
        operators.
        """
        try:
            while (frame := await self._channel.receive()) is not None:
                self._liveness.heard()
                if frame[0] is Kind.STATS:
                    counted(read_json(frame[1]))
                elif frame[0] in (Kind.NODE_ASKS, Kind.FLEET_ASKS, Kind.DROPPED):
                    asked(*frame)
                elif frame[0] in TELEMETRY:
                    telemetry(*frame)
                elif frame[0] is Kind.SERVING:
                    self.serving = True
                elif frame[0] is Kind.LEAVING:
                    self.leaving = {str(name): int(count) for name, count in read_json(frame[1]).items()}
                    left()
                elif frame[0] is Kind.ANSWER:
                    answered_question(frame[1])
                elif frame[0] is Kind.RESET:
                    reset(read_json(frame[1]))
                elif frame[0] is Kind.REDIS_STATE:
                    self.redis, self.redis_known = read_json(frame[1]), True
                    redis_changed()
                else:
                    self._answer(frame[0], read_json(frame[1]))
                    answered()
        except Exception:
            # An invalid frame does not affect the other workers; this one is replaced.
            _log.exception("worker sent an invalid frame", extra={"worker": self.index})

    def tick(self) -> str:
        """Call once a second. The reason the worker counts as dead; empty while it is alive."""
        return self._liveness.tick(settled=self._draining or (self.settled and self.serving))

    async def end(self, within: float) -> int:
        """Wait for its exit and return its code; TimeoutError, and it is killed, after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._channel.close()
                code = await self.process.wait()
                self._end_passing()
                return code
        except (TimeoutError, asyncio.CancelledError):
            self.kill()
            self._channel.abort()
            self._end_passing()
            await self.process.wait()
            raise

    def _end_passing(self) -> None:
        if self._passing is not None:
            self._passing.close()

    def kill(self) -> None:
        """Kill it with SIGKILL, which also ends a stopped process."""
        if self.process.returncode is None:
            self.process.kill()

    def _answer(self, kind: Kind, answer: Any) -> None:
        about = answer["revision"], answer["digest"]
        if kind is Kind.APPLIED and about == (self.sent.revision, self.sent.digest):
            self.holds = self.sent
        elif kind is Kind.REJECTED:
            problems = tuple(Problem(*problem) for problem in answer["problems"] or [("", "", "refused")])
            self.rejected = about, problems
            self.sent = self.holds


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """A worker's environment: without secrets, and with larger per-thread caches in glibc's malloc.

    Request heads and small bodies often exceed the 1,032 bytes that glibc caches by default, and more than 7 blocks of
    a size are in use. With these values it caches 64 blocks of each of the 256 sizes up to 4 KiB, at most 34 MiB (glibc
    manual, "Memory Allocation Tunables").
    """
    found = {name: value for name, value in ours.items() if name not in SECRETS}
    found.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_max=4096:glibc.malloc.tcache_count=64")
    return found


async def spawn(
    index: int, timeout: float, options: MakeOptions, *listeners: socket.socket, folder_fd: int = -1
) -> WorkerProcess:
    """Start a worker that inherits its end of a channel, the listeners and `folder_fd`, if there is one. A new process,
    never a fork of this one.

    `timeout`: seconds of silence after which it counts as dead. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    passing, passed = socket.socketpair()
    inherited = [each.fileno() for each in (theirs, *listeners)]
    try:
        text = replace(options(*inherited), ports_fd=passed.fileno()).to_json()
        with _unheard():
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "dataplane.worker", text),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[*inherited, passed.fileno(), *([] if folder_fd < 0 else [folder_fd])],
                env=environment(os.environ),
            )
    except BaseException:
        ours.close()
        passing.close()
        raise
    finally:
        theirs.close()
        passed.close()
    passing.settimeout(PASS_TIMEOUT)
    channel = Channel(*await asyncio.open_connection(sock=ours), MAX_REPORT)
    return WorkerProcess(index, process, channel, Liveness(timeout), passing)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Block these signals here; processes that are started in the block inherit that. The event loop starts a process
    before it waits for anything, so blocks may overlap."""
    signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, UNHEARD)
