"""Settings for etcd are right, or refused at once with every fault in one message and no secret in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.store import EtcdSettings
from tests.support.certificates import Authority


def test_the_usual() -> None:
    settings = EtcdSettings(endpoints=("http://a:2379", "http://[::1]:2379"), username="gate", password="pw")
    assert settings.addresses == ("a:2379", "[::1]:2379")
    assert settings.credentials() is None


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(EtcdSettings(username="gate", password="s3cret"))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"endpoints": ()}, "no endpoint"),
        ({"endpoints": ("a:2379",)}, "'a:2379' is not like http://host:2379"),
        ({"endpoints": ("http://a",)}, "'http://a' is not like"),
        ({"endpoints": ("http://:2379",)}, "is not like"),
        ({"endpoints": ("http://a:port",)}, "is not like"),
        ({"endpoints": ("http://a:99999",)}, "is not like"),
        ({"endpoints": ("ftp://a:2379",)}, "is not like"),
        ({"endpoints": ("",)}, "is not like"),
        ({"endpoints": ("http://a:2379/v3",)}, "must end with its port"),
        ({"endpoints": ("http://a:1", "https://b:1")}, "must not mix"),
        ({"ca": Path("ca.pem")}, "do not use https"),
        ({"endpoints": ("https://a:1",), "cert": Path("c")}, "must be given together"),
        ({"endpoints": ("https://a:1",), "key": Path("k")}, "must be given together"),
        ({"username": "gate"}, "user name and password must be given together"),
        ({"password": "pw"}, "user name and password must be given together"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": 61.0}, "timeout"),
    ],
)
def test_what_is_wrong(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=r"^etcd: ") as error:
        EtcdSettings(**wrong)
    assert problem in str(error.value)


def test_every_fault_at_once() -> None:
    with pytest.raises(ValueError, match=r"'a' .*'b' .*timeout"):
        EtcdSettings(endpoints=("a", "b"), timeout=-1)


def test_credentials_in_an_endpoint_are_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="must not contain credentials") as error:
        EtcdSettings(endpoints=("http://gate:s3cret@a:2379",))
    assert "s3cret" not in str(error.value)


class TestCertificates:
    def settings(self, **files: Path) -> EtcdSettings:
        return EtcdSettings(endpoints=("https://a:2379",), **files)  # type: ignore[arg-type]

    def test_right_ones(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        cert, key = authority.issue("client")
        assert self.settings(ca=authority.certificate, cert=cert, key=key).credentials() is not None

    def test_the_public_authorities(self) -> None:
        assert self.settings().credentials() is not None

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"CA certificates \(.*absent\.pem\): No such file"):
            self.settings(ca=tmp_path / "absent.pem").credentials()

    def test_a_missing_key_is_named(self, tmp_path: Path) -> None:
        cert, key = Authority(tmp_path).issue("client")
        key.unlink()
        with pytest.raises(ValueError, match=r"client certificate and key \(.*client\.key\): No such file"):
            self.settings(cert=cert, key=key).credentials()

    def test_what_is_no_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("hello")
        with pytest.raises(ValueError, match=r"CA certificates \(.*ca\.pem\)"):
            self.settings(ca=tmp_path / "ca.pem").credentials()

    def test_a_key_of_another_certificate(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        (cert, _), (_, key) = authority.issue("one"), authority.issue("two")
        with pytest.raises(ValueError, match="client certificate and key"):
            self.settings(cert=cert, key=key).credentials()
