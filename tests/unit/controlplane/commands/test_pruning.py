"""A document with prune: the store becomes equal to it within the selection, and nothing of others is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import PlanChanged, Receipt
from controlplane.commands.plans.pruning import Prune
from controlplane.identity.sealing import Sealer
from controlplane.model.labels import MANAGED_BY
from controlplane.model.resources import Instance, Service
from tests.support.certificates import Authority
from tests.unit.controlplane.commands.raced_store import (
    NOW,
    CountingHasher,
    RacedStore,
    actions,
    elsewhere,
    refused,
)

A, B = {"team": "a"}, {"team": "b"}
TEAM_A = Prune((("team", "a"),))
EVERYTHING = Prune()


def service(name: str, labels: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {"service_name": name, "labels": labels or {}, **fields}


def route(name: str, to: str, labels: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "prefix": f"/{name}", "service_name": to, "labels": labels or {}, **fields}


BEFORE = {
    "services": [service("kept", A), service("old", A), service("theirs", B)],
    "routes": [route("kept", "kept", A), route("old", "old", A), route("theirs", "theirs", B)],
}
AFTER = {"services": [service("kept", A)], "routes": [route("kept", "kept", A), route("new", "kept", A)]}
PLANNED = [
    "unchanged service/kept",
    "unchanged route/kept",
    "create route/new",
    "delete service/old",
    "delete route/old",
]


async def pruned(commands: Commands, document: object, prune: Prune = TEAM_A, **options: Any) -> Receipt:
    return await commands.apply(document, author="me", prune=prune, **options)


def kept(receipt: Receipt) -> list[str]:
    return [f"{one.kind}/{one.name}: {one.reason}" for one in receipt.spared]


async def test_within_a_label(store: RacedStore, commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    revision = store.revision
    dry = await pruned(commands, AFTER, dry_run=True)
    assert (actions(dry), store.revision) == (PLANNED, revision)
    assert {(edit.action, edit.name) for edit in dry.edits} == {("create", "new"), ("delete", "old")}
    receipt = await pruned(commands, AFTER, plan=dry.plan)
    assert actions(receipt) == PLANNED
    # One transaction: what refers to each other goes together.
    assert store.revision == receipt.revision == revision + 1
    assert [one.resource.name for one in await commands.list("route")] == ["kept", "new", "theirs"]
    again = await pruned(commands, AFTER)
    assert {change.action for change in again.changes} == {"unchanged"}
    # It is in the history, and a rollback restores what was deleted.
    await commands.rollback(revision, author="me")
    assert [one.resource.name for one in await commands.list("route")] == ["kept", "old", "theirs"]


async def test_everything(commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    receipt = await pruned(commands, AFTER, EVERYTHING)
    assert "delete route/theirs" in actions(receipt)
    assert [one.resource.name for one in await commands.list("service")] == ["kept"]


async def test_of_a_plan_that_another_change_has_made_another_nothing_is_done(
    store: RacedStore, commands: Commands
) -> None:
    await commands.apply(BEFORE, author="me")
    plan = (await pruned(commands, AFTER, dry_run=True)).plan
    other = elsewhere(store)
    await other.put("route", route("late", "old", A), author="other")
    revision = store.revision
    with pytest.raises(PlanChanged, match="changed since the dry run"):
        await pruned(commands, AFTER, plan=plan)
    assert store.revision == revision
    # Changes of others within the selection are not the only ones that count: a resource to delete was updated.
    plan = (await pruned(commands, AFTER, dry_run=True)).plan
    await other.put("route", route("old", "old", A, description="more"), author="other")
    with pytest.raises(PlanChanged):
        await pruned(commands, AFTER, plan=plan)
    # A change beside it is none of this plan.
    plan = (await pruned(commands, AFTER, dry_run=True)).plan
    await other.put("scope", {"name": "beside"}, author="other")
    assert "delete route/late" in actions(await pruned(commands, AFTER, plan=plan))


async def test_a_change_that_comes_between_plan_and_write(store: RacedStore, commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    plan = (await pruned(commands, AFTER, dry_run=True)).plan
    store.rivals = [lambda: elsewhere(store).put("route", route("late", "old", A), author="other")]
    with pytest.raises(PlanChanged):
        await pruned(commands, AFTER, plan=plan)


async def test_what_others_need_stays_and_all_of_it_is_named(store: RacedStore, commands: Commands) -> None:
    more = {"scopes": [{"name": "s", "labels": A}], "users": [{"username": "jo", "scopes": ["s"]}]}
    document = {**BEFORE, **more, "routes": [*BEFORE["routes"], route("leads", "old", B)]}
    await commands.apply(document, author="me")
    revision = store.revision
    assert await refused(pruned(commands, AFTER)) == [
        "service/old: is not declared and would be deleted, but route 'leads' needs it",
        "scope/s: is not declared and would be deleted, but user 'jo' needs it",
    ]
    leading = {**AFTER, "routes": [route("new", "old", A)]}
    assert "routes[0].service_name: service 'old' does not exist" in await refused(pruned(commands, leading))
    assert store.revision == revision


async def test_a_declared_route_may_stop_needing_what_is_deleted(commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    moved = {"services": [service("kept", A)], "routes": [route("old", "kept", A), route("kept", "kept", A)]}
    assert "delete service/old" in actions(await pruned(commands, moved))


async def test_empty_documents_and_resources_outside_of_the_selection(commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    (told,) = await refused(pruned(commands, {"routes": []}))
    assert told.startswith("declares nothing, so everything that is selected would be deleted")
    outside = {"services": [service("kept", A), service("old", B)], "routes": [route("kept", "kept")]}
    assert await refused(pruned(commands, outside)) == [
        "services[1].labels: must have team=a, as every resource of this change",
        "routes[0].labels: must have team=a, as every resource of this change",
    ]
    emptied = await pruned(commands, {}, Prune((("team", "a"),), empty=True))
    assert {change.action for change in emptied.changes} == {"delete"}
    assert [one.resource.name for one in await commands.list("service")] == ["theirs"]


async def test_taking_over_is_said(commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    stolen = {**AFTER, "services": [service("kept", A), service("theirs", A)]}
    dry = await pruned(commands, stolen, dry_run=True)
    assert list(map(str, dry.warnings)) == [
        "services[1].labels: takes it over: the stored one has team=b",
    ]


async def test_a_label_with_any_value(commands: Commands) -> None:
    await commands.apply(BEFORE, author="me")
    receipt = await pruned(commands, AFTER, Prune((("team", None),)))
    assert {one.name for one in receipt.changes if one.action == "delete"} == {"old", "theirs"}


async def test_a_route_takes_the_match_and_a_listener_the_port_of_one_that_is_deleted(
    commands: Commands,
) -> None:
    web = {"name": "web", "port": 8444, "protocol": "http", "labels": A}
    await commands.apply({**BEFORE, "listeners": [web]}, author="me")
    document = {
        **AFTER,
        "listeners": [{**web, "name": "other"}],
        "routes": [route("new", "kept", A, prefix="/old")],
    }
    receipt = await pruned(commands, document)
    assert receipt.warnings == ()
    assert "delete listener/web" in actions(receipt)


async def test_users_certificates_and_built_in_resources_stay(tmp_path: Path) -> None:
    commands = Commands(RacedStore(), CountingHasher(), lambda: NOW, seal=Sealer("s" * 32).seal)
    certificate, key = (file.read_text() for file in Authority(tmp_path).issue("shop"))
    await commands.apply(
        {
            "scopes": [{"name": "gateway:read"}, {"name": "mine"}],
            "users": [{"username": "jo"}],
            "certificates": [
                {"name": "shop", "certificate": certificate, "private_key": key},
                # Its key is not in the store.
                {"name": "files", "files": {"certificate": "a.pem", "private_key": "a.key"}},
            ],
        },
        author="me",
    )
    document = {"services": [service("only")]}
    receipt = await pruned(commands, document, EVERYTHING)
    assert actions(receipt) == ["create service/only", "delete scope/mine", "delete certificate/files"]
    assert kept(receipt) == [
        "user/jo: users are deleted only if that is asked for (users=true)",
        "certificate/shop: certificates are deleted only if that is asked for (certificates=true)",
    ]
    receipt = await pruned(commands, document, Prune(users=True, certificates=True))
    assert actions(receipt)[1:] == ["delete user/jo", "delete certificate/shop"]
    assert await commands.list("scope") != ()


async def test_the_last_administrator_stays(commands: Commands) -> None:
    admin = {"username": "root", "password": "a-long-password", "scopes": ["gateway:admin"]}
    await commands.apply({"scopes": [{"name": "gateway:admin"}], "users": [admin]}, author="me")
    (told,) = await refused(pruned(commands, {"services": [service("only")]}, Prune(users=True)))
    assert told.startswith("would leave no user who can change the configuration")


async def test_resources_of_other_programs_stay(commands: Commands) -> None:
    theirs = {MANAGED_BY: "gateway-controller"}
    await commands.apply({"services": [service("theirs", {**theirs, **A}), service("old", A)]}, author="me")
    receipt = await pruned(commands, AFTER)
    assert "delete service/old" in actions(receipt)
    assert kept(receipt) == [
        "service/theirs: managed by 'gateway-controller' (label app.kubernetes.io/managed-by)"
    ]
    # Their owner selects them by that label.
    owner = Prune(tuple(theirs.items()), empty=True)
    assert actions(await pruned(commands, {}, owner)) == ["delete service/theirs"]


async def test_services_of_registered_instances_stay(commands: Commands) -> None:
    await commands.apply({"services": [service("declared", A), service("idle", A)]}, author="me")
    for name, brought in (("declared", None), ("brought", Service(service_name="brought"))):
        instance = Instance(service_name=name, instance_id="1", host="127.0.0.1", port=9001)
        await commands.register(instance, brought, 15)
    receipt = await pruned(commands, {"services": [service("only")]}, EVERYTHING)
    assert actions(receipt) == ["create service/only", "delete service/idle"]
    assert kept(receipt) == [
        "service/brought: instances are registered",
        "service/declared: instances are registered",
    ]


async def test_more_than_one_transaction(store: RacedStore, commands: Commands) -> None:
    many = [service(f"s{number}", A) for number in range(300)]
    await commands.apply({"services": many}, author="me")
    receipt = await pruned(commands, {"services": [service("kept", A)]})
    assert len(receipt.changes) == 301
    assert [one.resource.name for one in await commands.list("service")] == ["kept"]
