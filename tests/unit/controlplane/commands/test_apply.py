"""A document is applied as a whole or not at all, on the working fake of the store."""

from __future__ import annotations

from controlplane.commands.commands import Commands
from controlplane.commands.staging import MOST_CHANGES
from tests.unit.controlplane.commands.raced_store import (
    DOCUMENT,
    LIMIT,
    NOW,
    ROUTE,
    SCOPE,
    SERVICE,
    CountingHasher,
    RacedStore,
    actions,
    change,
    refused,
)


async def test_a_document_is_written_in_one_transaction(store: RacedStore, commands: Commands) -> None:
    before = store.revision
    receipt = await commands.apply(DOCUMENT, author="me")
    assert actions(receipt) == ["create service/orders", "create route/orders", "create scope/orders:read"]
    assert receipt.revision == store.revision == before + 1
    assert {entry.revision for entry in (await store.list("/headgate/v1/")).entries} == {receipt.revision}
    assert await change(store) == {
        "author": "me",
        "time": NOW,
        "summary": "create service/orders, create route/orders, create scope/orders:read",
    }


async def test_what_is_there_already_is_not_written_again(store: RacedStore, commands: Commands) -> None:
    first = await commands.apply(DOCUMENT, author="me")
    again = await commands.apply(DOCUMENT, author="you")
    assert {change.action for change in again.changes} == {"unchanged"}
    assert (again.revision, store.revision) == (first.revision, first.revision)

    partly = await commands.apply({**DOCUMENT, "scopes": [{**SCOPE, "description": "Look"}]}, author="you")
    assert actions(partly) == [
        "unchanged service/orders",
        "unchanged route/orders",
        "update scope/orders:read",
    ]
    assert (await commands.get("route", "orders")).revision == first.revision
    assert (await commands.get("scope", "orders:read")).revision == partly.revision


async def test_what_a_document_leaves_out_is_left_alone(commands: Commands) -> None:
    await commands.apply(DOCUMENT, author="me")
    await commands.apply({"rate_limits": [LIMIT]}, author="me")
    assert [stamped.resource.name for stamped in await commands.list("route")] == ["orders"]


async def test_references_may_lead_to_the_store(commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    await commands.apply({"routes": [ROUTE]}, author="me")


async def test_a_wrong_document_writes_nothing_and_tells_everything(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    await commands.apply(DOCUMENT, author="me")
    before = await store.list("/")
    said = await refused(
        commands.apply(
            {
                "services": [{"service_name": "fine"}, {"service_name": "Not fine"}],
                "routes": [
                    {"name": "other", "prefix": "/orders", "service_name": "orders"},
                    {"name": "lost", "prefix": "/lost", "service_name": "lost", "scopes": ["x"]},
                ],
                "users": [{"username": "u", "password": "testpass", "scopes": ["orders:write"]}],
            },
            author="me",
        )
    )
    assert [text.split(": ")[0] for text in said] == [
        "services[1].service_name",
        "routes[1].service_name",
        "routes[1].scopes[0]",
        "users[0].scopes[0]",
    ]
    assert await store.list("/") == before
    assert hasher.hashed == 0


async def test_very_many_problems_are_cut_short(commands: Commands) -> None:
    said = await refused(commands.apply({"routes": [5] * 1000}, author="me"))
    assert len(said) == 201
    assert said[-1] == "and 800 more problems"
    assert (await refused(commands.apply({"routes": [5] * 201}, author="me")))[-1] == "and 1 more problem"


async def test_a_dry_run_checks_the_same_and_writes_nothing(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    user = {"username": "u", "password": "testpass"}
    receipt = await commands.apply({**DOCUMENT, "users": [user]}, author="me", dry_run=True)
    assert "create user/u" in actions(receipt)
    assert (await store.list("/")).entries == ()
    assert hasher.hashed == 0
    await refused(commands.apply({"routes": [ROUTE]}, author="me", dry_run=True))

    await commands.apply({"users": [user]}, author="me")
    assert actions(await commands.apply({"users": [user]}, author="me", dry_run=True)) == ["unchanged user/u"]
    other = {"username": "u", "password": "otherpass"}
    assert actions(await commands.apply({"users": [other]}, author="me", dry_run=True)) == ["update user/u"]


async def test_a_change_is_bounded(store: RacedStore, commands: Commands) -> None:
    scopes = [{"name": f"s{number}"} for number in range(MOST_CHANGES + 1)]
    said = await refused(commands.apply({"scopes": scopes}, author="me"))
    assert said == ["would change 20001 resources; one change changes at most 20000: apply it in parts"]
    assert (await store.list("/")).entries == ()


async def test_a_change_is_no_larger_than_one_request(store: RacedStore, commands: Commands) -> None:
    instance = {"host": "h", "port": 1, "metadata": {f"key{number}": "x" * 256 for number in range(32)}}
    instances = [{"instance_id": str(number), **instance} for number in range(256)]
    (said,) = await refused(commands.apply({"services": [{**SERVICE, "instances": instances}]}, author="me"))
    assert said.startswith("does not fit into one transaction")
    assert (await store.list("/")).entries == ()


async def test_very_many_passwords_are_refused_before_any_is_compared(commands: Commands) -> None:
    users = [{"username": f"u{number}", "password": "testpass"} for number in range(128)]
    assert await refused(commands.apply({"users": users}, author="me")) == [
        "users: sets 128 passwords; one change sets at most 127"
    ]


async def test_the_author_s_name_is_bounded(store: RacedStore, commands: Commands) -> None:
    await commands.apply(DOCUMENT, author="x" * 1000)
    assert (await change(store))["author"] == "x" * 128
