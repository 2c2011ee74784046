"""A second demo in the same folder starts nothing, and knows where the first one is."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import psutil
import pytest

from demo.__main__ import tell_running
from demo.ports import free_port
from demo.processes import StartError, require_free
from demo.running import AlreadyRunning, only_one
from demo.world import demo_ports


def test_a_second_one_is_told_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "gateway": "http://localhost:18000",
        "second_gateway": "http://127.0.0.1:18010",
        "status": "http://127.0.0.1:18001",
        "controlplane": "http://127.0.0.1:18080",
        "grpc": "127.0.0.1:18051",
        "logs": "/somewhere",
    }
    with only_one(tmp_path / "new"):
        (tmp_path / "new/demo.json").write_text(json.dumps(facts))
        with pytest.raises(AlreadyRunning) as caught, only_one(tmp_path / "new"):
            pass
    assert f"already running (process {os.getpid()})" in str(caught.value)
    assert (tell_running(caught.value, check=False), tell_running(caught.value, check=True)) == (0, 2)
    shown = capsys.readouterr().out
    for url in ("localhost:18000", "18010", "18001/metrics", "18080/api/v1", "127.0.0.1:18051"):
        assert url in shown


def test_one_that_starts_has_told_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"gateway": "of one that was killed"}')
    with only_one(tmp_path), pytest.raises(AlreadyRunning) as caught, only_one(tmp_path):
        pass
    assert caught.value.facts == {}
    with only_one(tmp_path):
        pass  # the lock went with the block


def test_ports_follow_the_base() -> None:
    usual, moved = demo_ports(), demo_ports(18_000)
    assert list(usual) == list(moved)
    assert list(usual.values()) == [2379, 2380, 8080, 50051, 8000, 8001, 8010, 8011]
    assert len(set(moved.values())) == len(moved)
    assert all(18_000 <= port <= 18_080 for port in moved.values())


def test_its_facts_end_with_it(tmp_path: Path) -> None:
    with only_one(tmp_path):
        (tmp_path / "demo.json").write_text("{}")
    assert not (tmp_path / "demo.json").exists()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with (
            pytest.raises(StartError, match=r"^cannot use .*: (File exists|Not a directory) "),
            only_one(folder),
        ):
            pass
    (tmp_path / "left").mkdir()
    (tmp_path / "left/demo.lock").mkdir()
    left = pytest.raises(StartError, match="a demo of another user has left it: remove it")
    with left, only_one(tmp_path / "left"):
        pass


def test_taken_ports_are_found_where_the_system_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} \(etcd\) is taken by another process"):
            require_free({"etcd": port, "nobody": free_port()})
