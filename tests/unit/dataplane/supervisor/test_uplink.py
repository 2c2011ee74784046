"""What becomes of the settings that say how control planes are reached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataplane.settings import SettingsError, load
from dataplane.supervisor.uplink import Uplink
from tests.support.certificates import Authority

TOKEN = "t" * 20


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"DATAPLANE_TOKEN": TOKEN})
    monkeypatch.chdir(tmp_path)


def test_the_credential_is_sent_and_not_shown() -> None:
    made = Uplink(load()).control_planes()
    assert made.metadata == (("authorization", f"Bearer {TOKEN}"),)
    assert TOKEN not in repr(made)


@pytest.mark.parametrize(
    ("addresses", "warned"),
    [
        ("127.0.0.1:1,[::1]:2,localhost:3", ""),
        ("127.0.0.1:1,controlplane:50051", "controlplane:50051"),
        ("10.0.0.1:1,b:2", "10.0.0.1:1, b:2"),
    ],
)
def test_a_credential_that_travels_unencrypted_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, addresses: str, warned: str
) -> None:
    monkeypatch.setenv("CONTROLPLANE", addresses)
    Uplink(load())
    assert bool(caplog.records) == bool(warned)
    assert warned in caplog.text


def test_certificates_are_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("dataplane")
    monkeypatch.setenv("CONTROLPLANE", "controlplane:50051")
    monkeypatch.setenv("CONTROLPLANE_CA", str(authority.certificate))
    monkeypatch.setenv("CONTROLPLANE_CERT", str(cert))
    monkeypatch.setenv("CONTROLPLANE_KEY", str(key))
    made = Uplink(load()).control_planes()
    assert made.metadata == (("authorization", f"Bearer {TOKEN}"),)
    assert (made.ca, made.cert, made.key) == (
        authority.certificate.read_bytes(),
        cert.read_bytes(),
        key.read_bytes(),
    )
    assert not caplog.records


def test_a_key_that_is_not_the_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, _ = authority.issue("one")
    _, key = authority.issue("two")
    for name, file in (("CA", authority.certificate), ("CERT", cert), ("KEY", key)):
        monkeypatch.setenv(f"CONTROLPLANE_{name}", str(file))
    with pytest.raises(SettingsError, match=r"CONTROLPLANE_KEY: .* is not the unencrypted private key of"):
        load()


def install(pair: tuple[Path, Path], target: tuple[Path, Path]) -> None:
    for source, place in zip(pair, target, strict=True):
        place.write_bytes(source.read_bytes())


def test_renewed_files_are_taken_up_and_bad_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    authority, token = Authority(tmp_path / "ca"), tmp_path / "token"
    files = tmp_path / "node.pem", tmp_path / "node.key"
    install(authority.issue("first"), files)
    token.write_text("the-first-of-the-tokens")
    monkeypatch.delenv("DATAPLANE_TOKEN")
    monkeypatch.setenv("DATAPLANE_TOKEN_FILE", str(token))
    for name, file in (("CA", authority.certificate), ("CERT", files[0]), ("KEY", files[1])):
        monkeypatch.setenv(f"CONTROLPLANE_{name}", str(file))
    uplink = Uplink(load())
    first = uplink.control_planes()
    # Half of a pair is renewed: nothing of it counts, and it is said once.
    second = authority.issue("second")
    files[0].write_bytes(second[0].read_bytes())
    assert uplink.control_planes() == first == uplink.control_planes()
    install(second, files)
    token.write_text("the-second-of-the-tokens")
    renewed = uplink.control_planes()
    assert (renewed.token, renewed.cert) == ("the-second-of-the-tokens", second[0].read_bytes())
    for broken in (token, files[0], authority.certificate):
        content = broken.read_bytes()
        broken.write_bytes(b"")
        assert uplink.control_planes() == renewed
        broken.write_bytes(content)
        assert uplink.control_planes() == renewed
    token.unlink()
    assert uplink.control_planes() == renewed
    levels = [record.levelname for record in caplog.records]
    assert levels.count("ERROR") == 5
    assert "of-the-tokens" not in caplog.text


def test_a_certificate_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("dataplane")
    monkeypatch.delenv("DATAPLANE_TOKEN")
    for name, file in (("CA", authority.certificate), ("CERT", cert), ("KEY", key)):
        monkeypatch.setenv(f"CONTROLPLANE_{name}", str(file))
    assert Uplink(load()).control_planes().metadata == ()
