"""The control plane as a process on a real etcd: a whole life, outages, restarts, the end."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import time
from pathlib import Path

import httpx

from controlplane.__main__ import DRAIN
from demo.processes import ControlPlane, Process, answers, wait_until
from demo.processes import start as start_process
from tests.integration.controlplane.conftest import Start, log_in
from tests.support.etcd import Etcd
from tests.support.waiting import eventually_now

DEMO = Path(__file__).parents[3] / "examples" / "demo.yaml"
YAML = {"Content-Type": "application/yaml"}
SCOPE = {"scopes": [{"name": "new"}]}


def lines(process: Process, message: str) -> list[dict[str, object]]:
    """The log lines with this message."""
    found = [json.loads(line) for line in process.lines()]
    return [line for line in found if line["message"] == message]


def test_a_life(plane: ControlPlane, start: Start, client: httpx.Client) -> None:
    process = start(plane)
    assert client.get("/health").json()["status"] == "ok"
    log_in(client, plane)
    receipt = client.post("/api/v1/apply", content=DEMO.read_bytes(), headers=YAML).raise_for_status().json()
    assert {change["action"] for change in receipt["changes"]} == {"create"}

    def served() -> list[str]:
        return [found["service_name"] for found in client.get("/api/v1/services").json()]

    eventually_now(lambda: served() == ["controlplane", "orders", "payments"])
    (own,) = client.get("/api/v1/services/controlplane").json()["instances"].values()
    assert (own["host"], own["port"]) == ("127.0.0.1", plane.admin_port)
    routes = {route["name"] for route in client.get("/api/v1/routes").json()}
    assert routes == {"headgate-api", "orders", "payments", "public", "together"}
    assert client.get("/api/v1/config/routes/orders").headers["ETag"] == f'"{receipt["revision"]}"'
    assert [limit["name"] for limit in client.get("/api/v1/rate-limits").json()] == [
        "public",
        "together",
    ]
    assert "headgate_controlplane_store_up 1.0" in client.get("/metrics").text
    form = {"username": "testuser", "password": "testpass"}
    assert client.post("/api/v1/auth/token", data=form).json()["scope"] == "orders:read"

    assert process.stop() == 0
    (applied,) = [line for line in lines(process, "admin request") if line["path"] == "/api/v1/apply"]
    assert (applied["author"], applied["revision"]) == ("admin", receipt["revision"])
    told = process.log.read_text()
    for secret in (*dataclasses.astuple(plane.secrets)[:4], "testpass", "argon2", "eyJ"):
        assert secret not in told


def test_a_restart_needs_no_password_and_keeps_tokens_good(
    plane: ControlPlane, start: Start, client: httpx.Client
) -> None:
    process = start(plane)
    log_in(client, plane)
    assert process.stop() == 0
    again = dataclasses.replace(plane, settings={"ADMIN_PASSWORD": ""})
    start(again)
    assert client.post("/api/v1/apply", json=SCOPE).status_code == 200


def test_etcd_gone_and_back(plane: ControlPlane, start: Start, client: httpx.Client, own_etcd: Etcd) -> None:
    process = start(plane)
    log_in(client, plane)
    own_etcd.kill()
    answer = client.post("/api/v1/apply", json=SCOPE)
    assert answer.status_code == 503
    assert answer.json()["detail"] == "The store (etcd) does not answer; nothing was changed"
    assert client.get("/api/v1/services").status_code == 200
    assert client.get("/ready").status_code == 200
    eventually_now(lambda: client.get("/health").json()["status"] == "degraded")
    assert "headgate_controlplane_store_up 0.0" in client.get("/metrics").text

    own_etcd.start()
    eventually_now(lambda: client.post("/api/v1/apply", json=SCOPE).status_code == 200)
    eventually_now(lambda: client.get("/health").json()["status"] == "ok")
    assert process.running


def test_a_frozen_etcd_is_not_waited_for_without_end(
    plane: ControlPlane, start: Start, client: httpx.Client, own_etcd: Etcd
) -> None:
    start(plane)
    log_in(client, plane)
    own_etcd.freeze()
    try:
        answer = client.post("/api/v1/apply", json=SCOPE)
        assert answer.status_code == 503
        assert "etcd" in answer.json()["detail"]
    finally:
        own_etcd.thaw()
    eventually_now(lambda: client.post("/api/v1/apply", json=SCOPE).status_code == 200)


def test_etcd_comes_after_the_control_plane(
    plane: ControlPlane, start: Start, client: httpx.Client, own_etcd: Etcd
) -> None:
    own_etcd.kill()
    process = start(plane, wait=False)
    wait_until(lambda: client.get("/health").status_code == 200, process)
    waiting = client.get("/ready")
    assert waiting.status_code == 503
    assert own_etcd.url in eventually_now(lambda: client.get("/ready").json()["reasons"][0])
    form = {"username": "admin", "password": plane.secrets.admin_password}
    assert client.post("/api/v1/auth/token", data=form).status_code == 503
    own_etcd.start()
    eventually_now(lambda: client.get("/ready").status_code == 200)
    log_in(client, plane)
    assert lines(process, "waiting for the store")


def test_sigterm_while_waiting_for_etcd(
    plane: ControlPlane, start: Start, client: httpx.Client, own_etcd: Etcd
) -> None:
    own_etcd.kill()
    process = start(plane, wait=False)
    wait_until(lambda: client.get("/health").status_code == 200, process)
    assert process.stop(5) == 0


def test_sigterm_lets_a_request_finish(plane: ControlPlane, start: Start, client: httpx.Client) -> None:
    process = start(plane)
    log_in(client, plane)
    body = json.dumps(SCOPE).encode()
    head = (
        f"POST /api/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: {client.headers['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", plane.admin_port), timeout=10) as connection:
        connection.sendall(head.encode() + body[:5])
        eventually_now(lambda: client.get("/health").is_success)  # it was read before this was answered
        process.popen.terminate()
        eventually_now(lambda: _refused(plane.admin_port))
        connection.sendall(body[5:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert process.stop() == 0


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_event_streams_do_not_hold_up_the_stop(
    plane: ControlPlane, start: Start, client: httpx.Client
) -> None:
    process = start(plane)
    log_in(client, plane)
    with client.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        began = time.monotonic()
        process.popen.terminate()
        # To its regular end: a stream that was cut raises.
        list(lines)
    process.stop()
    assert time.monotonic() - began < DRAIN / 2


def test_two_at_once_on_an_empty_store(plane: ControlPlane, start: Start, client: httpx.Client) -> None:
    other = ControlPlane(plane.etcd_url, plane.secrets, name="other")
    started = [start(one, wait=False) for one in (plane, other)]
    for one, process in zip((plane, other), started, strict=True):
        wait_until(answers(f"{one.url}/ready"), process)
    log_in(client, plane)
    eventually_now(lambda: client.get("/api/v1/services/controlplane").json()["total"] == 2)
    with httpx.Client(base_url=other.url, headers=client.headers, trust_env=False) as second:
        keys = client.get("/.well-known/jwks.json").json()
        assert second.get("/.well-known/jwks.json").json() == keys
        assert len(keys["keys"]) == 1
        assert second.post("/api/v1/apply", json=SCOPE).status_code == 200
    assert started[1].stop() == 0
    eventually_now(lambda: client.get("/api/v1/services/controlplane").json()["total"] == 1)


def test_etcd_with_a_password(plane: ControlPlane, start: Start, own_etcd: Etcd) -> None:
    own_etcd.require_password("headgate", "etcd-pass", "/headgate/")
    settings = {"ETCD_USERNAME": "headgate", "ETCD_PASSWORD": "etcd-pass"}
    process = start(dataclasses.replace(plane, settings=settings))
    assert "etcd-pass" not in process.log.read_text()


def test_under_uvicorns_own_command(plane: ControlPlane, client: httpx.Client, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "uvicorn", "controlplane.app:app", "--log-level", "debug"]
    argv += ["--port", str(plane.admin_port)]
    process = start_process("uvicorn", argv, {**plane.environment(), "DEBUG": "true"}, tmp_path)
    try:
        wait_until(lambda: client.get("/ready").status_code == 200, process)
        log_in(client, plane)
        assert client.get("/api/v1/services").status_code == 200
    finally:
        process.stop()
