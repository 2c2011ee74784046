"""export → apply: no change in the same store, and the same configuration in an empty one. With sync, end to end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.api.exporting import document_of
from controlplane.commands.commands import Commands
from controlplane.identity.passwords import Hasher
from controlplane.identity.sealing import Sealer
from controlplane.model.problems import InvalidConfig
from controlplane.store.memory import MemoryStore
from headgate.cli.exporting import exported
from headgate.cli.render import yaml_text
from headgate.cli.sources import Source
from tests.support.certificates import Authority
from tests.support.pages import ROOT, all_pages, blocks
from tests.support.resource_files import is_document, read

Document = dict[str, list[dict[str, Any]]]


def new_commands() -> Commands:
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    return Commands(MemoryStore(), hasher, lambda: 0.0, seal=Sealer("s" * 32).seal)


async def export(commands: Commands) -> Document:
    return document_of(await commands.configuration())


def as_file(document: Document) -> object:
    """What `apply` reads of what `export` writes."""
    written = yaml_text(exported(document))
    (read,) = Source("a.yaml", written).documents({"NAME": "wrong", "HOME": "wrong"})
    return read


async def check(document: Mapping[str, object]) -> None:
    commands = new_commands()
    await commands.apply(document, author="me")
    await check_export(commands)


async def check_export(commands: Commands) -> None:
    held = await export(commands)
    again = as_file(held)
    receipt = await commands.apply(again, author="me", dry_run=True)
    assert {change.action for change in receipt.changes} <= {"unchanged"}
    empty = new_commands()
    await empty.apply(again, author="me")
    assert await export(empty) == held


async def test_the_demo() -> None:
    await check(yaml.safe_load((ROOT / "examples/demo.yaml").read_text()))


def in_pages() -> list[Any]:
    found = []
    for page in all_pages():
        for block in blocks(page):
            if block.language == "yaml" and block.page.parent.name == "how-to":
                found += [pytest.param(block.text, id=block.place)]
    return found


@pytest.mark.parametrize("text", in_pages())
async def test_the_examples_of_the_pages(text: str) -> None:
    for document in filter(is_document, read(text)):
        commands = new_commands()
        # An example may name what another one declares.
        with contextlib.suppress(InvalidConfig):
            await commands.apply(document, author="me")
        await check_export(commands)


TEXTS = st.one_of(
    st.sampled_from(
        [
            "${NAME}",
            "$$",
            "${HOME:-x}",
            "5$",
            "on",
            "null",
            "1e3",
            "0x10",
            "~",
            "- a",
            "a: b",
            "# c",
            " a\nb ",
        ]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40),
    st.text("${}:-a\n", max_size=20),
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,10}[a-z0-9])?", fullmatch=True)
LABELS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9._/-]{1,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9._/@:+-]{0,20}", fullmatch=True),
    max_size=3,
)
FOR_PEOPLE = {"description": TEXTS, "labels": LABELS}
SECONDS = st.floats(1, 100, allow_nan=False).map(lambda value: round(value, 3))


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional={**optional, **FOR_PEOPLE})


SERVICES = some(
    {"service_name": NAMES},
    {
        "check_path": st.sampled_from(["/up", "/a$b", "/$$"]),
        "check_interval": SECONDS,
        "load_balancer": st.sampled_from(["round_robin", "least_request", "ip_hash"]),
        "circuit": st.fixed_dictionaries({}, optional={"failure_threshold": st.integers(1, 100)}),
        "timeouts": st.fixed_dictionaries({}, optional={"connect": SECONDS, "idle": SECONDS}),
        "retries": st.fixed_dictionaries({}, optional={"attempts": st.integers(0, 3)}),
        "instances": st.just(
            [{"instance_id": "a", "host": "127.0.0.1", "port": 9001, "metadata": {"k": "${A}"}}]
        ),
    },
)
ROUTES = some(
    {"name": NAMES},
    {
        "hosts": st.just(["*.example.org"]),
        "methods": st.sampled_from([[], ["GET"], ["PUT", "POST"]]),
        "headers": st.just([{"name": "x-a", "regex": "^a$"}]),
        "public": st.booleans(),
        "request_headers": st.sampled_from([{"set": {"x-a": "${NAME} $$ %{address}"}}, {"remove": ["x-b"]}]),
        "timeout": SECONDS,
    },
)


@st.composite
def configurations(draw: st.DrawFn) -> Document:
    services = draw(st.lists(SERVICES, max_size=4, unique_by=lambda one: one["service_name"]))
    to = [one["service_name"] for one in services]
    routes = draw(st.lists(ROUTES, max_size=4 if to else 0, unique_by=lambda one: one["name"]))
    for route in routes:
        route["service_name"] = draw(st.sampled_from(to))
        route[draw(st.sampled_from(["prefix", "path"]))] = draw(st.sampled_from(["/", "/a", "/a$", "/$$/b"]))
        if draw(st.booleans()):
            route.pop("prefix", None)
            route.pop("path", None)
            route["path_regex"] = draw(st.sampled_from(["/a/[0-9]+$", "^/[$]{2}x", r"/\$\{NAME\}"]))
    scopes = draw(st.lists(some({"name": NAMES}, {}), max_size=3, unique_by=lambda one: one["name"]))
    return {"services": services, "routes": routes, "scopes": scopes}


@given(configurations())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_configuration(document: Document) -> None:
    await check(document)


async def test_secrets_stay_in_the_store_and_are_needed_in_a_new_one(tmp_path: Path) -> None:
    commands, (pem, key) = new_commands(), Authority(tmp_path).issue("shop")
    shop = {"name": "shop", "certificate": pem.read_text(), "private_key": key.read_text()}
    document = {"certificates": [shop], "users": [{"username": "jo", "password": "a-long-password"}]}
    await commands.apply(document, author="me")
    before = (await commands.find_user("jo"), await commands.get("certificate", "shop"))
    file = as_file(await export(commands))
    assert "PRIVATE" not in str(file) and "argon2" not in str(file)
    receipt = await commands.apply(file, author="me")
    assert {change.action for change in receipt.changes} == {"unchanged"}
    assert (await commands.find_user("jo"), await commands.get("certificate", "shop")) == before
    with pytest.raises(InvalidConfig, match=r"certificates\[0\].private_key: is required"):
        await new_commands().apply(file, author="me")
