"""Arguments, environment and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate import HeadgateError
from headgate.target import Target


def test_the_default_is_the_local_control_plane() -> None:
    target = Target.make()
    assert target.addresses == ("127.0.0.1:50051",)
    assert target.bearer is None
    assert target.credentials() is None


def test_the_environment_fills_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", "cp-1:50051, cp-2:50051,")
    monkeypatch.setenv("HEADGATE_TOKEN", "secret")
    target = Target.make()
    assert target.addresses == ("cp-1:50051", "cp-2:50051")
    assert target.bearer == "secret"


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", "elsewhere:1")
    monkeypatch.setenv("HEADGATE_TOKEN", "other")
    target = Target.make("here:2", token="mine")
    assert (target.addresses, target.bearer) == (("here:2",), "mine")


def test_a_token_may_be_a_function() -> None:
    tokens = iter(["first", "second"])
    target = Target.make(token=lambda: next(tokens))
    assert [target.bearer, target.bearer] == ["first", "second"]


def test_the_token_is_never_shown() -> None:
    assert "secret" not in repr(Target.make(token="secret"))


def test_ipv6() -> None:
    assert Target.make("[::1]:50051").hosts_and_ports == [("::1", 50051)]


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", "localhost:0", "localhost:65536", "http://localhost:1", "a b:1", ":1"],
)
def test_bad_addresses_are_named(address: str) -> None:
    with pytest.raises(HeadgateError, match="host:port"):
        Target.make(address)


def test_no_address_at_all() -> None:
    with pytest.raises(HeadgateError, match="HEADGATE_CONTROLPLANE"):
        Target.make(" , ")


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadgateError, match=r"ca: cannot read .*missing\.pem: No such file"):
        Target.make(ca=tmp_path / "missing.pem").credentials()


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    with pytest.raises(HeadgateError, match="both cert and key"):
        Target.make(cert=tmp_path / "cert.pem")
