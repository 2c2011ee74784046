"""Arguments, environment and what is wrong with them."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from headgate import HeadgateError, target, token_file
from headgate.target import Target
from tests.support.certificates import Authority


def test_the_default_is_the_local_control_plane() -> None:
    target = Target.make()
    assert target.addresses == ("127.0.0.1:50051",)
    assert target.bearer is None
    assert target.credentials() is None


def test_the_environment_fills_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", "cp-1:50051, cp-2:50051,")
    monkeypatch.setenv("HEADGATE_TOKEN", "secret")
    monkeypatch.setenv("HEADGATE_INSECURE", "true")
    target = Target.make()
    assert target.addresses == ("cp-1:50051", "cp-2:50051")
    assert target.bearer == "secret"


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_CONTROLPLANE", "elsewhere:1")
    monkeypatch.setenv("HEADGATE_TOKEN", "other")
    target = Target.make("here:2", token="mine", insecure=True)
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


def test_a_key_that_is_not_the_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, _ = authority.issue("one")
    _, key = authority.issue("two")
    with pytest.raises(HeadgateError, match=r"two\.key is not the unencrypted private key of .*one\.pem"):
        Target.make(ca=authority.certificate, cert=cert, key=key).credentials()


# Tokens in plain text


@pytest.mark.parametrize("addresses", ["127.0.0.1:1", "localhost:1,[::1]:2", "127.8.9.1:1"])
def test_a_token_may_travel_within_the_machine(addresses: str) -> None:
    Target.make(addresses, token="secret")


@pytest.mark.parametrize(
    ("addresses", "named"),
    [
        ("controlplane:50051", "controlplane:50051"),
        ("127.0.0.1:1,10.0.0.1:2,b:3", "10.0.0.1:2, b:3"),
        ("localhost.example.org:1", "localhost.example.org:1"),
    ],
)
def test_a_token_does_not_travel_in_plain_text(addresses: str, named: str, tmp_path: Path) -> None:
    for token in ("secret", lambda: "secret"):
        with pytest.raises(HeadgateError) as caught:
            Target.make(addresses, token=token)
        assert f"would travel to {named} in plain text" in str(caught.value)
        assert "HEADGATE_CA" in str(caught.value) and "HEADGATE_INSECURE=true" in str(caught.value)
        assert "secret" not in str(caught.value)
    # With TLS, without a token, or by the caller's will it does.
    Target.make(addresses, token="secret", ca=tmp_path / "ca.pem")
    Target.make(addresses)
    Target.make(addresses, token="secret", insecure=True)


def test_the_environment_may_allow_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, allowed in (("true", True), ("1", True), ("YES", True), ("false", False), ("", False)):
        monkeypatch.setenv("HEADGATE_INSECURE", word)
        assert Target.make().insecure is allowed
    with pytest.raises(HeadgateError):
        Target.make("b:1", token="secret")
    monkeypatch.setenv("HEADGATE_INSECURE", "perhaps")
    with pytest.raises(HeadgateError, match="HEADGATE_INSECURE must be true or false"):
        Target.make()
    assert Target.make("b:1", token="secret", insecure=True).insecure
    monkeypatch.setenv("HEADGATE_INSECURE", "true")
    with pytest.raises(HeadgateError, match="plain text"):
        Target.make("b:1", token="secret", insecure=False)


# Tokens in files


def test_a_token_from_a_file_is_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text("# of January\nfirst\nan older one\n")
    monkeypatch.setenv("HEADGATE_TOKEN_FILE", str(file))
    target = Target.make()
    assert target.bearer == "first"
    assert "first" not in repr(target)
    file.write_text("the second\n")
    assert target.bearer == "first"  # a token has no spaces
    file.unlink()
    assert target.bearer == "first"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    file.write_text("third")
    assert target.bearer == "third"


def test_a_token_in_the_environment_is_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", "secret\n")
    assert Target.make().bearer == "secret"
    monkeypatch.setenv("HEADGATE_TOKEN", "Bearer secret")
    with pytest.raises(HeadgateError, match="no 'Bearer' before it"):
        Target.make()


@pytest.mark.parametrize("content", ["", "# nothing\n", "a b", "é"])
def test_a_file_without_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    monkeypatch.setenv("HEADGATE_TOKEN_FILE", str(file))
    with pytest.raises(HeadgateError, match=f"HEADGATE_TOKEN_FILE: token: {file} holds none"):
        Target.make()
    with pytest.raises(HeadgateError, match=r"cannot read .*: No such file"):
        token_file(tmp_path / "missing")()


def jwt(number: int, expires: object) -> str:
    """A token that nobody has signed."""
    claims = base64.urlsafe_b64encode(json.dumps({"jti": number, "exp": expires}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.c2lnbmF0dXJl"


def test_a_token_that_has_expired_is_read_again_although_the_file_looks_the_same(tmp_path: Path) -> None:
    file = tmp_path / "token"
    read = token_file(file)
    for expires, expected in ((time.time() - 60, 2), (time.time() + 60, 1)):
        file.write_text(jwt(1, expires))
        assert read() == jwt(1, expires)
        with patch("headgate.target._stamp", return_value=target._stamp(file)):
            file.write_text(jwt(2, expires))
            assert read() == jwt(expected, expires)


@pytest.mark.parametrize("expires", ["soon", None, [], {}, True, 10**400])
def test_a_token_of_any_form_is_taken(tmp_path: Path, expires: object) -> None:
    file = tmp_path / "token"
    for token in (jwt(1, expires), "a.b.c", "a.%%%.c", ".", "shared-token"):
        file.write_text(token)
        assert token_file(file)() == token


def test_an_expired_token_whose_file_has_gone_is_the_last_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(jwt(1, 5))
    read = token_file(file)
    read()
    file.unlink()
    assert [read() for _ in range(3)] == [jwt(1, 5)] * 3
    assert len(caplog.records) == 1
