"""The test bed: everything a measurement may ask for, started when it is first asked for, ended with the run."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from tests.benchmarks import stack
from tests.benchmarks.contenders import (
    Contender,
    Missing,
    start_collector,
    start_sink,
    start_upstream,
    write_certificate,
)
from tests.benchmarks.peers import PEERS
from tests.benchmarks.stack import Stack


class Bed:
    """Running processes by what they are for; `missing` has the reason for each peer this machine lacks."""

    def __init__(self, folder: Path, cleanup: contextlib.ExitStack) -> None:
        self.folder = folder
        self.missing: dict[str, str] = {}
        self._cleanup = cleanup
        self._peers: dict[str, Contender | None] = {}

    @cached_property
    def upstream(self) -> int:
        """The port of the service behind every proxy: 1 KiB of JSON, and a file of 10 MiB."""
        process, port = start_upstream(self.folder)
        self._cleanup.callback(process.stop)
        return port

    @cached_property
    def sink(self) -> int:
        """The port of the service that swallows uploads."""
        process, port = start_sink(self.folder)
        self._cleanup.callback(process.stop)
        return port

    @cached_property
    def certificate(self) -> tuple[Path, Path]:
        """What every proxy shows over TLS, and its key."""
        return write_certificate(self.folder)

    @cached_property
    def gateway(self) -> Stack:
        """Headgate with a handful of routes."""
        configuration = stack.configuration(self.upstream, self.sink, stack.FEW)
        return self._cleanup.enter_context(
            stack.running(self.folder / "few", configuration, self.certificate)
        )

    @cached_property
    def uncompiled(self) -> Contender | None:
        """The same data plane as plain Python, beside a compiled one; None where there is no other."""
        if not stack.is_compiled():
            self.missing["compiled request path"] = (
                "no C compiler: Headgate's figures are those of plain Python"
            )
            return None
        node, contender = stack.plain_python(self.gateway)
        self._cleanup.callback(node.stop)
        return contender

    def beside(self, name: str, settings: Mapping[str, str]) -> Contender:
        """A further data plane of the gateway's control plane, as it is shipped, with these settings."""
        node, contender = stack.beside(self.gateway, name, {**stack.as_shipped(), **settings})
        self._cleanup.callback(node.stop)
        return contender

    @cached_property
    def collector(self) -> int:
        """The port of a collector of OpenTelemetry."""
        process, port = start_collector(self.folder)
        self._cleanup.callback(process.stop)
        return port

    @cached_property
    def large(self) -> Stack:
        """A second Headgate, with 10,000 routes."""
        configuration = stack.configuration(self.upstream, self.sink, stack.MANY)
        return self._cleanup.enter_context(stack.running(self.folder / "many", configuration))

    @property
    def tokens(self) -> Path:
        """The file of tokens that the peers accept too: one a line."""
        return self.gateway.tokens

    def peer(self, name: str) -> Contender | None:
        """Another proxy by its name; None when it is not on this machine."""
        if name not in self._peers:
            self._peers[name] = self._start_peer(PEERS[name])
        return self._peers[name]

    def peers(self, *names: str) -> list[Contender]:
        """Those of the peers that this machine has."""
        return [found for name in names if (found := self.peer(name)) is not None]

    def _start_peer(self, begin: Callable[[Bed], Contender | Missing]) -> Contender | None:
        found = begin(self)
        if isinstance(found, Missing):
            self.missing[found.name] = found.reason
            return None
        self._cleanup.callback(found.process.stop)
        return found


@contextlib.contextmanager
def made() -> Iterator[Bed]:
    """A bed in a folder of its own. However it ends, its processes are stopped, and no second Ctrl-C stops that."""
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="headgate-bench-"))
        # nginx, started by root, serves files and spools bodies as another user.
        Path(folder).chmod(0o755)
        previous = signal.signal(signal.SIGTERM, _ended)
        cleanup.callback(signal.signal, signal.SIGTERM, previous)
        with contextlib.ExitStack() as processes:
            try:
                yield Bed(Path(folder), processes)
            finally:
                interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
                cleanup.callback(signal.signal, signal.SIGINT, interrupt)


def _ended(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
