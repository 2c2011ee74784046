"""A real etcd for tests on free ports, which tests can freeze, kill and restart.

Tests use etcd's JSON gateway for other operations (compaction, users), so that the client under test is not also the
tool of the test.
"""

from __future__ import annotations

import base64
import shutil
import signal
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from controlplane.store import EtcdSettings
from demo.etcd import find_etcd
from demo.ports import free_port
from demo.processes import Process, start, wait_or_kill
from tests.support.certificates import Authority

# Fast elections allow fast starts, and leases of one second (etcd's minimum is 1.5 elections).
FLAGS = ("--unsafe-no-fsync", "--log-level=warn", "--heartbeat-interval=20", "--election-timeout=200")


class Etcd:
    """One member with its data in `folder`. With `authority` it speaks TLS and asks for client certificates."""

    def __init__(
        self, folder: Path, *, authority: Authority | None = None, flags: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self._authority = authority
        self._flags = flags
        self._files = authority.issue("etcd") if authority else None
        self._process: Process | None = None
        self._members: Sequence[Etcd] = [self]
        self.port, self._peer_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}"

    @property
    def _peer(self) -> str:
        return f"http://127.0.0.1:{self._peer_port}"

    @property
    def leads(self) -> bool:
        """Whether it is the leader of its cluster."""
        status = self.ask("maintenance/status", {})
        return bool(status["leader"] == status["header"]["member_id"])

    @property
    def revision(self) -> int:
        """The revision of its last change, as it reports."""
        return int(self.ask("kv/range", {"key": base64_of("/")})["header"]["revision"])

    def settings(self, **changes: Any) -> EtcdSettings:
        """The settings of a store for it; `changes` override."""
        return EtcdSettings(**{"endpoints": (self.url,), "timeout": 2.0, **changes})

    def start(self) -> None:
        """Start it with its existing data, and wait until it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it without waiting, because a cluster answers only with a majority."""
        argv = [str(find_etcd()), f"--name={self._peer_port}", f"--data-dir={self._folder / 'data'}"]
        argv += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        argv += [f"--listen-peer-urls={self._peer}", f"--initial-advertise-peer-urls={self._peer}"]
        members = ",".join(f"{member._peer_port}={member._peer}" for member in self._members)
        argv += [f"--initial-cluster={members}", *FLAGS, *self._flags, *self._tls_flags()]
        self._process = start("etcd", argv, {}, self._folder)

    def wait(self) -> None:
        """Wait until it answers."""
        assert self._process is not None
        wait_or_kill(self._healthy, self._process)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()

    def end(self) -> None:
        """End it for good."""
        self._http.close()
        if self._process is not None:
            self._process.kill()

    def wipe(self) -> None:
        """Delete its data; it must not run."""
        shutil.rmtree(self._folder / "data")

    def copy(self) -> Path:
        """A copy of its data, as a backup; it must not run."""
        return shutil.copytree(self._folder / "data", Path(tempfile.mkdtemp(dir=self._folder)) / "data")

    def exchange(self, other: Path) -> Path:
        """Replace its data by `other`; returns the folder of the previous data. It must not run."""
        data, aside = self._folder / "data", Path(tempfile.mkdtemp(dir=self._folder)) / "data"
        data.rename(aside)
        other.rename(data)
        return aside

    def freeze(self) -> None:
        """Keep its connections open without answers, until `thaw`."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)
        process = psutil.Process(self._process.pid)
        while any(
            psutil.Process(thread.id).status() != psutil.STATUS_STOPPED for thread in process.threads()
        ):
            time.sleep(0.001)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    def ask(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        """POST to the JSON gateway; raises httpx.HTTPStatusError if etcd refuses."""
        headers = {"Authorization": token} if token else {}
        answer = self._http.post(f"/v3/{path}", json=body, headers=headers).raise_for_status().json()
        assert isinstance(answer, dict)
        return answer

    def put(self, key: str | bytes, value: str) -> int:
        """Set a key without the store; returns the revision."""
        answer = self.ask("kv/put", {"key": base64_of(key), "value": base64_of(value)})
        return int(answer["header"]["revision"])

    def compact(self, revision: int) -> None:
        self.ask("kv/compaction", {"revision": str(revision), "physical": True})

    def require_password(self, username: str, password: str, prefix: str) -> None:
        """Switch authentication on; the user may read and write keys under `prefix`, root (password root) all."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = {"permType": "READWRITE", "key": base64_of(prefix), "range_end": base64_of(end)}
        self.ask("auth/user/add", {"name": "root", "password": "root"})
        self.ask("auth/role/add", {"name": "root"})
        self.ask("auth/user/grant", {"user": "root", "role": "root"})
        self.ask("auth/user/add", {"name": username, "password": password})
        self.ask("auth/role/add", {"name": "part"})
        self.ask("auth/role/grant", {"name": "part", "perm": permission})
        self.ask("auth/user/grant", {"user": username, "role": "part"})
        self.ask("auth/enable", {})

    def _tls_flags(self) -> list[str]:
        if self._authority is None or self._files is None:
            return []
        certificate, key = self._files
        flags = [f"--cert-file={certificate}", f"--key-file={key}", "--client-cert-auth"]
        return [*flags, f"--trusted-ca-file={self._authority.certificate}"]

    @cached_property
    def _http(self) -> httpx.Client:
        tls: ssl.SSLContext | bool = False
        if self._authority is not None and self._files is not None:
            tls = ssl.create_default_context(cafile=str(self._authority.certificate))
            tls.load_cert_chain(*self._files)
        return httpx.Client(base_url=self.url, timeout=5.0, trust_env=False, verify=tls)

    def _healthy(self) -> bool:
        return bool(self._http.get("/health").json().get("health") == "true")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[list[Etcd]]:
    """A running cluster of `count` members."""
    with ExitStack() as stack:
        members = [Etcd(folder / str(number)) for number in range(count)]
        for member in members:
            member._members = members
            stack.callback(member.end)
            member.launch()
        for member in members:
            member.wait()
        yield members


def base64_of(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
