"""What becomes of the settings that say how control planes are reached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataplane.settings import SettingsError, load
from dataplane.uplink import endpoint
from tests.support.certificates import Authority

TOKEN = "t" * 20


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"DATAPLANE_TOKEN": TOKEN})
    monkeypatch.chdir(tmp_path)


def test_the_credential_is_sent_and_not_shown() -> None:
    made = endpoint(load())
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
    endpoint(load())
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
    made = endpoint(load())
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
