"""Unix sockets of instances: only those in allowed folders, and a reason for every failure."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataplane.proxy.unix_sockets import UnixSockets

FORBIDDEN = "names no folder of it"


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., socket.socket]]:
    """Makes listeners below the test's folder."""
    made: list[socket.socket] = []

    def start(
        name: str, backlog: int = 8, kind: socket.SocketKind = socket.SocketKind.SOCK_STREAM
    ) -> socket.socket:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        made.append(socket.socket(socket.AF_UNIX, kind))
        made[-1].bind(str(path))
        if kind is socket.SocketKind.SOCK_STREAM:
            made[-1].listen(backlog)
        return made[-1]

    yield start
    for each in made:
        each.close()


def complaint(sockets: UnixSockets, path: Path | str) -> str:
    with pytest.raises(OSError) as caught:
        sockets.connect(f"unix:{path}").close()
    assert caught.value.errno is None
    return str(caught.value)


def test_a_socket_in_an_allowed_folder_or_below_it(tmp_path: Path, listen: Any) -> None:
    for name in ("apps/a.sock", "apps/b.sock"):
        listener = listen(name)
        with UnixSockets([f"{tmp_path}/apps/"]).connect(f"unix:{tmp_path}/{name}") as connection:
            accepted, _ = listener.accept()
            connection.send(b"x")
            assert accepted.recv(1) == b"x"
            accepted.close()
    with UnixSockets([str(tmp_path)]).connect(f"unix:{tmp_path}/apps/a.sock"):
        pass


def test_no_other(tmp_path: Path, listen: Any) -> None:
    listen("other/a.sock")
    listen("apps-too/a.sock")
    sockets = UnixSockets([f"{tmp_path}/apps"])
    for path in ("other/a.sock", "apps-too/a.sock", "apps", "apps/../other/a.sock", "other/missing.sock"):
        assert FORBIDDEN in complaint(sockets, tmp_path / path)
    assert FORBIDDEN in complaint(sockets, f"{tmp_path}/apps/../other/a.sock")
    assert FORBIDDEN in complaint(sockets, "@abstract")
    assert FORBIDDEN in complaint(UnixSockets(), tmp_path / "other/a.sock")


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path, listen: Any) -> None:
    listen("other/a.sock")
    listen("apps/real.sock")
    (tmp_path / "apps/a.sock").symlink_to("../other/a.sock")
    (tmp_path / "apps/other").symlink_to("../other")
    (tmp_path / "apps/current.sock").symlink_to("real.sock")
    sockets = UnixSockets([f"{tmp_path}/apps"])
    assert FORBIDDEN in complaint(sockets, tmp_path / "apps/a.sock")
    assert FORBIDDEN in complaint(sockets, tmp_path / "apps/other/a.sock")
    sockets.connect(f"unix:{tmp_path}/apps/current.sock").close()


def test_a_folder_that_is_a_link_itself(tmp_path: Path, listen: Any) -> None:
    """As /var/run, which leads to /run."""
    listen("run/a.sock")
    (tmp_path / "var").symlink_to("run")
    sockets = UnixSockets([f"{tmp_path}/var"])
    for name in ("var", "run"):
        sockets.connect(f"unix:{tmp_path}/{name}/a.sock").close()


def test_every_failure_has_a_reason(tmp_path: Path, listen: Any) -> None:
    sockets = UnixSockets([str(tmp_path)])
    listen("dead.sock").close()
    listen("datagram.sock", kind=socket.SocketKind.SOCK_DGRAM)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        "missing.sock": "there is no such socket",
        "file/a.sock": "there is no such socket",
        "file": "not a socket",
        "folder": "not a socket",
        "dead.sock": "nothing listens on it",
        "datagram.sock": "not a stream socket",
    }.items():
        assert complaint(sockets, tmp_path / name) == f"unix:{tmp_path}/{name}: {reason}"


def test_a_full_backlog(tmp_path: Path, listen: Any) -> None:
    listen("a.sock", backlog=0)
    sockets = UnixSockets([str(tmp_path)])
    with sockets.connect(f"unix:{tmp_path}/a.sock"):
        assert complaint(sockets, tmp_path / "a.sock").endswith("its backlog is full")


def test_no_permission(tmp_path: Path, listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in, because nothing is forbidden to root."""
    listen("a.sock")

    def refuse(self: socket.socket, address: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert "needs write access to the socket" in complaint(UnixSockets([str(tmp_path)]), tmp_path / "a.sock")


def test_a_lack_of_descriptors_is_not_the_instances_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    with pytest.raises(OSError, match="Too many open files") as caught:
        UnixSockets([str(tmp_path)]).connect(f"unix:{tmp_path}/a.sock")
    assert caught.value.errno == errno.EMFILE


def test_no_descriptor_is_left_open(tmp_path: Path, listen: Any) -> None:
    listen("a.sock", backlog=0)
    sockets = UnixSockets([str(tmp_path)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    sockets.connect(f"unix:{tmp_path}/a.sock").close()
    complaint(sockets, tmp_path / "missing")
    complaint(sockets, "/etc/passwd")
    (tmp_path / "file").write_text("")
    complaint(sockets, tmp_path / "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
