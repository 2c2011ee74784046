"""What takes part in a measurement: a proxy that is loaded, and the services behind all proxies."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from demo.ports import free_port
from demo.processes import Process, answers, start, wait_until
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin
from tests.support.certificates import Authority

TEMPLATES = Path(__file__).parent / "templates"
ISSUER = AUDIENCE = "headgate"
MIB = 1024 * 1024
LARGE = 10 * MIB
"""Bytes of a large body."""
BODY = '{"orders":"' + "x" * (1024 - 13) + '"}'
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Contender:
    """One running proxy and what to ask it."""

    name: str
    url: str
    process: Process
    path: str = "/orders"
    paths: int = 0
    """With n > 0, "<path>/0" to "<path>/<n-1>" are asked in turn."""
    fresh: bool = False
    """No request says what another has said before."""
    first: int = 0
    """With `fresh`, the number in the first request; those of the next ones follow."""
    close: bool = False
    """Every request asks for the end of its connection."""
    tls_port: int = 0
    """Where it speaks TLS; 0: it does not."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def secured(self) -> Contender:
        """The same over TLS."""
        return replace(self, url=f"https://127.0.0.1:{self.tls_port}")


@dataclass(frozen=True)
class Missing:
    """A peer that this machine does not have."""

    name: str
    reason: str


def find(command: str) -> str | None:
    """A system command's path, also of those that only root's PATH has."""
    return shutil.which(command) or shutil.which(command, path=SYSTEM_PATH)


def write_configuration(template: str, folder: Path, values: Mapping[str, object]) -> Path:
    """Fill a template in; every @NAME@ is replaced."""
    text = (TEMPLATES / template).read_text()
    for name, value in {"FOLDER": folder, "ISSUER": ISSUER, "AUDIENCE": AUDIENCE, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    path = folder / template
    path.write_text(text)
    return path


def start_upstream(folder: Path) -> tuple[Process, int]:
    """nginx that answers 1 KiB of JSON, or a file of 10 MiB, away from the proxies' CPU."""
    port = free_port()
    files = folder / "download"
    files.mkdir(parents=True, exist_ok=True)
    (files / "large").write_bytes(b"x" * LARGE)
    path = write_configuration("upstream.conf", folder, {"UPSTREAM": port, "BODY": BODY})
    process = start("upstream", [find("nginx") or "nginx", "-p", str(folder), "-c", str(path)], {}, folder)
    wait_until(answers(f"http://127.0.0.1:{port}/"), process)
    pin(process.pid, OTHER_CPUS)
    return process, port


def start_sink(folder: Path) -> tuple[Process, int]:
    """A service that swallows request bodies, away from the proxies' CPU."""
    port = free_port()
    process = start("sink", [sys.executable, "-m", "tests.benchmarks.sink", str(port)], {}, folder)
    wait_until(answers(f"http://127.0.0.1:{port}/"), process)
    pin(process.pid, OTHER_CPUS)
    return process, port


def start_collector(folder: Path) -> tuple[Process, int]:
    """A collector of OpenTelemetry, away from the proxies' CPU."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.benchmarks.collector", str(port)]
    process = start("collector", argv, {}, folder)
    wait_until(_listens(port), process)
    pin(process.pid, OTHER_CPUS)
    return process, port


def ready(name: str, process: Process, port: int, tls_port: int = 0) -> Contender:
    """The proxy that this process is, on the proxies' CPU."""
    wait_until(_listens(port), process)
    pin(process.pid, PROXY_CPUS)
    return Contender(name, f"http://127.0.0.1:{port}", process, tls_port=tls_port)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate on P-256 and its key, for every proxy."""
    return Authority(folder / "certificates").issue("localhost")


def _listens(port: int) -> Callable[[], bool]:
    def connects() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True

    return connects
