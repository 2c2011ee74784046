"""Certificate files are seen to change by more than their time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.tls import TlsFiles, tls_name
from tests.support.certificates import Authority


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    for name in ("old.pem", "new.pem", "key.pem"):
        (tmp_path / name).write_text("of the same length")
        # As in images and packages that are made the same each time.
        os.utime(tmp_path / name, ns=(1, 1))
    (tmp_path / "cert.pem").symlink_to("old.pem")
    return TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_another_file_in_its_place(files: TlsFiles) -> None:
    before = files.stamps()
    assert files.stamps() == before
    files.cert.unlink()
    assert files.stamps() == ()
    files.cert.symlink_to("new.pem")
    assert files.stamps() not in (before, ())


def test_a_file_that_grew_within_one_tick_of_the_clock(files: TlsFiles) -> None:
    before = files.stamps()
    with files.key.open("a") as key:
        key.write("and more")
    os.utime(files.key, ns=(1, 1))
    assert files.stamps() != before


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (("*.example.org",), "controlplane.example.org"),
        (("*.example.org", "admin.example.org"), "admin.example.org"),
        (("127.0.0.1",), ""),
    ],
)
def test_a_wildcard_is_verified_by_a_name_that_it_covers(
    tmp_path: Path, hosts: tuple[str, ...], name: str
) -> None:
    cert, _ = Authority(tmp_path).issue("controlplane", hosts=hosts)
    assert tls_name(cert) == name
