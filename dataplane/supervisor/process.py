"""One life of one worker process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dataplane.channel import Channel, Kind, read_json
from dataplane.config.decode import NOTHING, Bundle, difference
from dataplane.config.table import Problem
from dataplane.options import WorkerOptions

SECRETS = ("DATAPLANE_TOKEN",)
"""Left out of a worker's environment: workers meet strangers and need no secret."""

_log = logging.getLogger(__name__)

MakeOptions = Callable[..., WorkerOptions]
"""From the inherited file descriptors: control, listen, and that of TLS where there is one."""


class WorkerProcess:
    """A running worker: what it holds, and what was sent and not answered yet."""

    def __init__(self, index: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.index = index
        self.process = process
        self._channel = channel
        self.holds: Bundle = NOTHING
        """What it said it serves."""
        self.sent: Bundle = NOTHING
        """What it will hold once it has answered everything."""
        self.serving = False
        """Whether it accepts connections."""
        self.leaving: Mapping[str, int] = {}
        """Requests under way at instances that take no new ones, by "<service>/<instance>"."""
        self.rejected: tuple[tuple[int, str], tuple[Problem, ...]] | None = None
        """Revision and digest of the last change it refused, and why."""

    @property
    def settled(self) -> bool:
        """Whether it has answered everything."""
        return self.holds is self.sent

    def move_to(self, bundle: Bundle) -> None:
        """Send what leads from what it has to `bundle`."""
        parts = list(difference(self.sent, bundle))
        for part in parts[:-1]:
            self._channel.send(Kind.PART, part)
        self._channel.send(Kind.DELTA, parts[-1])
        self.sent, self.rejected = bundle, None

    def health(self, unavailable: Iterable[str]) -> None:
        """Tell which instances take no traffic."""
        self._channel.send_json(Kind.HEALTH, list(unavailable))

    def identify(self, identity: bytes) -> None:
        """Hand it the node's certificates."""
        self._channel.send(Kind.IDENTITY, identity)

    def serve(self) -> None:
        """Let it accept connections."""
        self._channel.send(Kind.SERVE)

    def drain(self) -> None:
        """Let it finish and exit."""
        self._channel.send(Kind.DRAIN)

    async def follow(
        self,
        answered: Callable[[], None],
        counted: Callable[[Any], None],
        left: Callable[[], None] = lambda: None,
    ) -> None:
        """Take in what it says until it ends.

        `answered` is called after every answer, `counted` with statistics, `left` when `leaving` has changed.
        """
        try:
            while (frame := await self._channel.receive()) is not None:
                if frame[0] is Kind.STATS:
                    counted(read_json(frame[1]))
                elif frame[0] is Kind.SERVING:
                    self.serving = True
                elif frame[0] is Kind.LEAVING:
                    self.leaving = {str(name): int(count) for name, count in read_json(frame[1]).items()}
                    left()
                else:
                    self._answer(frame[0], read_json(frame[1]))
                    answered()
        except Exception:
            # Whatever it says, the others go on; this one is replaced.
            _log.exception("worker does not make sense", extra={"worker": self.index})

    async def end(self, within: float) -> int:
        """Wait for its exit, kill it when that takes longer than `within` seconds; its return code."""
        await self._channel.close()
        try:
            async with asyncio.timeout(within):
                return await self.process.wait()
        except (TimeoutError, asyncio.CancelledError):
            self.kill()
            await self.process.wait()
            raise

    def kill(self) -> None:
        """End it at once."""
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
    """A worker's: without secrets, and with room in glibc's caches of free memory for what its requests allocate.

    Heads and small bodies are often above the 1,032 bytes that are cached unasked, and more than 7 of a size are in
    use. Of each of the 256 sizes up to 4 KiB 64 are kept, which cannot be more than 34 MiB (glibc manual, "Memory
    Allocation Tunables").
    """
    found = {name: value for name, value in ours.items() if name not in SECRETS}
    found.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_max=4096:glibc.malloc.tcache_count=64")
    return found


async def spawn(index: int, options: MakeOptions, *listeners: socket.socket) -> WorkerProcess:
    """Start a worker that inherits its end of a channel and the listeners. A new process, never a fork of this one."""
    ours, theirs = socket.socketpair()
    inherited = [each.fileno() for each in (theirs, *listeners)]
    try:
        text = options(*inherited).to_json()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "dataplane.worker", text),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=inherited,
            env=environment(os.environ),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return WorkerProcess(index, process, Channel(*await asyncio.open_connection(sock=ours)))
