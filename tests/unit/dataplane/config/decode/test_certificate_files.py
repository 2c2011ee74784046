"""Certificates that the configuration names by files: read below one folder only, again when they change, and what was
read last stays in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dataplane.config.decode import NOTHING, Bundle, sealed, unpack, unsealed, whole
from dataplane.config.decode.bundle import replayed
from dataplane.config.decode.certificate_files import LARGEST, FileReader
from dataplane.config.items import TableError
from headgate_api.v1.resources_pb2 import Certificate, CertificateFiles, Resource
from tests.support.certificates import Authority
from tests.support.wire import snapshot

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def one(authority: Authority) -> Pair:
    return authority.issue("one")


@pytest.fixture(scope="module")
def other(authority: Authority) -> Pair:
    return authority.issue("other")


def put(folder: Path, pair: Pair) -> None:
    """As a renewal does it: each file is replaced whole."""
    folder.mkdir(exist_ok=True)
    for source, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
        beside = folder / f".{name}"
        beside.write_bytes(source.read_bytes())
        beside.rename(folder / name)


def named(folder: str = "shop", revision: int = 1, name: str = "shop") -> Resource:
    files = CertificateFiles(certificate=f"{folder}/tls.crt", private_key=f"{folder}/tls.key")
    return Resource(name=name, revision=revision, certificate=Certificate(files=files))


def bundle(*resources: Resource) -> Bundle:
    return unpack(snapshot(*resources, revision=1))


def content(found: Bundle, name: str = "shop") -> tuple[str, str]:
    body = found.resources["certificate", name].certificate
    return body.certificate, body.private_key


def texts(pair: Pair) -> tuple[str, str]:
    return pair[0].read_text(), pair[1].read_text()


def read(reader: FileReader, wanted: Bundle, served: Bundle = NOTHING) -> Bundle:
    return reader.filled(wanted, reader.wanted(wanted), served)


def problem(reader: FileReader, wanted: Bundle) -> str:
    with pytest.raises(TableError) as raised:
        read(reader, wanted)
    (found,) = raised.value.problems
    assert found.resource == "certificate/shop"
    return f"{found.field}: {found.detail}"


def test_files_are_read_and_again_when_they_change(tmp_path: Path, one: Pair, other: Pair) -> None:
    put(tmp_path / "shop", one)
    reader = FileReader(tmp_path)
    served = read(reader, bundle(named()))
    assert content(served) == texts(one)
    assert reader.refreshed(served) is served
    put(tmp_path / "shop", other)
    renewed = reader.refreshed(served)
    assert content(renewed) == texts(other)
    assert renewed.digest == served.digest and reader.problems == {}


def test_a_volume_of_kubernetes_is_swapped_by_a_link(tmp_path: Path, one: Pair, other: Pair) -> None:
    folder = tmp_path / "shop"
    put(folder, one)
    for name, pair in (("..1", one), ("..2", other)):
        put(folder / name, pair)
    for name in ("tls.crt", "tls.key"):
        (folder / name).unlink()
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to("..1")
    reader = FileReader(tmp_path)
    served = read(reader, bundle(named()))
    assert content(served) == texts(one)
    (folder / "..new").symlink_to("..2")
    (folder / "..new").rename(folder / "..data")
    assert content(reader.refreshed(served)) == texts(other)


def _missing(folder: Path, _: Pair) -> None:
    (folder / "tls.key").unlink()


def _mixed(folder: Path, other: Pair) -> None:
    (folder / "tls.key").write_bytes(other[1].read_bytes())


def _rubbish(folder: Path, _: Pair) -> None:
    (folder / "tls.crt").write_text("rubbish")


def _large(folder: Path, _: Pair) -> None:
    (folder / "tls.crt").write_bytes(b"x" * (LARGEST + 1))


def _pipe(folder: Path, _: Pair) -> None:
    (folder / "tls.key").unlink()
    os.mkfifo(folder / "tls.key")


def _outside(folder: Path, other: Pair) -> None:
    (folder / "tls.key").unlink()
    (folder / "tls.key").symlink_to(other[1])


def _folder(folder: Path, _: Pair) -> None:
    (folder / "tls.crt").unlink()
    (folder / "tls.crt").mkdir()


def _loop(folder: Path, _: Pair) -> None:
    (folder / "tls.key").unlink()
    (folder / "tls.key").symlink_to("tls.key")


BROKEN = [
    (_missing, "files.private_key: cannot read shop/tls.key in CERTIFICATE_DIR: No such file or directory"),
    (_mixed, "files.private_key: shop/tls.key is not the unencrypted private key of shop/tls.crt"),
    (_rubbish, "files.certificate: shop/tls.crt holds no certificate in PEM"),
    (_large, f"files.certificate: shop/tls.crt is larger than {LARGEST} bytes"),
    (_pipe, "files.private_key: shop/tls.key is not a file"),
    (_folder, "files.certificate: shop/tls.crt is not a file"),
    (_loop, "files.private_key: cannot read shop/tls.key in CERTIFICATE_DIR: its links make a loop"),
    (_outside, "files.private_key: shop/tls.key is not below CERTIFICATE_DIR"),
]


@pytest.mark.parametrize(("damage", "reason"), BROKEN)
def test_what_cannot_be_used_is_a_problem_and_the_last_stays(
    tmp_path: Path, one: Pair, other: Pair, damage: Callable[[Path, Pair], None], reason: str
) -> None:
    put(tmp_path / "shop", one)
    reader = FileReader(tmp_path)
    served = read(reader, bundle(named()))
    damage(tmp_path / "shop", other)
    # A new data plane has nothing else, and rejects the configuration.
    assert problem(FileReader(tmp_path), bundle(named())) == reason
    # This one keeps what it has: now, with a change of the resource, and after a restart from its cache.
    assert content(reader.refreshed(served)) == texts(one)
    assert reader.problems == {"shop": reason.partition(": ")[2]}
    changed = bundle(named(revision=2))
    assert content(read(reader, changed, served)) == texts(one)
    assert content(read(FileReader(tmp_path), served)) == texts(one)
    _repair(tmp_path / "shop")
    put(tmp_path / "shop", other)
    assert content(reader.refreshed(served)) == texts(other)
    assert reader.problems == {}


def _repair(folder: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        if (folder / name).is_dir():
            (folder / name).rmdir()


def test_a_folder_costs_no_descriptor(tmp_path: Path, one: Pair) -> None:
    put(tmp_path / "shop", one)
    _folder(tmp_path / "shop", one)
    reader, before = FileReader(tmp_path), len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        problem(reader, bundle(named()))
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_other_files_do_not_inherit_what_was_read(tmp_path: Path, one: Pair) -> None:
    put(tmp_path / "shop", one)
    reader = FileReader(tmp_path)
    served = read(reader, bundle(named()))
    with pytest.raises(TableError):
        read(reader, bundle(named("elsewhere", 2)), served)


@pytest.mark.parametrize("path", ["../one.crt", "shop/../../one.crt", "/etc/passwd"])
def test_paths_lead_nowhere_else(tmp_path: Path, one: Pair, path: str) -> None:
    """Even if a control plane sends them, which refuses them."""
    put(tmp_path / "shop", one)
    resource = named()
    resource.certificate.files.certificate = path
    assert "is not below CERTIFICATE_DIR" in problem(FileReader(tmp_path), bundle(resource))


def test_without_the_setting_nothing_is_read() -> None:
    assert problem(FileReader(None), bundle(named())) == (
        "files.certificate: this data plane reads no files: CERTIFICATE_DIR is not set"
    )


def test_a_change_reads_only_what_it_touches(tmp_path: Path, one: Pair) -> None:
    put(tmp_path / "shop", one)
    reader = FileReader(tmp_path)
    served = read(reader, bundle(named(), named(name="more")))
    assert reader.wanted(served) == ["more", "shop"]
    touched = frozenset({("certificate", "more")})
    later = replace(served, digest="later", base=served.digest, touched=touched)
    assert reader.wanted(later) == ["more"]
    gone = {key: body for key, body in served.resources.items() if key[1] != "more"}
    last = replace(later, digest="last", base="later", resources=gone)
    assert reader.wanted(last) == []
    assert content(reader.refreshed(last)) == texts(one)


def test_the_cache_keeps_both_and_the_key_is_encrypted(tmp_path: Path, one: Pair) -> None:
    put(tmp_path / "shop", one)
    served = read(FileReader(tmp_path), bundle(named()))
    record = sealed(whole(served), b"k" * 32)
    assert one[1].read_bytes().splitlines()[1] not in record
    assert unsealed(replayed([record]), b"k" * 32).resources == served.resources
