"""What a worker is started with."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

from dataplane.supervisor.liveness import Liveness
from dataplane.supervisor.process import SECRETS, WorkerProcess, environment


def test_workers_get_no_secret() -> None:
    ours = dict.fromkeys(SECRETS, "secret") | {"PATH": "/bin"}
    assert "secret" not in environment(ours).values()
    assert environment(ours)["PATH"] == "/bin"


def test_whoever_tunes_the_allocator_is_left_to_it() -> None:
    assert environment({"GLIBC_TUNABLES": "glibc.malloc.check=3"})["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
    assert "tcache_max=4096" in environment({})["GLIBC_TUNABLES"]


def test_a_worker_that_has_ended_takes_no_ports_and_harms_nobody() -> None:
    """It ended between its start and its first configuration: the supervisor goes on, and starts another one."""
    killed: list[bool] = []
    process = SimpleNamespace(returncode=None, kill=lambda: killed.append(True))
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, socket.socket() as bound:
        worker = WorkerProcess(
            0, cast(asyncio.subprocess.Process, process), cast(Any, None), Liveness(1.0), ours
        )
        worker.pass_ports({8080: bound})
    assert killed and not worker.ports
