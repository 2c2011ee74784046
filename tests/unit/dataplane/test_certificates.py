"""Certificates in files: found in either way, checked as pairs, read again when they change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dataplane.certificates import BadFiles, CertificateWatcher, NodeCertificates, read_certificates
from dataplane.proxy.tls import names_of
from tests.support.certificates import Authority
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def put(authority: Authority, cert: Path, key: Path, host: str) -> None:
    """A new pair, in these places."""
    cert.parent.mkdir(parents=True, exist_ok=True)
    made = authority.issue("made", hosts=[host])
    key.write_bytes(made[1].read_bytes())
    cert.write_bytes(made[0].read_bytes())


def names(certificates: NodeCertificates) -> list[str]:
    return [name for chain in certificates.downstream for name in names_of(chain)]


def test_pairs_and_folders_in_the_order_given(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    put(authority, tmp_path / "one.txt", tmp_path / "one.secret", "one")
    put(authority, folder / "b.crt", folder / "b.key", "b")
    put(authority, folder / "a.pem", folder / "a.key", "a")
    put(authority, folder / "mounted" / "tls.crt", folder / "mounted" / "tls.key", "mounted")
    put(authority, folder / "..data" / "tls.crt", folder / "..data" / "tls.key", "hidden")
    (folder / "lonely.crt").write_text("without a key")
    (folder / "lonely.key").write_text("without a certificate of its suffix")
    (folder / "lonely.crt").rename(folder / "lonely.txt")
    found = read_certificates([f"{tmp_path}/one.txt:{tmp_path}/one.secret", str(folder)])
    assert names(found) == ["one", "a", "b", "mounted"]
    assert found.upstream is None


def test_an_identity_travels(authority: Authority, tmp_path: Path) -> None:
    put(authority, tmp_path / "a.crt", tmp_path / "a.key", "a")
    for found in (
        read_certificates([str(tmp_path)]),
        read_certificates([str(tmp_path)], tmp_path / "a.crt", tmp_path / "a.key"),
        read_certificates([], tmp_path / "a.crt", tmp_path / "a.key"),
        read_certificates([]),
    ):
        assert NodeCertificates.from_bytes(found.to_bytes()) == found
        assert "PRIVATE" not in repr(found)


def test_what_cannot_be_used_is_told_in_one_line(authority: Authority, tmp_path: Path) -> None:
    cert, key = tmp_path / "a.crt", tmp_path / "a.key"
    put(authority, cert, key, "a")
    other = authority.issue("other")[1]
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for place, said in (
        (f"{cert}:{other}", f"{other} is not the unencrypted private key of {cert}"),
        (f"{cert}:{cert}", f"{cert} is not the unencrypted private key of {cert}"),
        (f"{key}:{key}", f"{key} holds no PEM certificate"),
        (f"{broken}:{key}", f"{broken} holds no PEM certificate"),
        (f"{cert}:/nowhere", "cannot read /nowhere: No such file or directory"),
        (f"/nowhere:{key}", "cannot read /nowhere: No such file or directory"),
        (f"{tmp_path}/empty", f"{tmp_path}/empty holds no NAME.crt or NAME.pem beside a NAME.key"),
        ("/nowhere", "'/nowhere' is neither a folder nor certificate:key"),
        (f"{cert}:", "is neither a folder nor certificate:key"),
    ):
        with pytest.raises(BadFiles) as caught:
            read_certificates([place])
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_encrypted_key_is_refused_without_asking_for_its_password(
    authority: Authority, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    cert, key = authority.issue("encrypted")
    loaded = load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.raises(BadFiles, match="is not the unencrypted private key"):
        read_certificates([f"{cert}:{locked}"])


# --- the watch


@contextlib.asynccontextmanager
async def watching(
    folder: Path, every: float
) -> AsyncIterator[tuple[CertificateWatcher, list[NodeCertificates]]]:
    told: list[NodeCertificates] = []
    watch = CertificateWatcher(lambda: read_certificates([str(folder)]), told.append, every)
    task = asyncio.create_task(watch.run())
    try:
        yield watch, told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_new_files_are_told_once(authority: Authority, tmp_path: Path) -> None:
    put(authority, tmp_path / "a.crt", tmp_path / "a.key", "before")
    async with watching(tmp_path, every=0.01) as (watch, told):
        assert names(watch.current) == ["before"] and not told
        put(authority, tmp_path / "a.crt", tmp_path / "a.key", "after")
        await eventually(lambda: told)
        assert names(told[-1]) == names(watch.current) == ["after"]
        put(authority, tmp_path / "b.crt", tmp_path / "b.key", "more")
        await eventually(lambda: names(watch.current) == ["after", "more"])


async def test_they_are_looked_at_when_told_to(authority: Authority, tmp_path: Path) -> None:
    put(authority, tmp_path / "a.crt", tmp_path / "a.key", "before")
    async with watching(tmp_path, every=3600) as (watch, told):
        put(authority, tmp_path / "a.crt", tmp_path / "a.key", "after")
        watch.check_now()
        await eventually(lambda: told)


async def test_what_is_half_written_is_said_once_and_the_old_stays(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(authority, tmp_path / "a.crt", tmp_path / "a.key", "before")
    caplog.set_level(logging.INFO, "dataplane.certificates")
    looks = 0

    def counted() -> NodeCertificates:
        nonlocal looks
        looks += 1
        return read_certificates([str(tmp_path)])

    told: list[NodeCertificates] = []
    watch = CertificateWatcher(counted, told.append, every=0.01)
    task = asyncio.create_task(watch.run())
    (tmp_path / "a.crt").write_bytes(authority.issue("other")[0].read_bytes())
    await eventually(lambda: caplog.records)
    seen = looks
    await eventually(lambda: looks > seen + 3)
    assert not told and names(watch.current) == ["before"]
    (record,) = caplog.records
    assert record.levelname == "ERROR" and "is not the unencrypted private key" in record.getMessage()
    (tmp_path / "a.key").write_bytes(authority.issue("third", hosts=["third"])[1].read_bytes())
    put(authority, tmp_path / "a.crt", tmp_path / "a.key", "after")
    await eventually(lambda: told)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
