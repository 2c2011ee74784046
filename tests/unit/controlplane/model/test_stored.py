"""The stored form: readable JSON, read strictly, with secrets where they belong."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from controlplane.model.problems import InconsistentConfig, InvalidConfig
from controlplane.model.resources import Instance, Reset, Route, Scope, User, VerificationKey, parse
from controlplane.model.stored import (
    CHANGE,
    change_value,
    decode,
    encode,
    id_of,
    key_of,
    shown,
    with_hash,
    without_secrets,
)
from controlplane.store import Entry

PHC = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"


def entry(key: str, value: object, revision: int = 1) -> Entry:
    return Entry(key, value if isinstance(value, bytes) else json.dumps(value).encode(), revision)


def test_keys() -> None:
    assert key_of("rate_limit", "few") == "/headgate/v1/rate_limit/few"
    assert id_of("/headgate/v1/instance/orders/1") == ("instance", "orders/1")
    assert id_of("/headgate/v1/route/") is None
    assert id_of("/headgate/v1/route") is None
    assert id_of("/elsewhere/route/a") is None


def test_what_is_encoded_is_decoded() -> None:
    user = with_hash(User(username="u", password=SecretStr("testpass"), scopes=("a",)), PHC)
    for made in (
        parse(
            "service", {"service_name": "s", "instances": [{"instance_id": "a", "host": "::1", "port": 1}]}
        ),
        parse("route", {"name": "r", "path": "/x", "service_name": "s", "hosts": ["a"], "timeout": 3}),
        Instance(service_name="s", instance_id="i", host="h", port=1, metadata={"a": "é"}, draining=True),
        Scope(name="a:b", description="✓"),
        Reset(id="circuit-s", circuit="s"),
        user,
    ):
        assert decode(entry(key_of(made.KIND, made.name), encode(made))) == made


def test_values_are_readable_with_etcdctl() -> None:
    assert (
        encode(Scope(name="a", description="Lesen ✓")).decode() == '{"name": "a", "description": "Lesen ✓"}'
    )
    assert json.loads(change_value("me", 1.23456, "put route/a")) == {
        "author": "me",
        "time": 1.235,
        "summary": "put route/a",
    }


def test_a_user_is_stored_with_the_hash_and_shown_without() -> None:
    user = with_hash(User(username="u", password=SecretStr("testpass")), PHC)
    assert json.loads(encode(user)) == {
        "username": "u",
        "password_hash": PHC,
        "scopes": [],
        "disabled": False,
    }
    fields = {"username": "u", "scopes": [], "disabled": False, "description": "", "labels": {}}
    assert shown(user) == fields
    known = without_secrets(user)
    assert (known.password, known.password_hash) == (None, None)
    assert known.credentials == user.credentials, "which can still be told"


def test_credentials_differ_after_every_change_of_password_and_every_disabling() -> None:
    user = with_hash(User(username="u"), PHC)
    other = with_hash(User(username="u"), PHC.replace("c2Fs", "c2Ft"))
    disabled = user.model_copy(update={"generation": 1})
    assert len({user.credentials, other.credentials, disabled.credentials}) == 3
    assert with_hash(User(username="u", scopes=("orders:read",)), PHC).credentials == user.credentials
    assert json.loads(encode(disabled))["generation"] == 1


def test_a_signing_key_is_read_as_its_public_part() -> None:
    value = {
        "kid": "k",
        "public": {"kty": "RSA", "n": "x", "e": "AQAB"},
        "private": "secret",
        "created": 1.5,
        "issuer": "i",
        "audience": "a",
    }
    read = decode(entry("/headgate/v1/signing_key/k", value))
    assert read == VerificationKey(kid="k", jwk='{"kty":"RSA","n":"x","e":"AQAB"}', issuer="i", audience="a")
    assert "secret" not in repr(read)


@pytest.mark.parametrize("key", [CHANGE, "/headgate/v1/future/x", "/elsewhere", "/headgate/v1/issuer/x"])
def test_kinds_that_are_not_known_are_left_alone(key: str) -> None:
    assert decode(entry(key, b"\xff\x00 nonsense")) is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scope/a", b"nonsense", "scope/a: is not JSON"),
        ("scope/a", b"\xff", "scope/a: is not JSON"),
        ("scope/a", b"", "scope/a: is not JSON"),
        ("scope/a", b"[" * 100_000, "scope/a: is not JSON"),
        ("scope/a", [], "scope/a: must be an object, not a list"),
        ("scope/a", {"name": "b"}, "scope/a: holds 'b'"),
        ("scope/a", {}, "scope/a: name: is required"),
        ("scope/a", {"name": "a", "x": 1}, "scope/a: x: unknown field"),
        (
            "instance/s/i",
            {"service_name": "s", "instance_id": "j", "host": "h", "port": 1},
            "instance/s/i: holds 's/j'",
        ),
        ("signing_key/k", {"kid": "k"}, "signing_key/k: jwk: is required"),
        ("signing_key/k", 5, "signing_key/k: must be an object, not a number"),
        ("reset/r", {"id": "r"}, "reset/r: must have exactly one of circuit and rate_limit"),
        ("reset/r", {"id": "r", "circuit": "a", "rate_limit": "b"}, "reset/r: must have exactly one of"),
    ],
)
def test_nonsense_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(InconsistentConfig) as caught:
        decode(entry(f"/headgate/v1/{key}", value))
    assert said in str(caught.value)


@pytest.mark.parametrize("methods", [["TRACE"], ["GET", "CONNECT"], ["FOO-BAR_1"]])
def test_methods_that_an_earlier_version_accepted_are_read_and_named(methods: list[str]) -> None:
    """Left out of a route that has no other they would open it for every method."""
    fields = {"name": "old", "prefix": "/", "service_name": "s", "methods": methods}
    with pytest.raises(InvalidConfig):
        parse("route", fields)
    route = decode(entry("/headgate/v1/route/old", fields))
    assert isinstance(route, Route) and list(route.methods) == methods
    assert [each.field for each in route.outdated()] == [f"methods[{len(methods) - 1}]"]
    assert decode(entry("/headgate/v1/route/old", encode(route))) == route


def test_methods_that_nobody_ever_accepted_are_damage() -> None:
    fields = {"name": "old", "prefix": "/", "service_name": "s", "methods": ["get it"]}
    with pytest.raises(InconsistentConfig):
        decode(entry("/headgate/v1/route/old", fields))
