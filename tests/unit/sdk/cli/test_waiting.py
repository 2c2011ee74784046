"""Changes that are waited for, as somebody at a terminal sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.fleet.progress import Quorum
from tests.support.fake_admin import FakeAdmin, problem
from tests.support.fake_registry import TOKEN

DOCUMENT = "scopes: [{name: a}]"


def rollout(state: str, *nodes: dict[str, Any], problem: str = "") -> dict[str, Any]:
    """How far the data planes are with revision 2."""
    return {
        "revision": 2,
        "digest": "0123456789abcdef" if not problem else "",
        "state": state,
        "serving": sum(node["done"] for node in nodes),
        "needed": len(nodes),
        "nodes": list(nodes),
        "problem": problem,
    }


def node(name: str, reason: str = "", connected: bool = True) -> dict[str, Any]:
    done = not reason
    return {
        "node": name,
        "connected": connected,
        "applied_revision": 1 + done,
        "done": done,
        "reason": reason,
    }


@pytest.fixture
def file(home: Path) -> str:
    (home / "work" / "a.yaml").write_text(DOCUMENT)
    return "a.yaml"


def test_served(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [
        rollout("waiting", node("gw-1"), node("gw-2", "serves revision 1")),
        rollout("served", node("gw-1"), node("gw-2")),
    ]
    result = logged_in("apply", "-f", file, "--wait")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "+ scope a",
        "Applied at revision 2: 1 created",
        "Served by 2 data planes (2 needed), digest 0123456789ab",
    ]
    assert [query["quorum"] for query in admin.queries] == ["all", "all"]


def test_served_for_programs(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("served", node("gw-1"))]
    result = logged_in("apply", "-f", file, "--wait", "--quorum", "50%", "-o", "json")
    receipt = json.loads(result.stdout)
    assert (receipt["state"], receipt["nodes"][0]["node"]) == ("served", "gw-1")
    assert receipt["changes"]
    assert admin.queries[0]["quorum"] == "50%"


def test_too_late(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [
        rollout(
            "waiting",
            node("gw-1"),
            node("gw-2", "serves revision 1"),
            node("gone", "is not connected", connected=False),
        )
    ]
    result = logged_in("apply", "-f", file, "--wait", "--timeout", "0")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-1] == "Applied at revision 2: 1 created"
    assert result.stderr == (
        "headgate: revision 2 is written, but only 1 of 3 data planes serve it; not yet: gw-2 (serves revision 1)\n"
    )


def test_programs_get_the_receipt_however_the_wait_ends(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("waiting", node("gw-1", "serves revision 1"))]
    result = logged_in("apply", "-f", file, "--wait", "--timeout", "0", "-o", "json")
    assert result.exit_code == 3
    receipt = json.loads(result.stdout)
    assert (receipt["status"], receipt["title"], receipt["state"]) == (504, "Gateway Timeout", "waiting")
    assert receipt["detail"] == result.stderr.removeprefix("headgate: ").rstrip()
    assert (receipt["revision"], receipt["changes"][0]["name"]) == (2, "a")
    assert receipt["nodes"][0]["reason"] == "serves revision 1"


def test_fewer_are_connected_than_asked_for(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("waiting", node("gw-1"), node("gw-2")) | {"needed": 5}]
    result = logged_in("apply", "-f", file, "--wait", "--quorum", "5", "--timeout", "0")
    assert result.exit_code == 3
    assert result.stderr == (
        "headgate: revision 2 is written, but only 2 of 5 data planes serve it; "
        "no more than 2 data planes are connected\n"
    )


def test_one_is_not_called_many(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("served", node("gw-1"))]
    assert "Served by 1 data plane (1 needed)" in logged_in("apply", "-f", file, "--wait").stdout
    admin.rollouts = [rollout("waiting", node("gw-1", "serves revision 1"))]
    result = logged_in("apply", "-f", file, "--wait", "--timeout", "0")
    assert "only 0 of 1 data plane serves it" in result.stderr


@pytest.mark.parametrize("output", ["table", "json"])
def test_ctrl_c_while_waiting_says_what_is_written(
    logged_in: Any, admin: FakeAdmin, file: str, output: str
) -> None:
    admin.rollouts = [rollout("waiting", node("gw-1"), node("gw-2", "serves revision 1"))]
    admin.interrupt_after_rollouts = True
    result = logged_in("apply", "-f", file, "--wait", "-o", output)
    assert result.exit_code == 130
    assert result.stderr == (
        "headgate: interrupted: revision 2 is written; 1 of 2 data planes served it "
        "(`headgate status` shows which data planes serve it)\n"
    )
    if output == "json":
        assert json.loads(result.stdout)["serving"] == 1
    else:
        assert "Applied at revision 2" in result.stdout


def test_a_control_plane_that_is_lost_while_waiting(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    result = logged_in("apply", "-f", file, "--wait")  # the fake has no answer
    assert result.exit_code == 3
    assert result.stderr.startswith("headgate: revision 2 is written, but the wait failed: the connection to")


def test_ctrl_c_while_writing(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    admin.override = interrupt
    result = logged_in("apply", "-f", file)
    assert result.exit_code == 130
    assert result.stderr == (
        "headgate: interrupted; whether the change was made is not known: see `headgate history`\n"
    )
    assert logged_in("get", "routes").stderr == "headgate: interrupted\n"


def test_rejected_ends_the_wait(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    late = "serves revision 1, rejected 2: routes: 9 exceeds MAX_ROUTES 6"
    admin.rollouts = [rollout("rejected", node("gw-1", late))]
    result = logged_in("apply", "-f", file, "--wait", "--timeout", "300")
    assert result.exit_code == 3
    assert f"gw-1 ({late})" in result.stderr
    admin.rollouts = [rollout("rejected", node("gw-1", late))]
    receipt = json.loads(logged_in("apply", "-f", file, "--wait", "-o", "json").stdout)
    assert (receipt["status"], receipt["title"]) == (409, "Conflict")


def test_nothing_published(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("waiting", problem="what is in the store cannot be published: x")]
    result = logged_in("apply", "-f", file, "--wait", "--timeout", "0")
    assert "but what is in the store cannot be published: x" in result.stderr


def test_nobody_to_wait_for(logged_in: Any, admin: FakeAdmin, file: str) -> None:
    admin.rollouts = [rollout("served")]
    assert "No data plane is connected" in logged_in("apply", "-f", file, "--wait").stdout


@pytest.mark.parametrize("options", [("--dry-run",), ("--timeout", "301"), ("--timeout", "soon")])
def test_waits_that_make_no_sense(
    logged_in: Any, admin: FakeAdmin, file: str, options: tuple[str, ...]
) -> None:
    assert logged_in("apply", "-f", file, "--wait", *options).exit_code == 2
    assert admin.requests == []


def test_history(logged_in: Any, admin: FakeAdmin) -> None:
    admin.past["history"] = [
        {"revision": 57, "time": "2026-01-02T03:04:05Z", "author": "anna", "summary": "update route/orders"}
    ]
    lines = logged_in("history", "-n", "5").stdout.splitlines()
    assert lines[0].split() == ["REVISION", "TIME", "AUTHOR", "CHANGE"]
    assert lines[1].split()[:3] == ["57", "2026-01-02T03:04:05Z", "anna"]
    assert admin.queries == [{"limit": "5"}]
    assert json.loads(logged_in("history", "-o", "json").stdout)[0]["revision"] == 57


def test_diff_of_two_revisions(logged_in: Any, admin: FakeAdmin) -> None:
    field = {"field": "prefix", "before": "/a", "after": "/b"}
    admin.past["diff"] = [
        {"action": "update", "kind": "route", "name": "orders", "fields": [field]},
        {"action": "delete", "kind": "scope", "name": "x", "fields": []},
    ]
    result = logged_in("diff", "57", "61", "--exit-code")
    assert result.exit_code == 1
    assert result.stdout == "~ route orders\n    prefix: '/a' -> '/b'\n- scope x\n"
    assert admin.queries == [{"from": "57", "to": "61"}]
    admin.past["diff"] = []
    assert logged_in("diff", "57", "61").stdout == "No difference\n"


@pytest.mark.parametrize("arguments", [(), ("1",), ("1", "2", "3"), ("1", "x"), ("1", "2", "-f", "a.yaml")])
def test_diffs_of_what(logged_in: Any, admin: FakeAdmin, file: str, arguments: tuple[str, ...]) -> None:
    assert logged_in("diff", *arguments).exit_code == 2
    assert admin.requests == []


def test_rollback(logged_in: Any, admin: FakeAdmin) -> None:
    dry = logged_in("rollback", "--to", "1", "--dry-run")
    assert dry.stdout == "- route orders\nDry run, nothing was changed: 1 deleted\n"
    assert admin.revision == 1
    admin.rollouts = [rollout("served", node("gw-1"))]
    done = logged_in("rollback", "--to", "1", "--wait")
    assert done.stdout.splitlines()[1] == "Rolled back at revision 2: 1 deleted"
    refused = logged_in("rollback", "--to", "9")
    assert (refused.exit_code, refused.stderr) == (1, "headgate: revision '9' does not exist\n")


@pytest.mark.parametrize("arguments", [(), ("--to", "0"), ("--to", "x")])
def test_rollbacks_to_what(logged_in: Any, admin: FakeAdmin, arguments: tuple[str, ...]) -> None:
    assert logged_in("rollback", *arguments).exit_code == 2
    assert admin.requests == []


def test_drain_through_the_admin_api(
    logged_in: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADGATE_TOKEN", raising=False)
    result = logged_in("drain", "orders", "orders-1", "--timeout", "7")
    assert result.stdout == "Instance orders/orders-1 is drained\n"
    assert (admin.drained, admin.queries) == (["orders/orders-1"], [{"wait": "7"}])
    undone = logged_in("drain", "orders", "orders-1", "--undo")
    assert undone.stdout == "Instance orders/orders-1 takes requests again\n"
    assert admin.drained == []


def test_a_control_plane_that_cannot_end_a_draining(logged_in: Any, admin: FakeAdmin) -> None:
    admin.override = lambda _: problem(405, "Method not allowed")
    result = logged_in("drain", "orders", "orders-1", "--undo")
    assert (result.exit_code, "when it registers anew" in result.stderr) == (1, True)


def test_drain_without_anybody_to_ask(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", TOKEN)
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", "127.0.0.1:1")
    result = run("drain", "orders", "orders-1", "--timeout", "0")
    assert result.exit_code == 1
    assert result.stderr.startswith("headgate: the control plane at 127.0.0.1:1 does not answer")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--wait", "--quorum", "3of4"), "--quorum must be all, a number from 1, or a percentage"),
        (("--wait", "--quorum", "150%"), "not '150%'"),
        (("--wait", "--quorum", "0%"), "not '0%'"),
        (("--timeout", "5"), "--timeout: only together with --wait"),
        (("--quorum", "all", "--timeout", "5"), "--timeout and --quorum: only together with --wait"),
    ],
)
@pytest.mark.parametrize("command", [("apply", "-f", "a.yaml"), ("rollback", "--to", "1")])
def test_a_wait_that_cannot_be_is_refused_before_anything_is_written(
    logged_in: Any,
    admin: FakeAdmin,
    file: str,
    command: tuple[str, ...],
    options: tuple[str, ...],
    expected: str,
) -> None:
    result = logged_in(*command, *options)
    assert (result.exit_code, admin.requests) == (2, [])
    assert expected in result.stderr


@pytest.mark.parametrize("quorum", ["all", "1", "999999", "50%", "0.5%", "100%", "33.333%"])
def test_quorums_that_the_control_plane_takes(
    logged_in: Any, admin: FakeAdmin, file: str, quorum: str
) -> None:
    Quorum.parse(quorum)
    admin.rollouts = [rollout("served", node("gw-1"))]
    assert logged_in("apply", "-f", file, "--wait", "--quorum", quorum).exit_code == 0
    assert admin.queries[0]["quorum"] == quorum
