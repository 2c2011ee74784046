"""The form of a token: what is no JWS, no JSON or no UTF-8 is refused without an exception; which keys are taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from dataplane.gateway.policy.authenticate import INVALID, Authenticator, Unauthenticated
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.resources import VerificationKey
from tests.unit.dataplane.gateway.policy.signed_tokens import (
    CLAIMS,
    HEADER,
    NOW,
    b64,
    ec,
    outcome,
    public,
    rsa,
    signed,
    token,
    trusted,
    unsignable,
)


def mangled() -> Iterator[str]:
    head, body, signature = token().split(".")
    yield from (
        head,
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f".{body}.{signature}",
        "..",
        "...",
    )
    yield f"{head}.{body}.{signature}.{signature}"
    yield f"{head}.{body}.{signature}="
    yield f"{head}.{body}.{signature} x"
    yield f"{head}.{body}.{signature},"
    yield f"{head}.{body}.\udc80"
    yield f"{head}.{body}.{signature}ä"
    for data in (b"[]", b'"alg"', b"null", b'["alg"]', b"{", b"", b"\xff", b"[" * 3000):
        yield f"{b64(data)}.{body}.{signature}"
        yield signed(HEADER, data, rsa())


ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_claims_in_another_encoding_are_refused(gate: Authenticator, encoding: str) -> None:
    assert outcome(gate, signed(HEADER, json.dumps(CLAIMS).encode(encoding), rsa())) == INVALID


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_header_in_another_encoding_is_refused(gate: Authenticator, encoding: str) -> None:
    assert outcome(gate, with_header(json.dumps(HEADER).encode(encoding))) == INVALID


@pytest.mark.parametrize("again", ["sub", "exp", "iss"])
def test_a_claim_that_is_there_twice_is_refused(gate: Authenticator, again: str) -> None:
    text = json.dumps(CLAIMS)
    twice = f'{{"{again}": {json.dumps(CLAIMS[again])}, {text[1:]}'
    assert outcome(gate, signed(HEADER, twice.encode(), rsa())) == INVALID


def test_so_are_a_nested_one_and_a_header_parameter(gate: Authenticator) -> None:
    nested = json.dumps(CLAIMS)[:-1] + ', "act": {"sub": "a", "sub": "b"}}'
    assert outcome(gate, signed(HEADER, nested.encode(), rsa())) == INVALID
    assert outcome(gate, with_header(b'{"typ": "JWT", ' + json.dumps(HEADER).encode()[1:])) == INVALID


def test_numbers_that_json_does_not_know_are_refused(gate: Authenticator) -> None:
    assert outcome(gate, token(extra=float("nan"))) == INVALID


def with_header(header: bytes) -> str:
    """A signed token with these very bytes of a header."""
    body = json.dumps(CLAIMS).encode()
    signing = f"{b64(header)}.{b64(body)}"
    return f"{signing}.{b64(jws.JWSRegistry.algorithms['RS256'].sign(signing.encode(), rsa()))}"


@pytest.mark.parametrize("number", range(29))
def test_what_is_no_jws(gate: Authenticator, number: int) -> None:
    assert outcome(gate, list(mangled())[number]) == INVALID


def test_a_token_may_have_8_kib_and_no_more(gate: Authenticator) -> None:
    spare = 8192 - len(token(pad=""))
    longest = token(pad="a" * (spare * 3 // 4))
    assert 8189 <= len(longest) <= 8192
    assert isinstance(outcome(gate, longest), Caller)
    assert outcome(gate, token(pad="a" * (spare * 3 // 4 + 3))) == INVALID
    assert outcome(gate, "a." * 10_000_000) == INVALID


@given(st.text(max_size=60))
def test_garbage_is_refused_without_an_exception(text: str) -> None:
    gate = Authenticator([])
    assert isinstance(gate.authenticate(text, NOW), Unauthenticated)
    assert gate.authenticate(f"Bearer x{text}", NOW) == INVALID


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_no_kind_of_claim_raises(value: Any) -> None:
    gate = Authenticator([trusted(rsa())])
    for claim in ("iss", "sub", "aud", "exp", "nbf", "iat", "scope", "scopes"):
        gate.authenticate(f"Bearer {token(**{claim: value})}", NOW)
    for parameter in ("alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "cty"):
        gate.authenticate(f"Bearer {unsignable({parameter: value})}", NOW)


# --- keys


@pytest.mark.parametrize(
    "jwk",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"kty": "RSA"}',
        '{"kty": "RSA", "n": 7, "e": "AQAB"}',
        '{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}',
        '{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}',
        '{"kty": "quantum"}',
    ],
)
def test_a_key_that_cannot_be_used_is_named(jwk: str) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([VerificationKey("k1", jwk, "headgate", "headgate")])


@pytest.mark.parametrize(
    "key",
    [
        lambda: RSAKey.generate_key(1024),
        lambda: ECKey.generate_key("P-384"),
        lambda: OKPKey.generate_key("X25519"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_weak_and_foreign_kinds_of_keys_are_not_taken(key: Callable[[], Key]) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([trusted(key())])


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}])
def test_a_key_meant_for_something_else_is_not_taken(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([VerificationKey("k1", public(rsa(), **more), "headgate", "headgate")])


def test_two_keys_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="kid"):
        Authenticator([trusted(rsa()), trusted(ec())])
