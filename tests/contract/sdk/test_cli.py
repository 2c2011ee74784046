"""The command line against the real admin API."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import headgate
from headgate.cli.app import app
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.contract.sdk.conftest import ControlPlane
else:
    ControlPlane = Any

DOCUMENT = """
scopes: [{name: "orders:read"}]
services:
- service_name: orders
  circuit: {failure_threshold: 3}
  retries: {attempts: 1, on: [connect]}
  instances: [{instance_id: a, host: 127.0.0.1, port: 9001}]
rate_limits: [{name: calm, per_second: 5, burst: 10, key: subject}]
routes:
- {name: orders, prefix: /orders, service_name: orders, scopes: ["orders:read"], rate_limits: [calm]}
users: [{username: testuser, password: testpass, scopes: ["orders:read"]}]
"""

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(controlplane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str, input: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=input)

    result = await run("login", controlplane.url, "-u", "admin", "--password-stdin", input="correct horse\n")
    assert result.exit_code == 0, result.output
    return run


async def test_apply_get_change_delete(run: Run) -> None:
    result = await run("apply", "-f", "-", input=DOCUMENT)
    assert result.exit_code == 0, result.output
    assert "+ rate_limit calm\n" in result.stdout
    assert "5 created" in result.stdout

    assert "Nothing would change" in (await run("diff", "-f", "-", input=DOCUMENT)).stdout
    changed = DOCUMENT.replace("failure_threshold: 3", "failure_threshold: 4")
    assert (await run("diff", "-f", "-", input=changed)).stdout == (
        "~ service orders\n    circuit.failure_threshold: 3 -> 4\n"
    )

    for kind, name in (
        ("route", "orders"),
        ("service", "orders"),
        ("user", "testuser"),
        ("rate-limit", "calm"),
    ):
        shown = (await run("get", kind, name, "-o", "yaml")).stdout
        again = await run("apply", "-f", "-", input=shown)
        assert "1 unchanged" in again.stdout, (kind, again.output)

    assert (await run("delete", "route", "orders")).exit_code == 0
    missing = await run("get", "route", "orders")
    assert (missing.exit_code, missing.stderr) == (1, "headgate: there is no route 'orders'\n")


async def test_every_kind_and_view_has_a_table(run: Run) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    for kind, expected in {
        "services": "3 failures",
        "routes": "orders:read",
        "scopes": "gateway:admin",
        "users": "testuser",
        "rate-limits": "5/s, burst 10",
        "issuers": "no issuers",
        "instances": "127.0.0.1:9001",
        "circuits": "closed",
        "dataplanes": "no dataplanes",
    }.items():
        result = await run("get", kind)
        assert (result.exit_code, expected in result.stdout) == (0, True), (kind, result.output)
        assert isinstance(json.loads((await run("get", kind, "-o", "json")).stdout), list)


async def test_problems_with_their_fields(run: Run) -> None:
    bad = {
        "routes": [{"name": "x", "prefix": "nope", "service_name": "nobody", "scopes": ["none"]}],
        "scopes": [{"name": "ok", "colour": "red"}],
    }
    result = await run("apply", "-f", "-", input=yaml.safe_dump(bad))
    assert result.exit_code == 1
    lines = result.stderr.splitlines()[1:]
    assert {line.rpartition(": ")[0] for line in lines} == {
        "  standard input:3: route x: prefix",
        "  standard input:6: route x: service_name",
        "  standard input:5: route x: scopes[0]",
        "  standard input:8: scope ok: colour",
    }
    assert (await run("get", "scope", "ok")).exit_code == 1


async def test_what_is_still_used_is_not_deleted(run: Run) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    result = await run("delete", "scope", "orders:read")
    assert result.exit_code == 1
    assert "route" in result.stderr


async def test_all_of_it_as_a_document(run: Run) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    shown = (await run("get", "all", "-o", "yaml")).stdout
    assert set(yaml.safe_load(shown)) == {"services", "routes", "scopes", "users", "rate_limits"}
    again = await run("apply", "-f", "-", input=shown)
    assert (again.exit_code, "created" in again.stdout, "updated" in again.stdout) == (0, False, False)
    assert (await run("diff", "-f", "-", input=shown)).exit_code == 0


async def test_what_a_document_declares_is_deleted(run: Run, tmp_path: Path) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    file = tmp_path / "gateway.yaml"
    file.write_text(DOCUMENT)
    dry = await run("delete", "-f", str(file), "--dry-run")
    assert "5 would be deleted" in dry.stdout
    result = await run("delete", "-f", str(file), "--yes")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "5 deleted"), result.output
    assert (await run("get", "route", "orders")).exit_code == 1


async def test_a_resource_in_the_editor(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text().replace('prefix: /orders', 'prefix: /new'))\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    result = await run("edit", "route", "orders")
    assert (result.exit_code, result.stdout) == (0, "Changed route orders\n"), result.output
    assert json.loads((await run("get", "route", "orders", "-o", "json")).stdout)["prefix"] == "/new"
    assert (await run("edit", "route", "orders")).stdout == "Nothing changed\n"


async def test_fields_are_explained_as_the_api_describes_them(run: Run) -> None:
    assert "Rate limits, applied in this order." in (await run("reference", "route.rate_limits")).stdout
    assert (await run("reference", "user")).exit_code == 0


async def test_a_wait_for_more_data_planes_than_are_connected(run: Run, controlplane: ControlPlane) -> None:
    for node in ("gw-1", "gw-2"):
        controlplane.fleet.hello(node, "0.1.0", revision=7)
    wait = ("--wait", "--timeout", "0", "--quorum", "5", "-o", "json")
    result = await run("apply", "-f", "-", *wait, input=DOCUMENT)
    assert result.exit_code == 3
    receipt = json.loads(result.stdout)
    members = {"type", "title", "status", "detail", "revision", "changes", "digest", "state", "serving"}
    assert members | {"needed", "nodes", "problem"} <= set(receipt)
    assert (receipt["status"], receipt["needed"]) == (504, 5)
    assert "no data plane is connected" not in result.stderr


async def test_status(run: Run, controlplane: ControlPlane) -> None:
    controlplane.fleet.hello("gateway-1", "0.1.0", revision=7)
    result = await run("status")
    assert result.exit_code == 0
    assert "gateway-1" in result.stdout
    assert f"Control plane {controlplane.url}  version 0.1.0, ok, revision" in result.stdout


async def test_circuits(run: Run, controlplane: ControlPlane) -> None:
    await run("apply", "-f", "-", input=DOCUMENT)
    assert (await run("circuits", "reset", "orders")).exit_code == 0
    assert (await controlplane.store.list("/headgate/v1/reset/")).entries
    result = await run("circuits", "reset", "nope")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no service 'nope'\n")


async def test_a_wrong_password(run: Run, controlplane: ControlPlane) -> None:
    result = await run("login", controlplane.url, "-u", "admin", "--password-stdin", input="nope")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "answered" not in result.stderr


async def test_the_login_renews_itself(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "headgate/credentials.json"
    content = json.loads(path.read_text())
    for login in content["logins"].values():
        login["expires"] = 0
    path.write_text(json.dumps(content))
    assert (await run("get", "routes")).exit_code == 0
    assert all(login["expires"] > 0 for login in json.loads(path.read_text())["logins"].values())


async def test_a_user_who_may_only_look(run: Run, controlplane: ControlPlane) -> None:
    users = "users: [{username: looker, password: looking-only, scopes: ['gateway:read']}]"
    await run("apply", "-f", "-", input=users)
    await run("login", controlplane.url, "-u", "looker", "--password-stdin", input="looking-only")
    assert (await run("status")).exit_code == 0
    result = await run("delete", "route", "headgate-api")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    said = "user 'looker' needs the scope gateway:admin, and this token holds gateway:read"
    assert said in result.stderr
    assert "Scopes: gateway:read\n" in (await run("whoami")).stdout


async def test_the_store_is_away(run: Run, controlplane: ControlPlane) -> None:
    controlplane.store.available = False
    result = await run("apply", "-f", "-", input=DOCUMENT)
    assert result.exit_code == 1
    assert "etcd" in result.stderr or "store" in result.stderr
    controlplane.store.available = True


async def test_a_token_for_one_service(run: Run, controlplane: ControlPlane, tmp_path: Path) -> None:
    made = await run("token", "service", "orders", "--days", "1")
    assert made.exit_code == 0, made.output
    file = tmp_path / "orders.token"
    file.write_text(made.stdout)

    def registration(service: str) -> headgate.Registration:
        token = headgate.token_file(file)
        return headgate.register(
            headgate.ServiceDefinition(service),
            port=9001,
            controlplane=controlplane.grpc,
            token=token,
            handle_sigterm=False,
        )

    async with registration("orders") as orders:
        assert orders.registered
        with pytest.raises(headgate.Forbidden, match="is for service 'orders', not for 'payments'"):
            async with registration("payments"):
                pass
    refused = await run("token", "service", "Not a name")
    assert refused.exit_code == 1
    assert "service_name" in refused.stderr


async def test_labels_built_in_resources_and_the_end_of_a_draining(
    run: Run, controlplane: ControlPlane
) -> None:
    labelled = DOCUMENT.replace("rate_limits: [calm]}", "rate_limits: [calm], labels: {team: shop}}")
    assert (await run("apply", "-f", "-", input=labelled)).exit_code == 0
    chosen = await run("get", "routes", "-l", "team=shop", "-o", "json")
    assert [route["name"] for route in json.loads(chosen.stdout)] == ["orders"]
    assert json.loads((await run("get", "routes", "-l", "team=pay", "-o", "json")).stdout) == []

    defeated = "routes: [{name: headgate-api, prefix: /elsewhere, service_name: controlplane, public: true}]"
    for command, text in (
        (("apply", "-f", "-"), defeated),
        (("patch", "route", "headgate-api", "-p", "-"), "prefix: /x"),
    ):
        refused = await run(*command, input=text)
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
        assert (
            "with this change the gateway no longer routes /api/v1 to the admin API. --force makes"
            in refused.stderr
        )
        assert (await run(*command, "--force", input=text)).exit_code == 0
        back = await run("patch", "route", "headgate-api", "-p", "prefix: /api/v1")
        assert back.exit_code == 0
    assert (await run("diff", "-f", "-", input=defeated)).exit_code == 1
    made = await run("apply", "-f", "-", "--force", "-o", "json", input=defeated)
    past = str(json.loads(made.stdout)["revision"])
    assert (await run("patch", "route", "headgate-api", "-p", "prefix: /api/v1")).exit_code == 0
    assert "--force makes the change" in (await run("rollback", "--to", past)).stderr
    assert (await run("rollback", "--to", past, "--force")).exit_code == 0

    refused = await run("delete", "route", "headgate-api")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "is built in" in refused.stderr
    assert "--force deletes it" in refused.stderr
    assert (await run("delete", "route", "headgate-api", "--force")).exit_code == 0

    service = headgate.ServiceDefinition("payments")
    async with headgate.register(
        service,
        instance_id="p",
        port=9001,
        controlplane=controlplane.grpc,
        token="the-services-token",
        handle_sigterm=False,
    ) as registration:
        assert registration.registered
        assert (await run("drain", "payments", "p", "--timeout", "5")).exit_code == 0

        async def drains() -> bool:
            return "draining" in (await run("get", "instance", "p")).stdout

        await eventually(drains)
        undone = await run("drain", "payments", "p", "--undo")
        assert (undone.exit_code, undone.stdout) == (0, "Instance payments/p takes requests again\n")

        async def takes_requests() -> bool:
            return "draining" not in (await run("get", "instance", "p")).stdout

        await eventually(takes_requests)
