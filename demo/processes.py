"""Start and stop the real processes of a Headgate: etcd, control planes, data planes.

The demo, the system tests and the benchmarks all start them here, so that they run the same processes. Every process
gets its own group, writes to a log file, and is ended by its id.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from demo.etcd import EtcdMissing, find_etcd
from demo.interrupts import held_back
from demo.ports import free_port
from demo.reaper import Reaper

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 180.0
"""Seconds; generous, because only a failed start takes so long, and the machine may be busy."""

_reaper = Reaper()
_started: list[Process] = []
"""Every process that may still run, including those that are starting."""


class StartError(Exception):
    """A process did not start; the message says what to do."""


def require_free(ports: Mapping[str, int]) -> None:
    """Raise StartError with every taken port and, if it is visible, the process that holds it."""
    holders = _holders(ports.values())
    taken = [
        f"port {port} ({name}) is taken by {_process_name(holders[port])}"
        for name, port in ports.items()
        if port in holders
    ]
    if taken:
        raise StartError("\n".join(taken))


def _holders(ports: Iterable[int]) -> dict[int, int | None]:
    """The processes that listen, by port; None where that is not told."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS tells root alone
        return {port: None for port in ports if _listens(port)}
    return {
        connection.laddr.port: connection.pid
        for connection in found
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _process_name(pid: int | None) -> str:
    if pid is None:
        return "another process, which the system does not name"
    with contextlib.suppress(psutil.Error):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"


@dataclass
class Process:
    """One running process and the log it writes to."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone (not to its children)."""
        self.popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to end (SIGTERM), kill it if it has not after `timeout` seconds; return its exit code."""
        if self.running:
            self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._end_group()

    def kill(self) -> int:
        """End it and its children at once (SIGKILL)."""
        self._end_group()
        return self.popen.wait(START_TIMEOUT)

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        _reaper.forget(self.popen.pid)
        with contextlib.suppress(ValueError):
            _started.remove(self)

    def lines(self) -> list[str]:
        """Its log, without an incomplete last line."""
        whole, newline, _ = self.log.read_text().rpartition("\n")
        return (whole + newline).splitlines()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start(name: str, argv: list[str], environment: Mapping[str, str], folder: Path) -> Process:
    """Start a process with this environment on top of PATH and HOME, writing to <folder>/<name>.log."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    with log.open("ab") as output, held_back():
        popen = subprocess.Popen(
            argv,
            # Not in the checkout, where a developer's .env would be read.
            cwd=folder,
            env={**inherited, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _reaper.watch(popen.pid)
        process = Process(name, popen, log)
        _started.append(process)
    return process


def stop_everything() -> None:
    """End every process that this one has started, in reverse order."""
    with contextlib.ExitStack() as stack:
        # Each of them, even if one does not end.
        for process in _started.copy():
            stack.callback(process.stop)


def kill_everything() -> None:
    """Send SIGKILL to all of them; may run within a signal handler. Their ends are noted by `stop_everything`."""
    for process in _started.copy():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], process: Process, timeout: float = START_TIMEOUT) -> None:
    """Poll `ready` until it is true. Raises StartError with the end of the log if the process ends, or after the
    time."""
    deadline = time.monotonic() + timeout
    while not (_holds(ready) and process.running):
        # In this order, because another process may answer on a port that this one found taken.
        if not process.running:
            raise StartError(f"{process.name} ended with code {process.popen.returncode}:\n{process.tail()}")
        if time.monotonic() > deadline:
            late = (
                f"{process.name} was not ready within {timeout:g} s; a busy machine needs longer: try again"
            )
            raise StartError(f"{late}\n{process.log}: {process.tail() or 'empty'}")
        time.sleep(0.02)


def wait_or_kill(ready: Callable[[], bool], process: Process) -> None:
    """As `wait_until`; after any error, the process is ended."""
    try:
        wait_until(ready, process)
    except BaseException:
        process.kill()
        raise


def kill_all(processes: Iterable[Process]) -> None:
    """End all of them in reverse order; each one even if others fail to end."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.kill)


def _holds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except (httpx.HTTPError, OSError):
        return False


def answers(url: str) -> Callable[[], bool]:
    """A condition for wait_until: the URL answers 200."""
    return lambda: httpx.get(url, timeout=1.0, trust_env=False).status_code == 200


@dataclass(frozen=True)
class Etcd:
    """One etcd member on loopback, for throw-away data."""

    client_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    def start(self, folder: Path) -> Process:
        peer = f"http://127.0.0.1:{self.peer_port}"
        try:
            binary = find_etcd()
        except EtcdMissing as error:
            raise StartError(str(error)) from None
        argv = [str(binary), "--name=headgate", f"--data-dir={folder / 'etcd'}"]
        argv += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        argv += [f"--initial-cluster=headgate={peer}", "--log-level=warn", "--unsafe-no-fsync"]
        process = start("etcd", argv, {}, folder)
        wait_or_kill(answers(f"{self.url}/health"), process)
        return process


@dataclass(frozen=True)
class Secrets:
    """The secrets of planes and services: new ones for each gateway, never a default."""

    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    dataplane_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    service_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    admin_username: str = "admin"


@dataclass(frozen=True)
class ControlPlane:
    """One control plane process."""

    etcd_url: str
    secrets: Secrets
    name: str = "controlplane"
    admin_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    module: str = "controlplane"
    """The module to run with `python -m`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def ready_url(self) -> str:
        return f"{self.url}/ready"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def environment(self) -> dict[str, str]:
        return {
            "ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
            "GRPC_LISTEN": self.grpc,
            "ETCD_ENDPOINTS": self.etcd_url,
            "SECRET_KEY": self.secrets.secret_key,
            "DATAPLANE_TOKEN": self.secrets.dataplane_token,
            "SERVICE_TOKEN": self.secrets.service_token,
            # Gateway and services share this machine.
            "REGISTER_ALLOW": "127.0.0.0/8,::1/128",
            "ADMIN_USERNAME": self.secrets.admin_username,
            "ADMIN_PASSWORD": self.secrets.admin_password,
            **self.settings,
        }

    def admin(self) -> httpx.Client:
        """A client of the admin API with the administrator's token."""
        form = {"username": self.secrets.admin_username, "password": self.secrets.admin_password}
        answer = httpx.post(f"{self.url}/api/v1/auth/token", data=form, timeout=10, trust_env=False)
        token = answer.raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def start(self, folder: Path, *, wait: bool = True) -> Process:
        process = start(self.name, [sys.executable, "-m", self.module], self.environment(), folder)
        if wait:
            wait_or_kill(answers(self.ready_url), process)
        return process


@dataclass(frozen=True)
class DataPlane:
    """One data plane: a supervisor and its workers."""

    controlplanes: str
    secrets: Secrets
    name: str = "dataplane"
    port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    module: str = "dataplane"
    """The module to run with `python -m`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def status_url(self) -> str:
        return f"http://127.0.0.1:{self.status_port}"

    @property
    def ready_url(self) -> str:
        return f"{self.status_url}/ready"

    def environment(self, folder: Path) -> dict[str, str]:
        return {
            "NODE": self.name,
            "LISTEN": f"127.0.0.1:{self.port}",
            "STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
            "CONTROLPLANE": self.controlplanes,
            "DATAPLANE_TOKEN": self.secrets.dataplane_token,
            "CACHE_DIR": str(folder / f"{self.name}-cache"),
            **self.settings,
        }

    def start(self, folder: Path, *, wait: bool = True) -> Process:
        process = start(self.name, [sys.executable, "-m", self.module], self.environment(folder), folder)
        if wait:
            wait_or_kill(answers(self.ready_url), process)
        return process
