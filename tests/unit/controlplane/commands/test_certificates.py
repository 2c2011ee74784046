"""Private keys on their way into the store: encrypted once, kept, and never read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.identity.errors import WrongSecretKey
from controlplane.identity.passwords import Hasher
from controlplane.identity.sealing import Sealer
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Certificate
from controlplane.store.memory import MemoryStore
from tests.support.certificates import Authority

SEALER = Sealer("s" * 32)


@pytest.fixture
def commands() -> Commands:
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    return Commands(MemoryStore(), hasher, lambda: 0.0, seal=SEALER.seal)


def raw(files: tuple[Path, Path], **fields: Any) -> dict[str, Any]:
    certificate, key = (file.read_text() for file in files)
    return {"name": "shop", "certificate": certificate, "private_key": key, **fields}


async def sealed(commands: Commands) -> str:
    found = (await commands.get("certificate", "shop")).resource
    assert isinstance(found, Certificate) and found.private_key is None
    return found.sealed


async def apply(commands: Commands, fields: dict[str, Any], **options: Any) -> list[str]:
    receipt = await commands.apply({"certificates": [fields]}, author="me", **options)
    return [change.action for change in receipt.changes]


async def test_a_key_is_encrypted_and_stays(commands: Commands, tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("one")
    assert await apply(commands, raw(files), dry_run=True) == ["create"]
    assert await apply(commands, raw(files)) == ["create"]
    stored = await sealed(commands)
    assert SEALER.open(stored) == files[1].read_text()
    assert "PRIVATE" not in str((await commands._store.list("")).entries)
    # Again, with the key and without it: nothing changes.
    assert await apply(commands, raw(files)) == ["unchanged"]
    without = raw(files)
    del without["private_key"]
    assert await apply(commands, without) == ["unchanged"]
    assert await apply(commands, without | {"description": "of the shop"}) == ["update"]
    assert await sealed(commands) == stored


async def test_a_certificate_needs_its_key(commands: Commands, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = raw(authority.issue("one")), raw(authority.issue("other"))
    without = {name: value for name, value in one.items() if name != "private_key"}
    with pytest.raises(InvalidConfig, match=r"certificates\[0\]\.private_key: is required$"):
        await apply(commands, without)
    await apply(commands, one)
    with pytest.raises(InvalidConfig, match="is required: the certificate is for another key"):
        await apply(commands, without | {"certificate": other["certificate"]})
    assert await apply(commands, other) == ["update"]
    assert SEALER.open(await sealed(commands)) == other["private_key"]


async def test_a_certificate_in_use_stays(commands: Commands, tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("one")
    listener = {"name": "web", "port": 443, "protocol": "https", "certificates": ["shop"]}
    with pytest.raises(InvalidConfig, match="certificate 'shop' does not exist"):
        await commands.apply({"listeners": [listener]}, author="me")
    await commands.apply({"listeners": [listener], "certificates": [raw(files)]}, author="me")
    with pytest.raises(InvalidConfig, match="certificate 'shop' is needed by listener 'web'"):
        await commands.delete("certificate", "shop", author="me")


async def test_files_need_no_key_and_drop_that_of_before(commands: Commands, tmp_path: Path) -> None:
    files = {"name": "shop", "files": {"certificate": "shop/tls.crt", "private_key": "shop/tls.key"}}
    pair = raw(Authority(tmp_path).issue("one"))
    assert await apply(commands, files) == ["create"]
    assert await apply(commands, pair) == ["update"]
    assert await apply(commands, files) == ["update"]
    assert await sealed(commands) == ""
    without = {name: value for name, value in pair.items() if name != "private_key"}
    with pytest.raises(InvalidConfig, match="private_key: is required"):
        await apply(commands, without)


async def test_apply_warns_of_the_end(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("one")
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    commands = Commands(MemoryStore(), hasher, lambda: 1e10, seal=SEALER.seal)
    receipt = await commands.apply({"certificates": [raw(files)]}, author="me")
    (warning,) = receipt.warnings
    assert str(warning).startswith("certificates[0].certificate: expired on ")


async def test_without_a_key_to_encrypt_it_none_is_stored(tmp_path: Path) -> None:
    commands = Commands(MemoryStore(), Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    with pytest.raises(InvalidConfig, match="there is no key to encrypt it with"):
        await apply(commands, raw(Authority(tmp_path).issue("one")))


def test_another_secret_key_opens_nothing() -> None:
    one = SEALER.seal("text")
    assert SEALER.opened(one) == "text" and SEALER.seal("text") != one
    with pytest.raises(WrongSecretKey):
        Sealer("t" * 32).open(one)
    assert Sealer("t" * 32).opened(one) == ""
