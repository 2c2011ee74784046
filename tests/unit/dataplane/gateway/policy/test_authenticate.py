"""Which Authorization values name a caller; forged, stale and foreign tokens of every kind do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import Key, OctKey

from dataplane.gateway.policy import tokens
from dataplane.gateway.policy.authenticate import INVALID, MISSING, Authenticator
from dataplane.gateway.policy.permit import ANONYMOUS, Caller
from dataplane.gateway.policy.resources import VerificationKey
from tests.unit.dataplane.gateway.policy.signed_tokens import (
    ABSENT,
    CLAIMS,
    HEADER,
    NOW,
    b64,
    ec,
    ed,
    other_rsa,
    outcome,
    public,
    rsa,
    token,
    trusted,
    unsignable,
)

# --- what is believed


def test_a_good_token_names_its_caller(gate: Authenticator) -> None:
    caller = outcome(gate, token())
    assert isinstance(caller, Caller)
    assert caller.subject == "testuser"
    assert caller.scopes == {"orders:read", "orders:write"}
    assert caller.expires == NOW + 900


def test_the_second_time_it_is_the_very_same_caller(gate: Authenticator) -> None:
    text = token()
    assert outcome(gate, text) is outcome(gate, text)


def test_whoever_has_asked_before_is_known_without_a_signature(gate: Authenticator) -> None:
    text = token()
    said = f"Bearer {text}"
    assert gate.known(said, NOW) is None
    caller = outcome(gate, text)
    assert gate.known(said, NOW) is caller
    assert gate.known(f"bearer  {text}", NOW) is caller
    assert gate.known(said, NOW + 900) is None, "it has expired"
    assert gate.known(None, NOW) is None
    assert gate.known("Basic eA==", NOW) is None


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa, "RS256"), (ec, "ES256"), (ed, "Ed25519"), (ed, "EdDSA")]
)
def test_each_kind_of_key_verifies_its_algorithm(key: Callable[[], Key], algorithm: str) -> None:
    gate = Authenticator([trusted(key())])
    assert isinstance(outcome(gate, token({"alg": algorithm}, key())), Caller)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "headgate"]},
        {"scope": ABSENT, "scopes": ["orders:read", "orders:write"]},
        {"scope": None, "scopes": ["orders:read", "orders:write"]},
        {"scope": "  orders:write   orders:read "},
        {"nbf": NOW},
        {"nbf": NOW + tokens.LEEWAY, "iat": NOW + tokens.LEEWAY},
        {"iat": ABSENT},
        {"exp": int(NOW + 900)},
        {"token_use": "anything", "extra": {"nested": [1, 2]}},
    ],
)
def test_claims_come_in_several_forms(gate: Authenticator, claims: dict[str, Any]) -> None:
    caller = outcome(gate, token(**claims))
    assert isinstance(caller, Caller)
    assert caller.scopes == {"orders:read", "orders:write"}


@pytest.mark.parametrize("claims", [{"scope": ""}, {"scope": ABSENT}, {"scope": ABSENT, "scopes": []}])
def test_a_token_may_grant_nothing(gate: Authenticator, claims: dict[str, Any]) -> None:
    caller = outcome(gate, token(**claims))
    assert isinstance(caller, Caller)
    assert caller.scopes == frozenset()


@pytest.mark.parametrize(
    "header",
    [{"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"jku": "https://evil.example/keys"}, {"x": 1}],
)
def test_header_parameters_that_change_nothing(gate: Authenticator, header: dict[str, Any]) -> None:
    assert isinstance(outcome(gate, token(header)), Caller)


def test_the_kid_selects_among_several_keys() -> None:
    gate = Authenticator([trusted(rsa()), trusted(other_rsa(), "k2"), trusted(ec(), "k3", "elsewhere", "us")])
    assert isinstance(outcome(gate, token()), Caller)
    assert isinstance(outcome(gate, token({"kid": "k2"}, other_rsa())), Caller)
    assert isinstance(
        outcome(gate, token({"kid": "k3", "alg": "ES256"}, ec(), iss="elsewhere", aud="us")), Caller
    )


def test_a_key_without_kid_goes_by_its_name() -> None:
    gate = Authenticator([VerificationKey("k1", public(rsa()), "headgate", "headgate")])
    assert isinstance(outcome(gate, token()), Caller)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   "])
def test_the_scheme_has_no_case_and_any_number_of_spaces(gate: Authenticator, scheme: str) -> None:
    assert isinstance(gate.authenticate(scheme + token(), NOW), Caller)


# --- what is no token at all


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "bearer    ", "Basic dXNlcjpwYXNz", "Digest x=1"]
)
def test_without_a_bearer_token_it_is_missing(gate: Authenticator, value: str | None) -> None:
    assert gate.authenticate(value, NOW) == MISSING


def test_another_scheme_is_not_searched_for_tokens(gate: Authenticator) -> None:
    text = token()
    assert gate.authenticate(text, NOW) == MISSING
    assert gate.authenticate(f"Token {text}", NOW) == MISSING
    assert gate.authenticate(f"Bearer\t{text}", NOW) == MISSING
    assert gate.authenticate(f"Bearer{text}", NOW) == MISSING


# --- what is not believed


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": ABSENT},
        {"exp": None},
        {"exp": str(NOW + 900)},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": 2.0**54},
        {"exp": -1},
        {"exp": [NOW + 900]},
        {"nbf": NOW + tokens.LEEWAY + 1},
        {"nbf": "soon"},
        {"iat": NOW + tokens.LEEWAY + 1},
        {"iat": float("nan")},
        {"iss": "elsewhere"},
        {"iss": ABSENT},
        {"iss": ["headgate"]},
        {"iss": {"headgate": 1}},
        {"aud": "elsewhere"},
        {"aud": ABSENT},
        {"aud": []},
        {"aud": ["elsewhere"]},
        {"aud": [["headgate"]]},
        {"aud": {"headgate": 1}},
        {"aud": "headgate "},
        {"sub": ABSENT},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\r\nX-Auth-Subject: admin"},
        {"sub": "a\x00b"},
        {"sub": "ä"},
        {"sub": "a" * 256},
        {"cred": 7},
        {"scope": 7},
        {"scope": {"orders:read": True}},
        {"scope": ABSENT, "scopes": 7},
        {"scope": ABSENT, "scopes": [7]},
        {"scope": ABSENT, "scopes": ["two words"]},
        {"scope": "a\nb \x01"},
        {"scope": 'quo"te'},
        {"scope": ABSENT, "scopes": [["orders:read"]]},
    ],
)
def test_bad_claims(gate: Authenticator, claims: dict[str, Any]) -> None:
    assert outcome(gate, token(**claims)) == INVALID


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "k2"},
        {"kid": ABSENT},
        {"kid": None},
        {"kid": ["k1"]},
        {"kid": 1},
        {"typ": "JWT"},
        {"typ": "rt+jwt"},
        {"typ": ABSENT},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"b64": False},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "rs256"},
        {"alg": ABSENT},
        {"alg": None},
        {"alg": ["RS256"]},
    ],
)
def test_bad_headers(gate: Authenticator, header: dict[str, Any]) -> None:
    assert outcome(gate, unsignable(header)) == INVALID


def test_alg_none_is_never_believed(gate: Authenticator) -> None:
    head, body = b64(json.dumps({**HEADER, "alg": "none"}).encode()), b64(json.dumps(CLAIMS).encode())
    signature = token().rsplit(".", 1)[1]
    for text in (f"{head}.{body}.", f"{head}.{body}.{signature}", f"{head}.{body}"):
        assert outcome(gate, text) == INVALID


def test_a_public_key_is_no_hmac_secret(gate: Authenticator) -> None:
    """RFC 8725, section 2.1: the attacker signs with what everybody knows, the public key."""
    for secret in (rsa().as_pem(private=False), public(rsa()).encode()):
        key = OctKey.import_key(base64.b64encode(secret))
        assert outcome(gate, token({"alg": "HS256"}, key)) == INVALID


def test_a_key_takes_no_algorithm_of_another_kind() -> None:
    gate = Authenticator([trusted(ec()), trusted(rsa(), "k2"), trusted(ed(), "k3")])
    assert outcome(gate, token({"alg": "RS256", "kid": "k1"}, rsa())) == INVALID
    assert outcome(gate, token({"alg": "ES256", "kid": "k2"}, ec())) == INVALID
    assert outcome(gate, token({"alg": "ES256", "kid": "k3"}, ec())) == INVALID
    assert outcome(gate, token({"alg": "Ed25519", "kid": "k1"}, ed())) == INVALID


def test_a_key_sent_along_is_not_used(gate: Authenticator) -> None:
    header = {"jwk": json.loads(public(other_rsa()))}
    assert outcome(gate, token(header, other_rsa())) == INVALID


def test_a_key_of_one_issuer_does_not_speak_for_another() -> None:
    gate = Authenticator([trusted(rsa()), trusted(other_rsa(), "k2", "elsewhere")])
    assert outcome(gate, token({"kid": "k2"}, other_rsa())) == INVALID
    assert isinstance(outcome(gate, token({"kid": "k2"}, other_rsa(), iss="elsewhere")), Caller)


def test_every_changed_character_breaks_it(gate: Authenticator) -> None:
    text = token()
    for position in range(0, len(text), 7):
        other = "A" if text[position] != "A" else "B"
        assert outcome(gate, text[:position] + other + text[position + 1 :]) == INVALID


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"exp": NOW}),
        ({}, {"aud": "elsewhere"}),
        ({}, {"nbf": NOW + 60}),
        ({"kid": "k2"}, {}),
        ({"typ": "JWT"}, {}),
    ],
)
def test_a_flood_of_stale_or_foreign_tokens_costs_no_signature_check(
    gate: Authenticator, monkeypatch: pytest.MonkeyPatch, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    text = token(header, **claims)

    def unexpected(*_: object, **__: object) -> bool:
        pytest.fail("the signature was checked")

    monkeypatch.setattr(jws, "validate_compact", unexpected)
    assert outcome(gate, text) == INVALID


def test_anonymous_holds_nothing_for_ever() -> None:
    assert (ANONYMOUS.subject, ANONYMOUS.scopes, ANONYMOUS.expires) == ("", frozenset(), float("inf"))


def test_a_caller_is_shown_without_its_token(gate: Authenticator) -> None:
    text = token()
    assert "testuser" in repr(outcome(gate, text))
    assert text[-20:] not in repr(outcome(gate, text))
